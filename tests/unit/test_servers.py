"""Which server of DATABASE_URL is taken, and how long the others are waited for."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from taskapi.database import servers
from taskapi.database.connection import connect
from taskapi.settings import Settings
from tests.support.proxy import Proxy, before_database
from tests.support.server import Server
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    yield
    servers._silent.clear()
    servers._took.clear()
    servers._primary = None


@pytest.fixture(scope="module")
def port(postgres: Server) -> Iterator[int]:
    """A TCP port of 127.0.0.1 that leads to the run's PostgreSQL."""
    proxy, _ = before_database(postgres.embedded.url)
    with proxy:
        yield proxy.port


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def opened(hosts: str, query: str = "", seconds: float = 30.0) -> str:
    """Connect to these hosts of the run's PostgreSQL; return the port that was taken."""
    url = f"postgresql://taskapi:hunter2@{hosts}/taskapi{query}"
    connection = connect(Settings(database_url=url), deadline=time.monotonic() + seconds)
    try:
        return f"{connection.info.host}:{connection.info.port}"
    finally:
        connection.close()


def test_a_silent_server_is_left(silent: int, port: int) -> None:
    assert opened(f"localhost:{silent},127.0.0.1:{port}", seconds=4.0) == f"127.0.0.1:{port}"


def test_connect_timeout_holds_and_a_silent_server_comes_last_then(silent: int, port: int) -> None:
    hosts = f"127.0.0.1:{silent},127.0.0.1:{port}"
    # In a minute each: shares alone would outlast the test.
    started = time.monotonic()
    for _ in range(5):
        assert opened(hosts, "?connect_timeout=1", 120.0) == f"127.0.0.1:{port}"
    assert time.monotonic() - started < 20


def test_a_silent_server_gets_a_second_while_others_answer(silent: int) -> None:
    with pytest.raises(psycopg2.OperationalError, match=r"no answer in 5\.0 s"):
        opened(f"127.0.0.1:{silent},127.0.0.1:1", seconds=10.0)
    with pytest.raises(psycopg2.OperationalError, match=rf"port {silent} failed: no answer in 1\.0 s"):
        opened(f"127.0.0.1:{silent},127.0.0.1:1", seconds=10.0)


def test_a_server_that_takes_long_to_connect_to_is_reached_after_a_silence(port: int) -> None:
    with Proxy(port) as slow:
        slow.delay = 0.5
        hosts = f"127.0.0.1:{slow.port},127.0.0.1:1"
        assert opened(hosts) == f"127.0.0.1:{slow.port}"
        slow.swallowing = True
        for _ in range(2):
            with pytest.raises(psycopg2.OperationalError, match="no answer"):
                opened(hosts, seconds=4.0)
        slow.release()
        assert opened(hosts) == f"127.0.0.1:{slow.port}"


@pytest.mark.parametrize("is_silent", [False, True])
def test_only_a_silent_server_without_a_slot_is_left(is_silent: bool, port: int) -> None:
    def count(server: servers.Server) -> None:
        if server.port == str(port):
            raise servers.NoSlot

    with Proxy(port) as other:
        url = f"postgresql://taskapi@127.0.0.1:{port},127.0.0.1:{other.port}/taskapi"
        if is_silent:
            servers.remember_silence(servers.Server("127.0.0.1", "127.0.0.1", str(port)))
            connect(Settings(database_url=url), deadline=time.monotonic() + 30, count=count).close()
        else:
            with pytest.raises(servers.NoSlot):
                connect(Settings(database_url=url), deadline=time.monotonic() + 30, count=count)
        full = f"postgresql://taskapi@127.0.0.1:1,127.0.0.1:{port}/taskapi"
        with pytest.raises(psycopg2.OperationalError, match=r"refused.*; all connections that the service may have"):
            connect(Settings(database_url=full), deadline=time.monotonic() + 30, count=count)


def test_a_server_has_one_number_in_all_processes() -> None:
    one, two = servers.Server("one", "192.0.2.1", "5432"), servers.Server("two", "192.0.2.2", "5432")
    assert servers.number("postgresql://one/taskapi", one) == 0
    assert servers.number("postgresql://two,one/taskapi?load_balance_hosts=random", one) == 0
    assert servers.number("postgresql://one,two/taskapi?target_session_attrs=prefer-standby", two) == 1


def test_the_last_primary_comes_first(port: int) -> None:
    """Where an old one comes back, both take writes."""
    with Proxy(port) as proxy:
        other = proxy.port
        hosts, wish = f"127.0.0.1:{other},localhost:{port}", "?target_session_attrs=read-write"
        assert opened(f"localhost:{port}", wish) == f"localhost:{port}"
        assert opened(hosts, wish) == f"localhost:{port}"
        assert opened(hosts) == f"127.0.0.1:{other}"
        # It ends, or takes no more writes: any other one will do.
        assert opened(f"127.0.0.1:{other},localhost:1", wish) == f"127.0.0.1:{other}"
        assert opened(hosts, wish) == f"127.0.0.1:{other}"


def test_a_late_answer_is_not_taken_where_another_one_has_become_the_primary(port: int) -> None:
    wish = "?target_session_attrs=read-write"
    with Proxy(port) as slow, ThreadPoolExecutor(1) as threads:
        slow.delay = 0.5
        late = threads.submit(opened, f"127.0.0.1:{slow.port},localhost:{port}", wish)
        wait_until(lambda: slow._open, "it waits for the first one")
        assert opened(f"localhost:{port}", wish) == f"localhost:{port}"
        assert late.result() == f"localhost:{port}"


@pytest.mark.parametrize(
    ("wish", "taken"),
    [("any", True), ("read-write", True), ("primary", True), ("prefer-standby", True), ("standby", False)],
)
def test_target_session_attrs(port: int, wish: str, taken: bool) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{port}"
    if taken:
        assert opened(hosts, f"?target_session_attrs={wish}") == f"127.0.0.1:{port}"
    else:
        with pytest.raises(psycopg2.OperationalError, match="not in hot standby"):
            opened(hosts, f"?target_session_attrs={wish}")


def test_the_error_names_every_server_and_why(silent: int) -> None:
    with pytest.raises(psycopg2.OperationalError) as raised:
        opened(f"no-such-host.invalid,127.0.0.1:1,127.0.0.1:{silent}", "?connect_timeout=1")
    text = str(raised.value)
    assert 'could not translate host name "no-such-host.invalid" to address: ' in text
    assert 'server at "127.0.0.1", port 1 failed: Connection refused' in text
    assert f"port {silent} failed: no answer in 1.0 s" in text
    assert "hunter2" not in text


def test_a_refusal_is_final(port: int) -> None:
    with pytest.raises(psycopg2.OperationalError, match="FATAL") as raised:
        connect(
            Settings(database_url=f"postgresql://nobody@127.0.0.1:{port},localhost:{port}/taskapi"),
            deadline=time.monotonic() + 30,
        )
    assert "localhost" not in str(raised.value)


def test_hosts_of_the_environment_and_of_a_service_file(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.1,localhost")
    monkeypatch.setenv("PGPORT", f"1,{port}")
    assert opened("") == f"localhost:{port}"
    (tmp_path / "services").write_text(f"[other]\nhost=other.invalid\n[mine]\n# ours\nhost=localhost\nport={port}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert opened("", "?service=mine") == f"localhost:{port}"
    assert opened("unknown.invalid:1", f"?hostaddr=127.0.0.1&port={port}") == f"unknown.invalid:{port}"


def test_lists_that_do_not_match_are_explained_by_libpq() -> None:
    with pytest.raises(psycopg2.OperationalError, match="could not match 2 port numbers to 3 hosts"):
        opened("a,b,c", "?port=1,2")


def test_a_lookup_that_hangs_is_left_and_shared(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server's real silence needs root: here the system's call hangs."""
    ending, asked, real = threading.Event(), [], socket.getaddrinfo

    def hanging(host: bytes, *arguments: object, **options: object) -> object:
        if host != b"db.example":
            return real(host, *arguments, **options)  # type: ignore[arg-type]
        asked.append(host)
        ending.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    try:
        for _ in range(3):
            with pytest.raises(psycopg2.OperationalError, match=r'host name "db\.example" to address: no answer'):
                opened("db.example", seconds=0.05)
        assert asked == [b"db.example"]
        assert opened(f"db.example,127.0.0.1:{port}", "?connect_timeout=1") == f"127.0.0.1:{port}"
    finally:
        ending.set()
