"""A server that takes no writes: the service says so, and finds the one that does without a restart."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn

from taskapi.database.connection import connect
from taskapi.database.database import Database
from taskapi.errors import OutcomeUnknown, ReadOnly
from taskapi.repository import Repository
from taskapi.repository.tasks import Listed
from taskapi.settings import Settings
from tests.support import backends
from tests.support.folders import short_folder
from tests.support.ledger import NOTHING
from tests.support.load import Answer, Client, at_once
from tests.support.proxy import Proxy, before_database, socket_of
from tests.support.server import Server
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.standby import Standby
from tests.support.tasks import id_of
from tests.support.waiting import wait_until

READERS = 20


@dataclass
class Pair:
    """A primary and its standby, and a service that reaches one of them through a proxy."""

    proxy: Proxy
    service: Service
    primary: str
    standby: str

    def lead_to(self, url: str) -> None:
        """New connections lead to this server. Those that there are stay what they are."""
        self.proxy.target = socket_of(url)

    def fail_over_to_the_standby(self) -> None:
        """As a balancer does that has not heard of the new primary yet."""
        self.lead_to(self.standby)
        self.proxy.cut(self.proxy._open)


def read(client: Client, _: int) -> Answer:
    return client.request("GET", "/tasks")


@pytest.fixture(scope="module")
def pair(postgres: Server, module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with short_folder() as folder:
        server = Standby(folder / "standby", postgres)
        server.start()
        proxy, url = before_database(module_database_url)
        with proxy:
            service = Service({"DATABASE_URL": url}, folder=tmp_path_factory.mktemp("service"))
            with Sql(module_database_url) as sql:
                yield Pair(proxy, service, module_database_url, server.url(sql.database))
            service.kill()
        server.stop()


@pytest.fixture
def on_standby(pair: Pair) -> Iterator[Pair]:
    """Both workers have connections to the standby. Afterwards all is well again."""
    pair.fail_over_to_the_standby()
    at_once(pair.service.port, READERS, read)
    yield pair
    pair.lead_to(pair.primary)
    with Client(pair.service.port) as client:
        wait_until(lambda: client.request("GET", "/health/ready").status == 200, "it is ready again")


def test_not_ready_on_a_standby(on_standby: Pair) -> None:
    with Client(on_standby.service.port) as client:
        for _ in range(10):
            answer = client.request("GET", "/health/ready")
            assert answer.status == 503
            assert "takes no writes" in answer.envelope["error"]
            assert int(answer.headers["Retry-After"]) >= 1
        assert client.request("GET", "/health").status == 200
        answer = client.request("GET", "/tasks")
        assert answer.status == 200
        assert not {"ETag", "Link"} & set(answer.headers)
        on_standby.lead_to(on_standby.primary)
        wait_until(lambda: client.request("GET", "/health/ready").status == 200, "it is ready on the primary")


def test_a_list_of_a_standby_has_no_tag_and_no_place_in_the_changes(pair: Pair) -> None:
    """It may be behind, and its snapshots leave out what is in progress. A client's list is sent again."""
    # Past a pooler, which leads to the run's own server.
    primary, standby = (Repository(Database(Settings(database_url=url))) for url in (pair.primary, pair.standby))
    listed = primary.list_tasks()
    assert listed.position
    with Sql(pair.primary) as sql, Sql(pair.standby) as behind:
        written = sql.value("SELECT pg_current_wal_lsn()")
        wait_until(lambda: behind.value("SELECT pg_last_wal_replay_lsn() >= %s", (written,)), "it has followed")
    assert standby.list_tasks(known=[listed.position]) == Listed(listed.tasks, None)
    assert standby.list_tasks_page(known=[listed.position]) == Listed(listed.tasks, None)


def test_no_cursors_on_a_standby(on_standby: Pair) -> None:
    """It does not know what is under way, and would leave that out for good."""
    with on_standby.service.client() as client:
        for params, headers in (({}, {}), ({"wait": 5}, {}), ({}, {"Accept": "text/event-stream"})):
            answer = client.get("/api/v1/changes", params=params, headers=headers)
            assert answer.status_code == 503
            assert "no cursors" in answer.json()["error"]
            assert int(answer.headers["Retry-After"]) >= 1


def test_writes_wait_for_the_primary_and_leave_the_standby(on_standby: Pair) -> None:
    refused = on_standby.service.log.count("the database takes no writes")

    def create(client: Client, number: int) -> Answer:
        return client.create(f"write {number}")

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(at_once, on_standby.service.port, READERS, create)
        wait_until(
            lambda: on_standby.service.log.count("the database takes no writes") > refused, "a write has been refused"
        )
        on_standby.lead_to(on_standby.primary)
        assert {answer.status for answer in written.result()} == {201}
    with Sql(on_standby.standby) as sql:

        def left() -> bool:
            # New clients each time, so that both workers have some.
            assert {answer.status for answer in at_once(on_standby.service.port, READERS, read)} == {200}
            return backends.count(sql) == 0

        wait_until(left, "nobody uses the standby any more")


def test_connections_of_a_read_only_time_do_not_outlive_it(database_url: str, sql: Sql) -> None:
    # Directly: behind a pooler the connections to the server are the pooler's to replace.
    repository = Repository(Database(Settings(database_url=database_url, db_connections=4)))
    impatient = Repository(Database(Settings(database_url=database_url, request_deadline=0.5)))
    task_id = id_of(repository.create_task(title="Buy", description=None))
    sql.execute(f"ALTER DATABASE {sql.database} SET default_transaction_read_only = on")
    backends.terminate(sql)
    with pytest.raises(ReadOnly, match=NOTHING):
        repository.schema_version()
    with pytest.raises(ReadOnly, match=NOTHING):
        impatient.create_task(title="in vain", description=None)
    began = threading.Event()

    def complete() -> object:
        began.set()
        return repository.set_task_completed(task_id=task_id, is_completed=True)

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(complete)
        began.wait()
        sql.execute(f"ALTER DATABASE {sql.database} RESET default_transaction_read_only")
        writing.result()
    assert sql.value("SELECT count(*) FROM task_history") == 2
    assert repository.schema_version()


def test_a_silent_server_is_left_with_all_its_connections(database_url: str, sql: Sql) -> None:
    """Each of its idle connections would cost a request its time."""
    first, _ = before_database(database_url)
    second, _ = before_database(database_url)
    with first, second:
        url = f"postgresql://taskapi@127.0.0.1:{first.port},127.0.0.1:{second.port}/{sql.database}"
        url += "?target_session_attrs=read-write"
        repository = Repository(Database(Settings(database_url=url, db_connections=6, db_statement_timeout=2.0)))
        with ThreadPoolExecutor(6) as threads:
            with Sql(database_url) as holder, holder.transaction():
                holder.execute("LOCK TABLE tasks")
                reads = [threads.submit(repository.list_tasks) for _ in range(6)]
                wait_until(lambda: backends.count(sql) == 6, "every connection is in use")
            assert {read.result().tasks for read in reads} == {b"[]"}
        first.swallowing = True
        with pytest.raises(OutcomeUnknown):
            repository.create_task(title="swallowed", description=None)
        assert repository.list_tasks().tasks == b"[]"


def test_where_any_server_will_do_one_late_statement_leaves_none(pair: Pair) -> None:
    """Another one may be a standby, which takes no writes."""
    first, url = before_database(pair.primary)
    second, _ = before_database(pair.standby)
    with first, second:
        both = url.replace(f":{first.port}/", f":{first.port},127.0.0.1:{second.port}/")
        repository = Repository(Database(Settings(database_url=both, db_connections=2, db_statement_timeout=2.0)))
        repository.create_task(title="before", description=None)
        first.swallowing = True
        with pytest.raises(OutcomeUnknown):
            repository.create_task(title="swallowed", description=None)
        first.release()
        repository.create_task(title="after", description=None)


@pytest.mark.parametrize(
    ("wish", "is_standby"),
    [("read-write", False), ("primary", False), ("read-only", True), ("standby", True), ("prefer-standby", True)],
)
def test_target_session_attrs_chooses_among_hosts(pair: Pair, wish: str, is_standby: bool) -> None:
    # The one that is not wanted comes first.
    servers = [parse_dsn(url) for url in (pair.primary, pair.standby)]
    hosts, ports = (
        ",".join(server[name] for server in servers[:: 1 if is_standby else -1]) for name in ("host", "port")
    )
    url = f"postgresql://taskapi@/{servers[0]['dbname']}?host={quote(hosts)}&port={ports}&target_session_attrs={wish}"
    connection = connect(Settings(database_url=url), deadline=time.monotonic() + 30)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        assert cursor.fetchone() == (is_standby,)
    connection.close()
