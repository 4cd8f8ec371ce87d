"""A container from its start to its end: it has no rights, hears the signals as process 1, and says what is wrong."""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.image.conftest import Start
from tests.image.container import Container
from tests.image.image import Image
from tests.support.load import Answer, Client, crowd
from tests.support.service import free_port, has_ipv6
from tests.support.sql import Sql
from tests.support.waiting import wait_until


class Api:
    """The service in a container, and the port that it is at."""

    def __init__(self, start: Start, environment: Mapping[str, str], *, tmpfs: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.container = start({**environment, "PORT": str(self.port)}, tmpfs=tmpfs)
        self.container.wait_until_ready()

    def workers(self) -> set[int]:
        return set(self.container.processes()[1:])


@pytest.fixture(scope="module")
def api(start: Start, owner_url: str) -> Api:
    """With two workers, and nothing set but the database."""
    return Api(start, {"DATABASE_URL": owner_url})


def status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def probe(image: Image, container: Container, **environment: str) -> int:
    """The exit code of HEALTHCHECK."""
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    return container.run(*command, **environment).returncode


# What it may


def test_it_migrates_and_serves(api: Api) -> None:
    assert "The database's schema was brought from nothing to" in api.container.log
    with Client(api.port) as client:
        created = client.create("in a container")
        assert created.status == 201
        assert client.request("GET", f"/tasks/{created.data['id']}").data == created.data
        assert client.request("GET", "/health/ready").status == 200


def test_no_process_has_a_right(api: Api) -> None:
    processes = api.container.processes()
    assert len(processes) == 3, "the first one and two workers"
    for process in processes:
        found = status(process)
        assert found["Uid"].split() == found["Gid"].split() == ["10001"] * 4
        assert {found[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_it_can_write_nowhere_but_in_shared_memory(api: Api) -> None:
    for folder, can in (("/", False), ("/app", False), ("/venv", False), ("/tmp", False), ("/dev/shm", True)):
        done = api.container.run("python", "-c", f"open('{folder}/x', 'w')")
        assert (done.returncode == 0) == can, done.stderr
    api.container.run("rm", "/dev/shm/x")


def test_metrics_need_a_folder_for_temporary_files(start: Start, owner_url: str) -> None:
    environment = {"DATABASE_URL": owner_url, "METRICS": "true"}
    refused = start({**environment, "PORT": str(free_port())})
    assert refused.wait() == 1
    assert "METRICS needs a folder for temporary files, which TMPDIR may name" in refused.log
    api = Api(start, environment, tmpfs=["/tmp"])
    with Client(api.port) as client:
        assert client.request("GET", "/tasks").status == 200
    metrics = httpx.get(f"http://127.0.0.1:{api.port}/metrics", trust_env=False).text
    assert 'route="/api/v1/tasks"' in metrics


# The health check


def test_it_is_healthy_while_it_answers(image: Image, api: Api) -> None:
    assert probe(image, api.container) == 0
    nobody = str(free_port())
    assert probe(image, api.container, PORT=nobody) == 1


def test_it_is_asked_where_it_listens(image: Image, start: Start, owner_url: str) -> None:
    hosts = ["0.0.0.0", "127.0.0.1", "localhost", *(["::", "::1", "[::1]"] if has_ipv6() else [])]
    names = {"SCRIPT_NAME": "tasks/of/ann/", "TRUSTED_HOSTS": "example.com", "API_TOKENS": "geheim"}
    # At all addresses, those of IPv6 included.
    api = Api(start, {"DATABASE_URL": owner_url, "HOST": "::" if has_ipv6() else "0.0.0.0", **names})
    assert {host: probe(image, api.container, HOST=host) for host in hosts} == dict.fromkeys(hosts, 0)
    assert probe(image, api.container, SCRIPT_NAME="/another") == 1


def test_it_is_not_healthy_while_it_hangs(image: Image, api: Api) -> None:
    """The check gives up before Docker ends it, and so can say why."""
    workers = api.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        assert probe(image, api.container) == 1
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    assert probe(image, api.container) == 0


# Process 1


def test_a_reload_loses_nothing(api: Api) -> None:
    before, answered = api.workers(), 0
    failed: list[Answer] = []

    def work(client: Client, number: int) -> None:
        nonlocal answered
        answer = client.create(f"of client {number}")
        failed.extend([answer] if answer.status != 201 else [])
        answered += 1
        time.sleep(0.05)

    def replaced() -> bool:
        now = api.workers()
        return len(now) == len(before) and not now & before

    with crowd(api.port, 8, work):
        api.container.kill(signal.SIGHUP)
        wait_until(replaced, "all workers are new ones", seconds=60)
        after = answered
        wait_until(lambda: answered > after + 20, "the new workers serve")
    assert failed == []


def test_it_waits_for_orphans(api: Api) -> None:
    """A process whose parent has ended belongs to process 1, and would stay as a zombie."""
    before = api.container.processes()
    api.container.run("sh", "-c", "(sleep 0.3; exec true) > /dev/null 2>&1 &")
    wait_until(lambda: len(api.container.processes()) > len(before), "the orphan is there")
    wait_until(lambda: api.container.processes() == before, "the orphan is gone, and no zombie either")


def test_a_running_request_ends_before_it(start: Start, owner_url: str) -> None:
    api = Api(start, {"DATABASE_URL": owner_url, "DB_LOCK_TIMEOUT": "25"})
    with ThreadPoolExecutor(1) as thread, Client(api.port) as client, Sql(owner_url) as sql:
        with sql.transaction():
            sql.execute("LOCK TABLE tasks")
            running = thread.submit(client.create, "while it ends")
            wait_until(lambda: waiting(sql), "the request waits for the table")
            api.container.kill(signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in api.container.log, "process 1 has heard it")
        assert running.result().status == 201
    assert api.container.wait(40) == 0, api.container.log


def waiting(sql: Sql) -> bool:
    return bool(sql.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))


# What is wrong


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "DATABASE_URL is not set: with APP_ENV=production, give the URL of a PostgreSQL"),
        ({"DATABASE_URL": "postgresql://u:geheim@127.0.0.1:1/d"}, "The database of DATABASE_URL cannot be reached"),
    ],
)
def test_without_a_database_it_ends_and_says_so(environment: dict[str, str], sentence: str, start: Start) -> None:
    refused = start({**environment, "PORT": str(free_port())})
    assert refused.wait() == 1
    assert sentence in refused.log
    assert "Traceback" not in refused.log
    assert "geheim" not in refused.log


def test_its_log_is_json(api: Api) -> None:
    lines = [line for line in api.container.log.splitlines() if line.startswith("{")]
    assert {"time", "level", "message"} <= json.loads(lines[0]).keys()
    assert any(json.loads(line).get("route") for line in lines)
