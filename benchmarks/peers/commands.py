"""How each peer is started in production: in the project's folder, with the environment that README.md names."""

from taskapi.places import ROOT

PEERS_PYTHON = ROOT / ".venv/peers/bin/python"
"""Of the environment that `make peers` sets up."""

UVICORN = (
    "uvicorn",
    "--host=127.0.0.1",
    "--port={port}",
    "--workers={workers}",
    "--loop=uvloop",
    "--http=httptools",
    "--no-access-log",
    "--log-level=warning",
)
GUNICORN = (
    "gunicorn",
    "--config=/dev/null",  # not taskapi's gunicorn.conf.py, which gunicorn would find
    "--bind=127.0.0.1:{port}",
    "--workers={workers}",
    "--worker-class=gthread",
    "--threads={threads}",
    "--keep-alive=20",  # as taskapi
    "--no-control-socket",
    "--log-level=warning",
)

PEERS = {
    "fastapi_orm": [*UVICORN, "benchmarks.peers.fastapi_orm:app"],
    "fastapi_asyncpg": [*UVICORN, "benchmarks.peers.fastapi_asyncpg:app"],
    "fastapi_lean": [*UVICORN, "benchmarks.peers.fastapi_lean:app"],
    "flask_orm": [*GUNICORN, "benchmarks.peers.flask_orm:create_app()"],
}
"""Each peer's module to run, and its arguments."""

LEAN = "fastapi_lean"
"""The peer that has a schema of its own."""


def command(name: str, python: str, port: int, workers: int, connections: int) -> list[str]:
    """The command line of a peer; `connections` are those of the whole service, as DB_CONNECTIONS says to it."""
    # A thread for each database connection that the worker has.
    threads = max(1, connections // workers)
    return [python, "-m", *(part.format(port=port, workers=workers, threads=threads) for part in PEERS[name])]
