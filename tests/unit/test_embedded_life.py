"""The embedded database's life: started, shared, stopped, killed, and started again with what was written."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from taskapi.embedded import EmbeddedError, EmbeddedPostgres
from tests.support.embedded import AS_ROOT, IDENTITIES, Place, answers, new_place, postmaster, processes
from tests.support.sql import Sql
from tests.support.waiting import wait_until


@pytest.fixture
def new() -> Iterator[Place]:
    """A place where no database has been yet."""
    with new_place(IDENTITIES[0]) as place:
        yield place


@pytest.fixture(scope="module")
def used() -> Iterator[Place]:
    """A place for all tests that do not mind what is in the database."""
    with new_place(IDENTITIES[0]) as place:
        yield place


@pytest.fixture
def place(used: Place) -> Iterator[Place]:
    """A place where there may be a database already, and nothing runs."""
    yield used
    used.kill_everything()


def write(url: str, *numbers: int) -> None:
    with Sql(url) as sql:
        sql.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (number integer)")
        for number in numbers:
            sql.execute("INSERT INTO kept VALUES (%s)", (number,))


def written(url: str) -> list[int]:
    with Sql(url) as sql:
        return [number for (number,) in sql.rows("SELECT number FROM kept ORDER BY number")]


def test_the_data_is_there_at_the_next_start() -> None:
    # Also for root, who runs the server as the data's owner then.
    with new_place("normal") as place:
        user = place.start()
        write(user.url(), 1, 2)
        user.stop()
        assert not processes(place.folder)
        user = place.start(identity=IDENTITIES[0])
        assert written(user.url()) == [1, 2]
        user.stop()


def test_a_new_database_is_the_same_on_every_machine(new: Place) -> None:
    with Sql(new.start().url()) as sql:
        assert sql.value("SHOW server_version_num") >= "180000"
        assert sql.rows("SELECT current_database(), current_user") == [("taskapi", "taskapi")]
        assert sql.rows(
            "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale, current_setting('TimeZone')"
            " FROM pg_database WHERE datname = current_database()"
        ) == [("UTF8", "b", "C.UTF-8", "UTC")]
        assert sql.value("SHOW listen_addresses") == ""
        assert sql.rows("SHOW fsync") == sql.rows("SHOW full_page_writes") == [("on",)]


def test_the_last_user_to_stop_shuts_it_down(place: Place) -> None:
    first, second = place.start(), place.start()
    url = first.url()
    assert second.url() == url
    server = postmaster(place.folder)
    first.stop()
    assert answers(url)
    assert postmaster(place.folder) == server
    second.stop()
    assert not answers(url)
    assert not processes(place.folder)


def test_many_start_at_once(new: Place) -> None:
    users = [new.start() for _ in range(6)]
    assert len({user.url() for user in users}) == 1
    assert (new.folder / "postgres.log").read_text().count("starting PostgreSQL") == 1
    for user in users:
        user.stop()
    assert not processes(new.folder)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_kill_9_of_everything_loses_nothing(identity: str) -> None:
    with new_place(identity) as place:
        write(place.start().url(), *range(100))
        place.kill_everything()
        assert (place.folder / "postgres" / "postmaster.pid").exists(), "a killed server leaves its lock file"
        user = place.start()
        assert written(user.url()) == list(range(100))
        user.stop()


def test_a_killed_user_leaves_a_server_that_the_next_one_takes_over(place: Place) -> None:
    first = place.start()
    url = first.url()
    server = postmaster(place.folder)
    first.kill()
    assert answers(url)
    second = place.start()
    second.url()
    assert postmaster(place.folder) == server
    second.stop()
    assert not processes(place.folder)


def test_a_killed_server_is_started_again_beside_its_last_backends(place: Place) -> None:
    url = place.start().url()
    write(url, 1)
    with Sql(url) as sql:
        backend = sql.value("SELECT pg_backend_pid()")
        # A stopped backend outlives its postmaster, and has the data's shared memory.
        os.kill(backend, signal.SIGSTOP)
        os.kill(postmaster(place.folder), signal.SIGKILL)
        wait_until(lambda: processes(place.folder) == [backend], "only the stopped backend is left")
        log = place.folder / "postgres.log"
        said = len(log.read_text())
        second = place.start()
        wait_until(lambda: "shared memory block" in log.read_text()[said:], "Postgres refuses to start beside it")
        os.kill(backend, signal.SIGCONT)
        assert written(second.url()) == [1]


def test_a_process_that_has_a_dead_servers_number_is_not_taken_for_it(place: Place) -> None:
    user = place.start()
    write(user.url(), 1)
    place.kill_everything()
    # Of the same user, so that it looks as much like the server as can be.
    owner = (place.folder / "postgres").stat().st_uid if AS_ROOT else None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=owner) as other:
        for lock in (place.folder / "postgres" / "postmaster.pid", place.folder / "run" / ".s.PGSQL.5432.lock"):
            _, _, rest = lock.read_text().partition("\n")
            lock.write_text(f"{other.pid}\n{rest}")
        user = place.start()
        assert written(user.url()) == [1]
        user.stop()
        assert other.poll() is None
        other.communicate()


def test_a_first_start_that_was_killed_is_begun_anew(new: Place) -> None:
    first = new.start()
    wait_until(lambda: list(new.folder.glob("postgres*/base")), "initdb is at work")
    first.kill()
    user = new.start()
    write(user.url(), 1)
    user.stop()


def test_starting_twice_in_one_process_is_starting_once(place: Place) -> None:
    server = EmbeddedPostgres(place.folder)
    assert server.start({"work_mem": "5MB"}) == server.start({"work_mem": "6MB"}) == server.url
    with Sql(server.url) as sql:
        assert sql.value("SHOW work_mem") == "5MB"
    server.stop()
    assert not processes(place.folder)
    server.stop()


FORK = """
import os, sys
from pathlib import Path
from taskapi.embedded import EmbeddedError, EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
master_ended, master_lives = os.pipe()
if not os.fork():
    # A worker: whatever it runs at its end must not stop the database, nor must the worker keep it.
    os.close(master_lives)
    server.stop()
    print("the fork is done", flush=True)
    os.read(master_ended, 1)
    os._exit(0)
sys.stdin.readline()
server.stop()
print("the master is done", flush=True)
sys.stdin.readline()
"""


def test_a_fork_neither_stops_the_server_nor_keeps_it(place: Place) -> None:
    command = [sys.executable, "-c", FORK, str(place.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as master:
        assert master.stdin
        assert master.stdout
        url = master.stdout.readline().strip()
        assert master.stdout.readline() == "the fork is done\n"
        assert answers(url)
        master.stdin.write("\n")
        master.stdin.flush()
        assert master.stdout.readline() == "the master is done\n"
        assert not answers(url)
        # The fork lives on, and with it what it inherited.
        next_user = place.start()
        assert answers(next_user.url())
        next_user.stop()
        assert not answers(url)
        assert not processes(place.folder)


def test_settings_are_the_servers_and_the_socket_stays_ours(place: Place) -> None:
    server = EmbeddedPostgres(place.folder)
    odd = 'it\'s "%m" $HOME $(id) \\ '
    server.start({"max_connections": "17", "log_line_prefix": odd, "listen_addresses": "*", "port": "9999"})
    with Sql(server.url) as sql:
        assert (sql.value("SHOW max_connections"), sql.value("SHOW log_line_prefix")) == ("17", odd)
        assert (sql.value("SHOW listen_addresses"), sql.value("SHOW port")) == ("", "5432")
    server.stop()


def test_a_setting_that_postgres_refuses_is_told(place: Place) -> None:
    with pytest.raises(EmbeddedError, match=r"no_such_setting.*postgres\.log"):
        EmbeddedPostgres(place.folder).start({"no_such_setting": "1"})
    user = place.start()
    assert answers(user.url())
    user.stop()
