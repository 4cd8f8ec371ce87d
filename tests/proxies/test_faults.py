"""What clients see through a proxy when instances reload, stop, die or are not ready, and when answers are lost."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx

from taskapi.places import ROOT
from tests.proxies.clients import Careful, TlsClient, tls_crowd
from tests.proxies.conftest import StartProxy
from tests.support.backends import terminate
from tests.support.ledger import Ledger
from tests.support.load import Client
from tests.support.proxy import Fate, Proxy
from tests.support.replay import assert_replay_equals_tasks
from tests.support.service import COMMAND, Service
from tests.support.sql import Sql
from tests.support.waiting import START, wait_until

CLIENTS = 6

LOSE = "lose-this-answer"
"""The request id of a request whose answer does not arrive."""

SEEN = "see-this-answer"
"""The request id of a request whose answer is counted."""


class Losing(Proxy):
    """Ends the connection instead of passing on an answer to a request that is named LOSE."""

    passed = 0
    """How many answers to requests that are named SEEN it has passed on."""

    def fate(self, data: bytes, is_answer: bool) -> Fate:
        if is_answer and LOSE.encode() in data:
            self.lost += 1
            return Fate.CUT
        self.passed += is_answer and SEEN.encode() in data
        return Fate.PASS


def test_a_day_with_two_instances(
    kind: str, start_service: Any, database_url: str, start_proxy: StartProxy, figure: Callable[[str], None]
) -> None:
    """Nothing that was acknowledged is lost or doubled, whatever happens; planned changes are seen by nobody."""
    one, two = start_service(database_url), start_service(database_url)
    proxy = start_proxy(kind, one.port, two.port)
    ledger = Ledger()
    seen: Counter[str] = Counter()

    def work(client: Client, number: int) -> None:
        if number % 2:
            ledger.step(client, number)
        else:
            client.request("GET", "/tasks?limit=5")
        time.sleep(random.uniform(0, 0.05))

    @contextmanager
    def phase(what: str, *, is_planned: bool) -> Iterator[None]:
        before, acknowledged, started = seen.copy(), ledger.acknowledged, time.monotonic()
        yield
        # What comes after it counts, too.
        written = ledger.acknowledged
        wait_until(lambda: ledger.acknowledged > written + 30, "writes go on", seconds=60)
        found = seen - before
        seconds = time.monotonic() - started
        figure(
            f"{what}: {ledger.acknowledged - acknowledged} writes in {seconds:.0f} s, seen: {dict(found) or 'nothing'}"
        )
        assert not (is_planned and found), f"{what}: {found}\n{proxy.output}\n{proxy.log[-3000:]}"

    with tls_crowd(proxy.port, CLIENTS, lambda: Careful(proxy.port, proxy.tls, seen), work):
        wait_until(lambda: ledger.acknowledged > 30, "clients write", seconds=60)
        with phase("each instance reloads", is_planned=True):
            one.hup()
            two.hup()
        with phase("an instance ends by TERM", is_planned=True):
            assert one.stop() == 0
        with phase("it comes back", is_planned=True):
            begin_again(one)
            wait_until(lambda: asked(one, "/api/v1/tasks"), "it gets requests again", seconds=60)
        with phase("an instance is killed", is_planned=False):
            two.kill()
        with phase("it comes back after that", is_planned=True):
            begin_again(two)
            wait_until(lambda: asked(two, "/api/v1/tasks"), "it gets requests again", seconds=60)
    with Sql(database_url) as sql:
        ledger.check(sql)
    if kind == "haproxy":
        assert not [what for what in seen if what.startswith("GET")], f"reads go on: {seen}"


def test_a_reload_of_the_proxy_loses_nothing(
    kind: str, start_service: Any, database_url: str, start_proxy: StartProxy, figure: Callable[[str], None]
) -> None:
    service = start_service(database_url)
    proxy = start_proxy(kind, service.port, service.port)
    answered = 0
    ended: Counter[str] = Counter()

    def work(client: Client, number: int) -> None:
        nonlocal answered
        if number % 2:
            # A connection for each request.
            with TlsClient(proxy.port, proxy.tls) as fresh:
                assert fresh.create("during a reload").status == 201
        else:
            # A kept connection that rests may end, which browsers take for a reason to open another one.
            assert client.create("on a kept one").status in (201, 503)
        answered += 1
        time.sleep(random.uniform(0, 0.05))

    with tls_crowd(proxy.port, CLIENTS, lambda: Careful(proxy.port, proxy.tls, ended), work):
        for _ in range(3):
            before = answered
            wait_until(lambda: answered > before + 30, "clients ask", seconds=60)  # noqa: B023
            proxy.reload()
        before = answered
        wait_until(lambda: answered > before + 30, "clients ask on", seconds=60)
    figure(f"3 reloads of {kind}, {answered} requests; kept connections that ended: {dict(ended) or 'none'}")
    assert not [what for what in ended if "of the proxy" in what], ended
    if kind == "haproxy":
        assert not ended
    with Sql(database_url) as sql:
        assert_replay_equals_tasks(sql)


def test_a_write_that_was_sent_is_never_sent_again(
    kind: str, start_service: Any, database_url: str, start_proxy: StartProxy, sql: Sql
) -> None:
    service = start_service(database_url)
    one, two = Losing(service.port), Losing(service.port)
    with one, two:
        proxy = start_proxy(kind, one.port, two.port)
        client = proxy.client()
        lost = {"X-Request-Id": LOSE}
        task = client.post("/api/v1/tasks", json={"title": "there"}).json()["data"]["id"]
        for method, path, body, action in (
            ("POST", "/tasks", {"title": "new"}, "CREATED"),
            ("PUT", f"/tasks/{task}", {"title": "changed"}, "UPDATED"),
            ("PATCH", f"/tasks/{task}/complete", None, "COMPLETED"),
            ("DELETE", f"/tasks/{task}", None, "DELETED"),
        ):
            both_serve(client, one, two)
            before = one.lost + two.lost
            try:
                answer = client.request(method, f"/api/v1{path}", json=body, headers=lost)
            except httpx.RemoteProtocolError:
                # On a kept connection, HAProxy says nothing, and ends it.
                assert kind == "haproxy"
            else:
                assert answer.status_code == 502, method
            assert one.lost + two.lost == before + 1, f"{method} was sent again"
            assert sql.value("SELECT count(*) FROM task_history WHERE action_type = %s", [action]) == 1 + (
                action == "CREATED"
            )
        # A read is sent again, at least once.
        both_serve(client, one, two)
        before = one.lost + two.lost
        with suppress(httpx.RemoteProtocolError):
            assert client.get("/api/v1/tasks", headers=lost).status_code == 502
        assert one.lost + two.lost >= before + 2


def test_who_gets_requests_while_an_instance_is_not_ready(
    kind: str, start_service: Any, new_database: Callable[[], str], start_proxy: StartProxy
) -> None:
    databases = [new_database(), new_database()]
    with ExitStack() as stack:
        first, second = (stack.enter_context(Sql(url)) for url in databases)
        read_only(second)
        one, two = (start_service(url) for url in databases)
        proxy = start_proxy(kind, one.port, two.port)
        client = proxy.client()
        wait_until(lambda: asked(two, "/api/v1/health/ready") >= 2 or kind == "nginx", "its health was checked")
        wait_until(lambda: client.get("/api/v1/tasks").status_code == 200, "somebody answers")
        before = asked(two, "/api/v1/tasks")
        for _ in range(20):
            assert client.get("/api/v1/tasks").status_code == 200
        # nginx looks at no health: the service that is not ready answers what it can.
        assert (asked(two, "/api/v1/tasks") > before) == (kind == "nginx")
        # Nobody is ready: reads go on.
        read_only(first)
        wait_until(lambda: client.get("/api/v1/health/ready").status_code == 503, "nobody is ready")
        for _ in range(20):
            assert client.get("/api/v1/tasks").status_code == 200
        for sql in (first, second):
            sql.execute(f"ALTER DATABASE {sql.database} RESET default_transaction_read_only")
            terminate(sql)
        wait_until(lambda: client.post("/api/v1/tasks", json={"title": "again"}).status_code == 201, "writes go on")


def test_nobody_meets_the_end_of_a_resting_connection(
    kind: str, start_service: Any, database_url: str, start_proxy: StartProxy, figure: Callable[[str], None]
) -> None:
    """With a tenth of the times of both sides: 2 s for the service, 1.5 s for nginx. HAProxy keeps none."""
    service = start_service(database_url, GUNICORN_CMD_ARGS="--keep-alive 2")
    short = {"nginx": {"keepalive_timeout 15s": "keepalive_timeout 1500ms"}, "haproxy": {}}
    proxy = start_proxy(kind, service.port, service.port, changes=short[kind])
    seen: Counter[str] = Counter()
    answered = 0

    def work(client: Client, number: int) -> None:
        nonlocal answered
        assert client.create("after a rest").status in (201, 503)
        answered += 1
        time.sleep(random.uniform(1.9, 2.1))

    with tls_crowd(proxy.port, 20, lambda: Careful(proxy.port, proxy.tls, seen), work):
        wait_until(lambda: answered >= 200, "each client has rested ten times", seconds=90)
    figure(f"{answered} writes after rests of about 2 s: {dict(seen) or 'none failed'}")
    assert not seen


def both_serve(client: httpx.Client, one: Losing, two: Losing) -> None:
    """Return when the proxy takes neither for failed."""
    before = one.passed, two.passed

    def served() -> bool:
        client.get("/api/v1/tasks", headers={"X-Request-Id": SEEN})
        return one.passed > before[0] and two.passed > before[1]

    wait_until(served, "both get requests")


def begin_again(service: Service) -> None:
    """Start it once more, at the same port."""
    with service._log.open("wb") as log:
        service.process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            env=service.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(lambda: "taskapi is ready" in service.log, "it is there again", seconds=START)


def read_only(sql: Sql) -> None:
    """From now on, the service's database takes no writes."""
    sql.execute(f"ALTER DATABASE {sql.database} SET default_transaction_read_only = on")
    terminate(sql)


def asked(service: Service, path: str) -> int:
    """How many requests for the path the service has in its log."""
    return service.log.count(f" {path} ")
