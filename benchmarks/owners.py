"""What many owners cost: sign-in by JWT and row-level security against an open service; one owner among 10,000."""

import itertools
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg2

from benchmarks.client import Client, fixed_rate, message
from benchmarks.lab import Postgres, Server, serve, serve_taskapi, tree
from benchmarks.report import Report
from taskapi.callers import OWNER
from taskapi.database.connection import PLANNING
from taskapi.database.database_url import url_as
from taskapi.database.queries import load
from taskapi.migrations import connect
from taskapi.places import ROOT
from taskapi.role import make_role
from taskapi.settings import Settings
from taskapi.token import LIFETIME, make_token
from tests.support.service import free_port

BEFORE = "cade104"
"""The commit before sign-in and row-level security, whose open service is compared with, too."""

ROLE = "taskapi_bench"
"""The role that row-level security holds for."""

SETTINGS = Settings(jwt_secret="a secret for benchmarks, which keeps nothing safe")
"""What the services that take JWTs are started with, and what makes the tokens: HS256."""

FILL = """
    SET session_replication_role = replica;  -- the triggers would look at each row
    INSERT INTO tasks (owner, id, title, description, is_completed, created_at, updated_at, completed_at)
    SELECT coalesce(%(owner)s, 'user-' || lpad((n %% %(owners)s)::text, 5, '0')), md5(n::text)::uuid,
           'Task number ' || n, 'What there is to do, in a sentence of usual length.', n %% 3 = 0,
           moment, moment, CASE WHEN n %% 3 = 0 THEN moment END
    FROM (
        SELECT n, %(now)s::timestamptz - (%(owners)s * %(each)s - n) * interval '10 seconds' AS moment
        FROM generate_series(%(first)s, %(owners)s * %(each)s - 1, %(step)s) AS n
    ) AS numbers;
    INSERT INTO task_history (owner, task_id, action_type, description, timestamp, version, snapshot)
    SELECT owner, id, 'CREATED', 'title: ''' || title || '''', created_at, 1, to_jsonb(answer(tasks))
    FROM tasks ORDER BY created_at;
    RESET session_replication_role;
"""
"""Tasks with an entry each. The owners take turns, as they would in life: one owner's rows are not side by side."""

TASKS = 10_000
"""Of the one owner of the databases that sign-in is measured on."""
STARTS = 4
"""Times that all services are started: two processes of the same code differ by some per cent as long as they run."""
ROUNDS = 15
"""After each of them."""
COUNT = 250
"""Requests of one batch for processor time, from so many connections at once:"""
CLIENTS = 16
SINGLE = 40
"""Requests of one batch for latency, one after the other."""
ALL_AT_ONCE = 2.0**20
"""How much faster than they can be answered all requests of a batch are due. A power of two divides exactly."""

OPERATIONS = ("get", "create")
OPEN, SIGNED_IN, FIRST, OPEN_BEFORE = "open", "signed in", "with a token of its own", "open, before"

OWNERS, EACH = 10_000, 100
"""Owners, and the tasks that each of them has."""
READ_ROUNDS = 20
READ_BATCH = 20

READS = {
    "page of 100 of the list": "tasks?limit=100",
    "whole list": "tasks",
    "history, first page": "history",
    "history by action": "history?action_type=CREATED",
    "statistics": "stats/weekly",
}

NEW = {"title": "Task", "description": "As usual."}


def run(report: Report, postgres: Postgres, folder: Path, *, quick: bool) -> None:
    """Compare a service where callers sign in with an open one, then one owner among many with one alone."""
    starts, rounds = (1, 2) if quick else (STARTS, ROUNDS)
    _report_sign_in(report, _sign_in(postgres, folder, starts=starts, rounds=rounds))
    owners = OWNERS // 20 if quick else OWNERS
    _report_owners(report, _one_of_many(postgres, owners, rounds=2 if quick else READ_ROUNDS), owners)


def _name(number: int) -> str:
    """The owner with this number: see FILL."""
    return f"user-{number:05}"


def _database(
    postgres: Postgres,
    name: str,
    *,
    owners: int,
    each: int,
    now: str,
    only: int | None = None,
    owner: str | None = None,
    code: Path = ROOT,
) -> str:
    """Make a database with so many owners of so many tasks each, or with the tasks of one of them, of which `only` is
    the number; `owner` is another name for all. Their totals are folded. Return its URL."""
    url = postgres.migrated(name, code)
    first, step = (0, 1) if only is None else (only, owners)
    postgres.run(FILL, name, owners=owners, each=each, now=now, owner=owner, first=first, step=step)
    fold = load(code / "sql")["fold_totals"]
    # Otherwise the first plan, which is kept, would know nothing of the tables.
    postgres.run("ANALYZE", name)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(PLANNING.replace("SET LOCAL", "SET") + fold.prepare)
        for number in range(owners) if only is None else [only]:
            cursor.execute(fold.execute, {"owner": owner or _name(number)})
    postgres.run("VACUUM ANALYZE", name)
    return url


def _secured(url: str) -> str:
    """Turn row-level security on; return the URL for a role that it holds for."""
    settings = Settings(database_url=url)
    with closing(connect(settings)) as connection:
        make_role(connection, ROLE)
    # Every client of the benchmark's server is trusted.
    return url_as(settings, ROLE)


@dataclass(frozen=True)
class Variant:
    """A service, and how it is asked: `headers` makes those of one more request."""

    server: Server
    client: Client
    ids: list[str]
    headers: Callable[[], dict[str, str]]

    def message(self, operation: str, number: int) -> tuple[str, str, object]:
        """Method, path and body of a request."""
        if operation == "create":
            return "POST", "/api/v1/tasks", NEW
        return "GET", f"/api/v1/tasks/{self.ids[number % len(self.ids)]}", None


@dataclass(frozen=True)
class Cost:
    """Microseconds of processor time for a request, and milliseconds that one takes."""

    service: float
    postgres: float
    latency: float

    @property
    def both(self) -> float:
        return self.service + self.postgres


Costs = dict[tuple[str, str], list[Cost]]
"""Of each operation and each variant, those of each round."""


def _sign_in(postgres: Postgres, folder: Path, *, starts: int, rounds: int) -> Costs:
    """Ask all services in turn, in batches; then start all of them anew, and again."""
    now = str(postgres.run("SELECT now()")[0][0])
    filled = partial(_database, postgres, owners=1, each=TASKS, now=now)
    urls = {OPEN: filled("open_service", owner=OWNER), SIGNED_IN: _secured(filled("signed_in"))}
    code = _code_of(BEFORE, folder)
    if code:
        urls[OPEN_BEFORE] = filled("open_before", owner=OWNER, code=code)
    postgres.run("CHECKPOINT")
    ids = [str(row[0]) for row in postgres.run("SELECT id FROM tasks", "open_service")]
    random.Random(1).shuffle(ids)
    costs: Costs = {}
    batches = itertools.count()
    for _ in range(starts):
        with ExitStack() as stack:
            variants = _variants(stack, urls, code, ids)
            for number in range(rounds + 1):  # the first one warms up
                batch = next(batches)
                for operation in OPERATIONS:
                    # Back and forth, so that none has the better place.
                    for name, one in list(variants.items())[:: -1 if number % 2 else 1]:
                        if (operation, name) == ("create", FIRST):
                            continue  # its database would grow faster than the others
                        cost = _cost(postgres, one, operation, batch)
                        if number:
                            costs.setdefault((operation, name), []).append(cost)
    return costs


def _variants(stack: ExitStack, urls: Mapping[str, str], code: Path | None, ids: list[str]) -> dict[str, Variant]:
    """Start the services, `code`'s included."""

    def variant(service: AbstractContextManager[Server], headers: Callable[[], dict[str, str]]) -> Variant:
        server = stack.enter_context(service)
        return Variant(server, stack.enter_context(Client(server.url)), ids, headers)

    token = _bearer(0)
    lifetimes = itertools.count(LIFETIME)
    variants = {
        OPEN: variant(serve_taskapi(urls[OPEN], name=OPEN), dict),
        SIGNED_IN: variant(_with_tokens(urls[SIGNED_IN], SIGNED_IN), lambda: token),
        # Each is another token of the same owner, since it expires at another second. It has a service of its own,
        # which remembers them all.
        FIRST: variant(_with_tokens(urls[SIGNED_IN], FIRST), lambda: _bearer(0, next(lifetimes))),
    }
    if code:
        variants[OPEN_BEFORE] = variant(_serve_before(code, urls[OPEN_BEFORE]), dict)
    return variants


def _with_tokens(url: str, name: str) -> AbstractContextManager[Server]:
    return serve_taskapi(url, name=name, JWT_SECRET=str(SETTINGS.jwt_secret))


def _cost(postgres: Postgres, variant: Variant, operation: str, number: int) -> Cost:
    """What a batch of requests costs, for one of them."""
    # All are written before: the service waits for nobody.
    batch = [
        message(*variant.message(operation, number * COUNT + place), **variant.headers()) for place in range(COUNT)
    ]
    clocks = variant.server.process.pid, postgres.pid
    before = [_nanoseconds(pid) for pid in clocks]
    done = fixed_rate(
        variant.server.url,
        iter(batch).__next__,
        rate=COUNT * ALL_AT_ONCE,
        connections=CLIENTS,
        seconds=1 / ALL_AT_ONCE,
    )
    service, in_postgres = (
        (_nanoseconds(pid) - began) / COUNT / 1000 for pid, began in zip(clocks, before, strict=True)
    )
    if done.errors:
        raise RuntimeError(f"{operation}: {done.errors} errors")
    latencies = []
    for place in range(SINGLE):
        variant.client.request(*variant.message(operation, number * SINGLE + place), **variant.headers())
        latencies.append(variant.client.seconds * 1000)
    return Cost(service, in_postgres, statistics.median(latencies))


def _nanoseconds(pid: int) -> int:
    """The time on a processor, until now, of a process and all below it (Documentation/scheduler/sched-stats.rst)."""
    total = 0
    for each in tree(pid):
        with suppress(OSError):
            for thread in Path(f"/proc/{each}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total


def _bearer(owner: int, lifetime: int = LIFETIME) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(SETTINGS, _name(owner), lifetime)}"}


def _code_of(commit: str, folder: Path) -> Path | None:
    """The code of the commit; None where git does not have it."""
    archive = ["git", "archive", commit]
    try:
        packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    code = folder / f"owners-{commit}"
    code.mkdir()
    subprocess.run(["tar", "-x", "-C", str(code)], input=packed, check=True)
    return code


def _serve_before(code: Path, url: str) -> AbstractContextManager[Server]:
    """The service of that code, as lab.py starts today's."""
    port = free_port()
    # With -P, Python does not look into the current folder, which has today's code.
    command = [sys.executable, "-P", "-m", "gunicorn", f"--config={code / 'gunicorn.conf.py'}", f"--chdir={code}"]
    environment = {"PORT": str(port), "DATABASE_URL": url, "APP_ENV": "production", "LOG_LEVEL": "WARNING"}
    return serve(OPEN_BEFORE, [*command, "wsgi:app"], port, {**environment, "PYTHONPATH": str(code)})


def _report_sign_in(report: Report, costs: Costs) -> None:
    report.table(
        f"A request with sign-in by JWT and row-level security, and without: µs of processor time, {CLIENTS} clients;"
        " milliseconds, one client",
        ["operation", "service", "Python", "Postgres", "both", f"÷ {OPEN}", "milliseconds", f"÷ {OPEN}"],
        [
            [
                operation,
                name,
                *(f"{statistics.median(values):.0f}" for values in _columns(of_one)),
                f"{_ratio(of_one, costs[operation, OPEN], _both):.2f}",
                f"{statistics.median(cost.latency for cost in of_one):.2f}",
                f"{_ratio(of_one, costs[operation, OPEN], _latency):.2f}",
            ]
            for operation, name in itertools.product(OPERATIONS, (OPEN_BEFORE, OPEN, SIGNED_IN, FIRST))
            if (of_one := costs.get((operation, name)))
        ],
    )
    figure = "CPU of service and Postgres for a request with sign-in by JWT and row-level security"
    for other, whose in ((OPEN, "of the open service"), (OPEN_BEFORE, f"of the open service of commit {BEFORE}")):
        if ("get", other) in costs:
            ratios = {
                operation: round(_ratio(costs[operation, SIGNED_IN], costs[operation, other], _both), 2)
                for operation in OPERATIONS
            }
            measured = ", ".join(f"{operation} {ratio:.2f}" for operation, ratio in ratios.items())
            report.goal(f"{figure} ÷ that {whose}", "≤ 1.10 each", measured, reached=max(ratios.values()) <= 1.1)
        else:
            report.skip(f"{figure} ÷ that {whose}", "≤ 1.10 each", "needs the git history")


def _columns(costs: list[Cost]) -> list[list[float]]:
    return [[getattr(cost, name) for cost in costs] for name in ("service", "postgres", "both")]


def _both(cost: Cost) -> float:
    return cost.both


def _latency(cost: Cost) -> float:
    return cost.latency


def _ratio(ones: list[Cost], others: list[Cost], value: Callable[[Cost], float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(value(one) / value(other) for one, other in zip(ones, others, strict=True))


Medians = dict[str, dict[str, list[float]]]
"""Of each operation, and on each database, the milliseconds of each round: the median of its requests."""


def _one_of_many(postgres: Postgres, owners: int, *, rounds: int) -> Medians:
    """Ask for what one owner has, among many and alone."""
    now = str(postgres.run("SELECT now()")[0][0])
    filled = partial(_database, postgres, owners=owners, each=EACH, now=now)
    chosen = owners // 2
    urls = {"alone": _secured(filled("one_owner", only=chosen)), "of many": _secured(filled("many_owners"))}
    postgres.run("CHECKPOINT")
    headers = _bearer(chosen)
    medians: Medians = {}
    with ExitStack() as stack:
        clients = {}
        for name, url in urls.items():
            server = stack.enter_context(_with_tokens(url, name))
            clients[name] = stack.enter_context(Client(server.url))
            found = clients[name].request("GET", "/api/v1/tasks", **headers)["data"]
            if len(found) != EACH:
                raise RuntimeError(f"{name}: {len(found)} tasks instead of {EACH}")
        for number in range(rounds + 1):  # the first one warms up
            for operation, path in READS.items():
                for name, client in list(clients.items())[:: -1 if number % 2 else 1]:
                    milliseconds = []
                    for _ in range(READ_BATCH):
                        client.request("GET", f"/api/v1/{path}", **headers)
                        milliseconds.append(client.seconds * 1000)
                    if number:
                        medians.setdefault(operation, {}).setdefault(name, []).append(statistics.median(milliseconds))
    return medians


def _report_owners(report: Report, medians: Medians, owners: int) -> None:
    ratios = {
        operation: round(
            statistics.median(many / alone for many, alone in zip(of_one["of many"], of_one["alone"], strict=True)), 2
        )
        for operation, of_one in medians.items()
    }
    sizes = f"one of {owners:,} owners with {EACH} tasks each"
    report.table(
        f"Milliseconds for a request of {sizes}, and where there is only that one; row-level security holds",
        ["operation", "alone", "of many", "ratio"],
        [
            [
                operation,
                f"{statistics.median(of_one['alone']):.2f}",
                f"{statistics.median(of_one['of many']):.2f}",
                f"{ratios[operation]:.2f}",
            ]
            for operation, of_one in medians.items()
        ],
    )
    report.goal(
        f"milliseconds for a request of {sizes} ÷ where there is only that one",
        "≤ 1.3 each",
        ", ".join(f"{operation} {ratio:.2f}" for operation, ratio in ratios.items()),
        reached=max(ratios.values()) <= 1.3,
    )
