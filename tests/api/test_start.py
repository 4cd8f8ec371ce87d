"""The start and the end: what is printed, what is refused with one clear line, and what survives."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskapi.errors import TaskNotFound
from taskapi.places import ROOT
from tests.support.embedded import IDENTITIES, Place, new_place, processes
from tests.support.envelope import data_of
from tests.support.environment import environment_of
from tests.support.service import COMMAND, Service, free_port, has_ipv6
from tests.support.sql import Sql
from tests.support.waiting import wait_until

SECRET = "hunter2"
"""A password, to be looked for in what is printed."""


def refused(folder: Path, **environment: str) -> str:
    """Start the service with these settings, which it refuses; return the one line that it says about that."""
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment_of(**{"HOME": str(folder), "TMPDIR": str(folder), **environment}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    printed = ended.stdout + ended.stderr
    assert ended.returncode not in (0, None), printed
    assert "Traceback" not in printed
    assert SECRET not in printed
    assert "is ready" not in printed
    # gunicorn says that it starts, at the level INFO.
    (line,) = [line for line in map(said, ended.stderr.splitlines()) if line]
    assert line.startswith("taskapi: ")
    assert not list(folder.glob("taskapi-*")), "temporary files are left"
    return line


def said(line: str) -> str:
    """The message of a line of the log, which is JSON in production; "" for a line of the level INFO."""
    if line.startswith("{"):
        entry = json.loads(line)
        return "" if entry["level"] == "INFO" else str(entry["message"])
    return "" if re.match(r"\d\d:\d\d:\d\d INFO ", line) else line


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"APP_ENV": "production"}, ["DATABASE_URL"]),
        ({"APP_ENV": "production", "DATABASE_URL": " "}, ["DATABASE_URL"]),
        ({"PORT": "http"}, ["PORT"]),
        ({"PORT": "65536"}, ["PORT"]),
        ({"WEB_CONCURRENCY": "3", "DB_CONNECTIONS": "2"}, ["WEB_CONCURRENCY", "DB_CONNECTIONS"]),
        ({"AUTO_MIGRATE": "perhaps"}, ["AUTO_MIGRATE"]),
        ({"CORS_ORIGINS": "*"}, ["CORS_ORIGINS"]),
        ({"API_TOKENS": ","}, ["API_TOKENS"]),
        ({"DATABASE_URL": f"mysql://u:{SECRET}@h/d"}, ["DATABASE_URL"]),
        ({"DATABASE_URL": f"postgresql://u:{SECRET}@h/d?no_such_option=1"}, ["DATABASE_URL"]),
        ({"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/d"}, ["DATABASE_URL", "cannot be reached"]),
        # Characters of a password that should have been percent-encoded.
        ({"DATABASE_URL": f"postgresql://u:{SECRET}/x@127.0.0.1:1/d"}, ["DATABASE_URL"]),
        ({"DATABASE_URL": f"postgresql://u:x@{SECRET}@127.0.0.1:1/d"}, ["DATABASE_URL"]),
    ],
    ids=lambda value: " ".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_work(tmp_path: Path, environment: dict[str, str], words: list[str]) -> None:
    line = refused(tmp_path, **{"PORT": str(free_port()), **environment})
    assert all(word in line for word in words), line


def test_a_database_that_is_not_there(tmp_path: Path, database_url: str) -> None:
    line = refused(tmp_path, PORT=str(free_port()), DATABASE_URL=database_url.replace("?", "_missing?", 1))
    assert "does not exist" in line


def test_auto_migrate_off_and_no_schema(tmp_path: Path, empty_database_url: str) -> None:
    line = refused(tmp_path, PORT=str(free_port()), DATABASE_URL=empty_database_url, AUTO_MIGRATE="false")
    assert "AUTO_MIGRATE" in line
    assert "`AUTO_MIGRATE=true python -m taskapi.migrations`" in line
    with Sql(empty_database_url) as sql:
        assert sql.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


@pytest.mark.parametrize("auto_migrate", ["true", "false"])
def test_a_schema_of_a_newer_version(tmp_path: Path, database_url: str, sql: Sql, auto_migrate: str) -> None:
    sql.execute("UPDATE taskapi_version SET version_num = '9999'")
    line = refused(tmp_path, PORT=str(free_port()), DATABASE_URL=database_url, AUTO_MIGRATE=auto_migrate)
    assert "9999" in line


def test_a_folder_that_no_database_can_use(tmp_path: Path) -> None:
    line = refused(tmp_path, PORT=str(free_port()), DATA_DIR=str(tmp_path / ("x" * 120)))
    assert "DATABASE_URL" in line


def test_a_port_in_use(tmp_path: Path) -> None:
    """It is said at once: before the database is started, whose folder would be there else."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(tmp_path, PORT=str(port), DATA_DIR=str(tmp_path / "data"))
    assert f"Port {port}" in line
    assert "in use" in line
    assert f"PORT={port + 1} make run" in line
    assert not (tmp_path / "data").exists()


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    line = refused(tmp_path, PORT=str(free_port()), HOST="203.0.113.1", DATA_DIR=str(tmp_path / "data"))
    assert "203.0.113.1 is not an address of this machine" in line
    assert not (tmp_path / "data").exists()


def test_more_workers_on_the_command_line_than_there_are_connections(tmp_path: Path) -> None:
    """The workers' share of the connections is made of the number that gunicorn takes, wherever that stands."""
    command = "--workers 21"
    line = refused(tmp_path, PORT=str(free_port()), DATA_DIR=str(tmp_path / "data"), GUNICORN_CMD_ARGS=command)
    assert "WEB_CONCURRENCY (21) exceeds DB_CONNECTIONS (20)" in line
    assert not (tmp_path / "data").exists()


def test_without_docstrings(start_service: Callable[..., Service]) -> None:
    """Sentences that clients read are no docstrings; only the API's documentation has none of its texts then."""
    service = start_service(PYTHONOPTIMIZE="2", WEB_CONCURRENCY="1")
    assert "-OO" in service.log
    with service.client() as client:
        task = data_of(client.post("/api/v1/tasks", json={"title": "Buy milk"}), 201, "TASK_CREATED")
        assert client.get(f"/api/v1/tasks/{task['id'][:-12]}{'0' * 12}").json()["error"] == TaskNotFound.sentence
        assert client.get("/api/openapi.json").json()["paths"]


def test_in_production_a_refusal_is_json(tmp_path: Path) -> None:
    """A setting, a port, a database: whoever says it, gunicorn, the migrations or we."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, environment in {
            "LOG_LEVEL": {"LOG_LEVEL": "loud"},
            f"Port {port}": {"PORT": str(port)},
            "cannot be reached": {"PORT": str(free_port())},
        }.items():
            url = {"APP_ENV": "production", "DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}
            ended = subprocess.run(
                COMMAND,
                cwd=ROOT,
                env=environment_of(TMPDIR=str(tmp_path), **url, **environment),
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert ended.returncode not in (0, None)
            lines = [json.loads(line) for line in (ended.stdout + ended.stderr).splitlines()]
            (message,) = [line["message"] for line in lines if line["level"] == "ERROR"]
            assert message.startswith("taskapi: ")
            assert words in message


def test_other_servers_are_told_what_is_missing(tmp_path: Path, database_url: str) -> None:
    program = "import wsgi"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment_of(DATABASE_URL=database_url, APP_ENV="production"),
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stderr.splitlines()
    assert "runs without its gunicorn.conf.py" in json.loads(line)["message"]


def test_an_odd_environment(start_service: Callable[..., Service], tmp_path: Path) -> None:
    """Started from anywhere, by a machine that knows only ASCII, with its files for temporary use removed."""
    service = start_service(
        cwd=Path("/"),
        APP_ENV="production",
        METRICS="true",
        GUNICORN_CMD_ARGS="--workers 1",
        LC_ALL="C",
        PYTHONIOENCODING="ascii",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
    )
    # Connections that are kept would hold the reload up.
    with service.client(headers={"Connection": "close"}) as client:
        for _ in range(2):
            (folder,) = tmp_path.glob("taskapi-*")
            shutil.rmtree(folder)
            data_of(client.post("/api/v1/tasks", json={"title": "ü"}), 201, "TASK_CREATED")
            assert client.get("/metrics").status_code == 200
        wait_until(lambda: client.get("/metrics").text.count('method="GET",route="/metrics"'), "it counts again")
        service.hup()
        assert data_of(client.get("/api/v1/tasks"))[0]["title"] == "ü"
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert [line for line in lines if line.get("message", "").startswith("taskapi is ready")]
    assert not [line for line in lines if line["level"] in ("ERROR", "CRITICAL")]
    assert "without its gunicorn.conf.py" not in service.log


def test_an_empty_database_is_brought_up(start_service: Callable[..., Service], empty_database_url: str) -> None:
    service = start_service(empty_database_url)
    with service.client() as client:
        data_of(client.get("/api/v1/health/ready"))
        data_of(client.post("/api/v1/tasks", json={"title": "x"}), 201, "TASK_CREATED")


@pytest.fixture
def ready_line(service: Service) -> str:
    (line,) = [line for line in service.log.splitlines() if "taskapi is ready" in line]
    return line


def test_the_ready_line_leads_to_the_docs(service: Service, ready_line: str) -> None:
    url = re.search(r"http://\S+", ready_line)
    assert url
    assert url[0] == f"http://localhost:{service.port}/api/docs"
    with service.client() as client:
        assert "<title>" in client.get(url[0]).text


def test_the_printed_curl_creates_a_task(service: Service, ready_line: str) -> None:
    command = ready_line[ready_line.index("curl ") :]
    program, *arguments = shlex.split(command)
    assert program == "curl"
    url, body, header = arguments[2], arguments[arguments.index("-d") + 1], arguments[arguments.index("-H") + 1]
    assert arguments == ["-X", "POST", url, "-H", header, "-d", body]
    name, _, value = header.partition(": ")
    with service.client() as client:
        task = data_of(client.post(url, content=body, headers={name: value}), 201, "TASK_CREATED")
    assert task["title"]
    if shutil.which("curl"):
        answer = subprocess.run(
            f"{command} --silent --noproxy '*'", shell=True, capture_output=True, text=True, check=True
        )
        assert '"popup":"TASK_CREATED"' in answer.stdout


def reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


def test_only_this_machine_reaches_it(service: Service) -> None:
    # What listens at every address also listens at this one.
    assert reachable("127.0.0.1", service.port)
    assert not reachable("127.0.0.2", service.port)


def test_host_opens_it_to_others(start_service: Callable[..., Service]) -> None:
    service = start_service(HOST="0.0.0.0", API_TOKENS="secret-of-ours")
    assert reachable("127.0.0.2", service.port)
    assert f"http://localhost:{service.port}/api/docs" in service.log
    # What it prints needs a token then, which it does not print.
    assert "-H 'Authorization: Bearer YOUR_TOKEN'" in service.log
    assert "secret-of-ours" not in service.log


def test_host_opens_it_to_others_with_ipv6(start_service: Callable[..., Service], tmp_path: Path) -> None:
    if not has_ipv6():
        assert "not an address of this machine" in refused(tmp_path, HOST="::1", PORT=str(free_port()))
        return
    service = start_service(HOST="::")
    assert reachable("::1", service.port)
    assert reachable("127.0.0.2", service.port)


# With the embedded database


@pytest.fixture
def place() -> Iterator[Place]:
    """A folder for an embedded database; afterwards nothing of it runs."""
    with new_place(IDENTITIES[0]) as place:
        yield place


@pytest.fixture
def start_embedded(start_service: Callable[..., Service], place: Place) -> Callable[[], Service]:
    """Call it for a service on the embedded database of `place`, as `make run` has it."""
    return lambda: start_service(DATABASE_URL="", DATA_DIR=str(place.folder))


def create(service: Service, title: str) -> dict[str, Any]:
    with service.client() as client:
        task: dict[str, Any] = data_of(client.post("/api/v1/tasks", json={"title": title}), 201, "TASK_CREATED")
        return task


def listed(service: Service) -> list[dict[str, Any]]:
    with service.client() as client:
        tasks: list[dict[str, Any]] = data_of(client.get("/api/v1/tasks"))
        return tasks


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-C", "TERM"])
def test_an_end_in_order(start_embedded: Callable[[], Service], place: Place, number: signal.Signals) -> None:
    """Ctrl-C goes to every process of the terminal, TERM to the first one."""
    service = start_embedded()
    assert processes(place.folder)
    create(service, "It stays")
    if number == signal.SIGINT:
        os.killpg(service.process.pid, number)
    else:
        service.process.send_signal(number)
    assert service.process.wait(60) == 0, service.log
    assert "Traceback" not in service.log
    assert "Exception" not in service.log
    assert not processes(place.folder)
    assert not list(Path(service.environment["TMPDIR"]).glob("taskapi-*")), "temporary files are left"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.url}/api/v1/health", trust_env=False, verify=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-C", "TERM"])
def test_an_end_while_workers_start(tmp_path: Path, database_url: str, number: signal.Signals) -> None:
    log = tmp_path / "log"
    environment = environment_of(TMPDIR=str(tmp_path), PORT=str(free_port()), WEB_CONCURRENCY="2")
    with log.open("w") as file:
        service = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env={**environment, "DATABASE_URL": database_url},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        wait_until(lambda: log.read_text().count("Booting worker") == 2, "both workers start")
        os.killpg(service.pid, number) if number == signal.SIGINT else service.terminate()
        # Less than the time that gunicorn gives workers which do not listen.
        assert service.wait(20) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)
        service.wait()


def test_kill_9_of_everything_loses_nothing(start_embedded: Callable[[], Service], place: Place) -> None:
    service = start_embedded()
    tasks = [create(service, f"Task {number}") for number in range(5)]
    service.kill()
    place.kill_everything()
    again = start_embedded()
    assert listed(again) == tasks[::-1]
    create(again, "Another one")
    assert "Traceback" not in again.log
