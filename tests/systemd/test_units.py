"""The units of deploy/ under a real systemd: they start, reload, stop and come back, and their hardening holds."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from taskapi.settings import Settings
from tests.support.folders import short_folder
from tests.support.load import BROKEN, Answer, Client, crowd
from tests.support.owners import LESSER, SECRET, token
from tests.support.proxy import Proxy
from tests.support.replay import assert_replay_equals_tasks
from tests.support.server import Server
from tests.support.service import free_port
from tests.support.sql import Sql
from tests.support.waiting import wait_until
from tests.systemd.systemd import MISSING, Systemd

PASSWORD = "the password of the owner"

MAKE_ROLE = f"set -a; . /etc/taskapi/migrate.env; cd /opt/taskapi; .venv/bin/python -m taskapi.role {LESSER}"
"""As in docs/deployment.md."""


class Unit:
    """taskapi.service of a systemd of its own, before its first start: its database is empty."""

    def __init__(self, systemd: Systemd, port: int, owner: str) -> None:
        self.systemd = systemd
        self.port = port
        self.owner = owner

    def client(self) -> Client:
        client = Client(self.port)
        client.token = token("ann")
        return client

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return client.request("GET", "/health/ready").status == 200
            except BROKEN:
                return False


@pytest.fixture(scope="module")
def unit(postgres: Server) -> Iterator[Unit]:
    if MISSING:
        pytest.fail(MISSING)
    port = free_port()
    with (
        postgres.database() as name,
        Proxy(str(postgres.embedded.run / f".s.PGSQL.{urlsplit(postgres.url(name)).port or 5432}")) as tcp,
        short_folder() as folder,
    ):
        address = f"127.0.0.1:{tcp.port}/{name}"
        settings = {
            "taskapi": {
                "DATABASE_URL": f"postgresql://{LESSER}@{address}",
                "PORT": str(port),
                "WEB_CONCURRENCY": "2",
                "METRICS": "true",
                "JWT_SECRET": SECRET,
            },
            "migrate": {"DATABASE_URL": f"postgresql://taskapi:{PASSWORD.replace(' ', '%20')}@{address}"},
        }
        with Systemd(folder, settings) as systemd:
            yield Unit(systemd, port, postgres.url(name))


@pytest.fixture(scope="module")
def started(unit: Unit) -> Unit:
    """The service, started as docs/deployment.md says."""
    unit.systemd.systemctl("start", "taskapi-migrate")
    made = unit.systemd.run("sh", "-c", f"export LD_LIBRARY_PATH=/opt/python/lib; {MAKE_ROLE}")
    assert f"//{LESSER}:" in made.stdout, made.stderr
    unit.systemd.systemctl("start", "taskapi")
    return unit


def test_without_the_schema_it_tries_again_until_there_is_one(unit: Unit) -> None:
    assert unit.systemd.run("systemctl", "start", "taskapi").returncode == 1
    assert unit.systemd.show("ActiveState") == "activating"
    unit.systemd.systemctl("start", "taskapi-migrate")
    made = unit.systemd.run("sh", "-c", f"export LD_LIBRARY_PATH=/opt/python/lib; {MAKE_ROLE}")
    assert f"//{LESSER}:" in made.stdout, made.stderr
    wait_until(lambda: unit.systemd.show("ActiveState") == "active", "the next try starts it")


def test_a_start_ends_when_the_port_is_open(started: Unit) -> None:
    started.systemd.systemctl("restart", "taskapi")
    with started.client() as client:
        assert client.request("GET", "/health/ready").status == 200
        assert client.create("Buy milk").status == 201


def test_it_has_no_rights(started: Unit) -> None:
    first = int(started.systemd.show("MainPID"))
    wait_until(lambda: len(started.systemd.processes()) == 3, "both workers are there")
    for process in started.systemd.processes():
        lines = started.systemd.run("cat", f"/proc/{process}/status").stdout.splitlines()
        status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        assert int(status["Uid"][0]) >= 61184, "the user is a dynamic one"
        assert status["CapBnd"] == status["CapEff"] == ["0" * 16]
        assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    inside = ("nsenter", f"--target={first}", "--mount", "--wd=/")
    for path in ("/opt/taskapi", "/etc", "/usr", "/home"):
        assert "Read-only" in started.systemd.run(*inside, "touch", f"{path}/written").stderr, path
    # The folder of the metrics is in a /tmp that is the unit's own.
    assert started.systemd.run(*inside, "sh", "-c", "ls -d /tmp/taskapi-*").returncode == 0
    assert started.systemd.run("sh", "-c", "ls -d /tmp/taskapi-*").returncode != 0


def test_the_service_never_sees_the_password_of_the_owner(started: Unit) -> None:
    for process in started.systemd.processes():
        environment = started.systemd.run("cat", f"/proc/{process}/environ").stdout
        assert SECRET in environment
        assert PASSWORD.replace(" ", "%20") not in environment
    for secret in (SECRET, PASSWORD.replace(" ", "%20")):
        assert secret not in started.systemd.run("systemctl", "show", "taskapi", "taskapi-migrate").stdout
        assert secret not in started.systemd.journal()


def test_a_reload_loses_nothing(started: Unit) -> None:
    before = started.systemd.processes()
    main = int(started.systemd.show("MainPID"))
    failures: list[object] = []
    answered = 0

    def work(client: Client, number: int) -> None:
        nonlocal answered
        client.token = token(f"client {number}")
        try:
            status = client.create("during a reload").status
        except BROKEN as error:
            failures.append(error)
        else:
            answered += 1
            if status != 201:
                failures.append(status)
        time.sleep(0.02)

    def replaced() -> bool:
        now = started.systemd.processes()
        return len(now) == 3 and set(now) & set(before) == {main}

    with crowd(started.port, 3, work):
        wait_until(lambda: answered > 20, "the clients write")
        started.systemd.systemctl("reload", "taskapi")
        wait_until(replaced, "every worker is a new one", seconds=60)
    assert not failures, f"{len(failures)} of {answered}: {failures[:5]}\n{started.systemd.journal()}"
    with Sql(started.owner) as sql:
        assert_replay_equals_tasks(sql)


def test_a_killed_worker_is_replaced_and_a_killed_service_comes_back(started: Unit) -> None:
    main = int(started.systemd.show("MainPID"))
    restarts = int(started.systemd.show("NRestarts"))
    worker = next(process for process in started.systemd.processes() if process != main)
    started.systemd.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in started.systemd.processes(), "the worker is gone")
    wait_until(lambda: len(started.systemd.processes()) == 3, "another one is there")
    assert int(started.systemd.show("MainPID")) == main
    started.systemd.kill(main, signal.SIGKILL)
    wait_until(lambda: started.systemd.show("NRestarts") == str(restarts + 1), "systemd starts it again")
    wait_until(started.answers, "it answers")
    assert main not in started.systemd.processes(), "nothing of the killed service is left"


def test_a_stop_lets_requests_finish(started: Unit) -> None:
    answers: list[Answer] = []
    # TimeoutStopSec has to be longer than what gunicorn waits for.
    assert started.systemd.show("TimeoutStopUSec") == "45s"
    assert Settings().ending_seconds < 45
    with started.client() as client, Sql(started.owner) as sql:
        task = client.create("slow").data["id"]
        thread = threading.Thread(
            target=lambda: answers.append(client.request("PATCH", f"/tasks/{task}/complete")), daemon=True
        )
        with sql.transaction():
            sql.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", [task])
            thread.start()
            with Sql(started.owner) as other:
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                wait_until(lambda: other.value(waiting), "the request waits for the task")
            started.systemd.systemctl("stop", "--no-block", "taskapi")
            wait_until(lambda: "Handling signal: term" in started.systemd.journal(), "gunicorn was told to stop")
        thread.join()
    assert [answer.status for answer in answers] == [200]
    wait_until(lambda: started.systemd.show("ActiveState") == "inactive", "it has ended")
    assert started.systemd.show("Result") == "success"
    assert not started.systemd.processes()


def test_nothing_is_mounted_or_left_on_this_machine(started: Unit) -> None:
    started.systemd.close()
    assert "taskapi-test" not in Path("/proc/self/cgroup").read_text()
    assert "taskapi-root" not in Path("/proc/self/mounts").read_text()
