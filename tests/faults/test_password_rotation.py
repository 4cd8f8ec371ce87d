"""The password of the service's role is changed under load, with the commands of docs/backups.md: no request fails, and
nothing is restarted."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from taskapi.migrations import prepare_schema
from taskapi.role import make_role
from taskapi.settings import Settings
from tests.support import backends
from tests.support.backends import DurableServer
from tests.support.documented import follow, recipe
from tests.support.folders import short_folder
from tests.support.load import Client, crowd
from tests.support.passwords import ask_for_passwords
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.waiting import wait_until

ROLE = "taskapi_app"
FEW, MANY = 2, 16


@dataclass(frozen=True)
class Place:
    """A service whose role needs a password, and the folder that has it."""

    service: Service
    sql: Sql
    owner_url: str
    folder: Path
    server_log: Path

    def rotate(self, seconds: float = 0.0) -> None:
        """What the page says. So many seconds pass between its last two lines."""
        commands = recipe("Rotating the password", 1, _etc_taskapi=self.folder)
        follow(commands.replace("\nmv ", f"\nsleep {seconds}\nmv "), OWNER_URL=self.owner_url)

    def connections(self) -> int:
        return int(self.sql.value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (ROLE,)))

    def has_more_than(self, count: int) -> bool:
        return self.connections() > count

    def refused(self) -> int:
        """How many connections the server has refused for a wrong password."""
        return self.server_log.read_text().count("FATAL:  password authentication failed")

    def verifier(self) -> str:
        """What the server keeps of the password."""
        return str(self.sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (ROLE,)))


def made(url: str, role: str) -> str:
    with closing(psycopg2.connect(url)) as connection:
        return make_role(connection, role) or ""


@pytest.fixture(scope="module")
def server() -> Iterator[DurableServer]:
    """A server where all but the tables' owner need a password."""
    with short_folder() as folder:
        server = DurableServer(folder / "pg")
        server.start()
        try:
            prepare_schema(Settings(database_url=server.embedded.url))
            ask_for_passwords(server)
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def place(server: DurableServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, owner_url = tmp_path_factory.mktemp("etc"), server.embedded.url
    passfile = folder / "pgpass"
    passfile.touch(0o600)
    passfile.write_text(f"*:*:*:{ROLE}:{made(owner_url, ROLE)}\n")
    url = owner_url.replace("//taskapi@", f"//{ROLE}@")
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(url)
    settings = {"DATABASE_URL": f"{url}&passfile={quote(str(passfile))}", "AUTO_MIGRATE": "false"}
    service = Service(
        {**settings, "DB_CONNECTIONS": "16", "DB_POOL_TIMEOUT": "8"}, folder=tmp_path_factory.mktemp("service")
    )
    with Sql(owner_url) as sql:
        yield Place(service, sql, owner_url, folder, server.embedded.log)
    service.kill()


@dataclass
class Counted:
    """What a crowd got: how many answers, and those that are no success."""

    answers: int = 0
    failed: tuple[object, ...] = ()

    def work(self, client: Client, number: int) -> None:
        written = client.create(f"of client {number}")
        read = client.request("GET", f"/tasks/{written.data['id']}") if written.status == 201 else written
        for answer in (written, read):
            self.answers += 1
            if answer.status not in (200, 201):
                self.failed += ((answer.status, answer.body),)
        time.sleep(0.01)


def test_no_request_fails(place: Place, figure: Callable[[str], None], sized: Callable[[int, int], int]) -> None:
    """The load grows between the two steps, where each new connection is refused."""
    counted, there = Counted(), int(place.sql.value("SELECT count(*) FROM tasks"))
    with crowd(place.service.port, FEW, counted.work):
        wait_until(lambda: counted.answers > 50, "the load runs")
        for _ in range(sized(1, 10)):
            before, refused = place.connections(), place.refused()
            rotation = threading.Thread(target=place.rotate, args=(2.0,))
            rotation.start()
            with crowd(place.service.port, MANY, counted.work):
                rotation.join()
                wait_until(partial(place.has_more_than, before), "there are new connections with the new password")
            assert place.refused() > refused, "no connection was tried between the two steps"
    assert counted.failed == ()
    assert place.sql.value("SELECT count(*) FROM tasks") == there + counted.answers // 2
    figure(f"{counted.answers} requests during {sized(1, 10)} rotations, 0 failed")


def test_a_request_without_any_connection_waits_for_the_file(place: Place) -> None:
    rotation = threading.Thread(target=place.rotate, args=(1.0,))
    old, before = (place.folder / "pgpass").read_text(), place.verifier()
    rotation.start()
    wait_until(lambda: place.verifier() != before, "the role has its new password")
    assert (place.folder / "pgpass").read_text() == old
    backends.end(place.sql)
    with Client(place.service.port) as client:
        answers = [client.create("in between"), client.request("GET", "/tasks")]
    rotation.join()
    assert [answer.status for answer in answers] == [201, 200]
    new = (place.folder / "pgpass").read_text()
    assert new != old
    for line in (old, new):
        assert line.strip().rpartition(":")[2] not in place.service.log


def test_a_file_that_never_comes_is_said_without_the_password(place: Place) -> None:
    place.sql.execute(f"ALTER ROLE {ROLE} PASSWORD 'another secret'")
    try:
        backends.end(place.sql)
        with Client(place.service.port) as client:
            answer = client.create("never")
        assert answer.status == 503
        assert "Nothing was written" in answer.envelope["error"]
        said = rf'cannot connect to the database: .*password authentication failed for user "{ROLE}"'
        assert re.search(said, place.service.log)
        assert (place.folder / "pgpass").read_text().strip().rpartition(":")[2] not in place.service.log
    finally:
        place.rotate()


def test_two_roles_in_turn_by_a_service_file(server: DurableServer, tmp_path: Path) -> None:
    """There is no moment without a good password: each role keeps its own until nobody uses it."""
    folder, owner_url = tmp_path / "etc", server.embedded.url
    folder.mkdir()

    def write(role: str) -> None:
        new = folder / "new"
        new.touch(0o600)
        login = f"user={role}\npassword={made(owner_url, role)}"
        new.write_text(f"[taskapi]\nhost={server.embedded.run}\nport=5432\ndbname=taskapi\n{login}\n")
        new.rename(folder / "pg_service.conf")

    write("taskapi_a")
    exports, url = recipe("Rotating the password", 2, _etc_taskapi=folder).splitlines()
    variable, _, place = exports.removeprefix("export ").partition("=")
    settings = {variable: place, "DATABASE_URL": url.partition("=")[2].strip("'"), "AUTO_MIGRATE": "false"}
    service, counted = Service({**settings, "WEB_CONCURRENCY": "1"}, folder=tmp_path), Counted()
    users = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    with Sql(owner_url) as sql:
        try:
            with crowd(service.port, FEW, counted.work):
                wait_until(lambda: counted.answers > 20, "the load runs")
                write("taskapi_b")
                with crowd(service.port, MANY, counted.work):
                    wait_until(lambda: sql.value(users, ("taskapi_b",)) > 0, "the other role is used")
                    wait_until(lambda: counted.answers > 200, "the load goes on")
            assert counted.failed == ()
            sql.execute("ALTER ROLE taskapi_a NOLOGIN")
            sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'taskapi_a'")
            with Client(service.port) as client:
                assert client.request("GET", "/tasks").status == 200
        finally:
            service.kill()
