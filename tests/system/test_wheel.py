"""taskapi as a package: built and installed as `pip install .` does, it has all its files and runs in any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from email.parser import Parser
from pathlib import Path

import httpx
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from taskapi.places import ROOT
from tests.mcp.agent import Agent
from tests.support.service import free_port
from tests.support.waiting import START, wait_until

PARTS = ("taskapi", "sql", "alembic", "alembic.ini", "gunicorn.conf.py", "wsgi.py")


class Installed:
    """An environment with the package in it, and with the dependencies of the one that runs the tests."""

    def __init__(self, folder: Path) -> None:
        source, wheels, environment = folder / "source", folder / "wheels", folder / "environment"
        # A copy, because building leaves files beside the sources.
        source.mkdir()
        requirements = [path.name for path in ROOT.glob("requirements*.txt")]
        for name in [*PARTS, "pyproject.toml", "README.md", "LICENSE", *requirements]:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, source / name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, source)
        run(sys.executable, "-m", "venv", environment)
        self.python = environment / "bin" / "python"
        run(self.python, "-m", "pip", "install", "--quiet", "--no-deps", *wheels.iterdir())
        purelib = run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        self.packages = Path(purelib.strip())
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))


def run(*command: str | Path, **options: object) -> str:
    """What the command prints; it succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def files(path: Path) -> Iterator[Path]:
    """The files there that are no mere caches."""
    for found in [path, *path.rglob("*")]:
        if found.is_file() and "__pycache__" not in found.parts:
            yield found


def test_every_file_is_in_it(installed: Installed) -> None:
    for part in PARTS:
        for path in files(ROOT / part):
            name = path.relative_to(ROOT)
            place = name if part == "taskapi" else Path("taskapi", "project", name)
            assert (installed.packages / place).read_bytes() == path.read_bytes(), name


def test_it_asks_for_what_is_pinned(installed: Installed) -> None:
    def pinned(name: str, condition: str = "") -> set[str]:
        lines = (ROOT / name).read_text().splitlines()
        return {f"{line.lower()}{condition}" for line in lines if line and not line.startswith("#")}

    (metadata,) = installed.packages.glob("taskapi-*.dist-info/METADATA")
    fields = Parser().parsestr(metadata.read_text())
    assert {line.lower() for line in fields.get_all("Requires-Dist", [])} == (
        pinned("requirements.txt")
        | pinned("requirements-mcp.txt", '; extra == "mcp"')
        | pinned("requirements-embedded.txt", '; extra == "embedded"')
    )
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["License-Expression"] == "MIT"


def test_an_agent_uses_it_from_any_folder(installed: Installed, empty_database_url: str, tmp_path: Path) -> None:
    assert "--http" in run(installed.python, "-m", "taskapi.mcp", "--help", cwd=tmp_path)
    server = StdioServerParameters(
        command=str(installed.python),
        args=["-m", "taskapi.mcp"],
        env={"DATABASE_URL": empty_database_url},
        cwd=str(tmp_path),
    )
    log = (tmp_path / "log").open("w")
    with log, closing(Agent(stdio_client(server, errlog=log))) as agent:
        assert agent.create("one")


def test_the_service_runs_in_the_folder_that_readme_names(
    installed: Installed, empty_database_url: str, tmp_path: Path
) -> None:
    command = "from taskapi.places import ROOT; print(ROOT)"
    assert command in (ROOT / "README.md").read_text()
    folder, port = run(installed.python, "-c", command, cwd=tmp_path).strip(), free_port()
    assert folder.startswith(str(installed.packages))
    environment = {"PATH": os.defpath, "DATABASE_URL": empty_database_url, "PORT": str(port), "TMPDIR": str(tmp_path)}
    service = subprocess.Popen([installed.python, "-m", "gunicorn", "wsgi:app"], cwd=folder, env=environment)

    def page(path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api{path}", trust_env=False).status_code
        except httpx.TransportError:
            assert service.poll() is None
            return 0

    try:
        wait_until(lambda: page("/v1/health/ready") == 200, "the service is ready", seconds=START)
        assert page("/docs/redoc.standalone.js") == page("/docs") == page("/v1/tasks") == 200
    finally:
        service.terminate()
        service.wait(60)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "{}/home"}, "{}/home/.local/share/taskapi"),
        ({"HOME": "{}/home", "XDG_DATA_HOME": "{}/xdg"}, "{}/xdg/taskapi"),
        ({"DATA_DIR": "here"}, "{}/here"),
    ],
    ids=["home", "XDG", "relative"],
)
def test_data_is_never_kept_in_the_environment(
    environment: dict[str, str], expected: str, installed: Installed, tmp_path: Path
) -> None:
    program = "from taskapi.settings import Settings; print(Settings.from_environment().data_dir.resolve())"
    variables = {name: value.format(tmp_path) for name, value in environment.items()}
    assert run(installed.python, "-c", program, cwd=tmp_path, env=variables).strip() == expected.format(tmp_path)
