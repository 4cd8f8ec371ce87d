"""A day in ten minutes: load, followers, and all that happens to a service in production, one after the other."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.faults.test_followers import end_of
from tests.soak.audience import LATE, Audience
from tests.soak.callers import PATIENCE, Notes
from tests.soak.faults import Faults
from tests.soak.traffic import CLIENTS, Traffic
from tests.soak.watch import Growth, Watch
from tests.support.folders import short_folder
from tests.support.load import Client
from tests.support.migrating import copy_code, run
from tests.support.pair import Pair
from tests.support.service import Service
from tests.support.sql import Sql

CONNECTIONS = 20
DEADLINE = 30
"""REQUEST_DEADLINE, of which this is the default."""

SETTINGS = {"DB_CONNECTIONS": str(CONNECTIONS), "REQUEST_DEADLINE": str(DEADLINE), "METRICS": "true"}

AVAILABLE = 0.999
FLAT = 0.05
FOLLOWERS = 1000
SAMPLES = 5
"""Of the connections, a second, at least; while a server is down, it has none."""


@dataclass(frozen=True)
class Event:
    """Something that happened, and when, as a time.monotonic()."""

    what: str
    began: float
    ended: float


@dataclass(frozen=True)
class Goal:
    """What is promised, what was measured, and whether that keeps the promise; None: there was no time to see."""

    what: str
    promised: str
    measured: str
    is_kept: bool | None


def test_a_day(is_short: bool, tables: list[str], tmp_path: Path) -> None:
    with ExitStack() as stack:
        pair = Pair(stack.enter_context(short_folder()))
        stack.callback(pair.stop)
        pair.start()
        servers = [pair.primary.embedded.url, pair.standby.embedded.url]
        code = copy_code(tmp_path)
        service = Service({"DATABASE_URL": pair.url, **SETTINGS}, folder=tmp_path, code=code)
        stack.callback(service.kill)
        traffic = Traffic(service.port)
        with Client(service.port) as client:
            audience = Audience(service.port, end_of(client), *((40, 10.0) if is_short else (200, 100.0)))
        watch = Watch(service, servers)
        with watch, audience:
            saturation = traffic.saturate(32, 4 if is_short else 15)
            rate = saturation.rate / 2
            say(f"half of saturation: {rate:.0f} operations a second")
            notes = traffic.notes = Notes()
            began = time.monotonic()
            with traffic.arriving(rate):
                events = list(happen(Faults(pair, service, code, traffic), began, is_short=is_short))
            took = time.monotonic() - began
            with Sql(pair.primary.embedded.url) as sql:
                audience.wait_for_all(sql)
        with Sql(pair.primary.embedded.url) as sql:
            traffic.ledger.check(sql)
            behind = audience.check(sql)
        reconciled = run("taskapi.reconcile", url=pair.primary.embedded.url)
        log = service.log
    answers, changes = traffic.ledger.answers, sum(len(stay.seen) for stay in audience.stays)
    stale = [what for what in notes.own if what]
    goals = [
        Goal(
            "writes that were acknowledged",
            "0 lost, 0 doubled; replay equals the tasks",
            f"0 and 0 of {answers['acknowledged']:,}; equal",
            is_kept=True,
        ),
        Goal(
            'answers "nothing was written" to a request that wrote',
            "0",
            f"0 of {answers['refused']}",
            is_kept=True,
        ),
        Goal(
            "reads of a client's own task that do not show its last acknowledged write",
            "0",
            f"{len(stale)} of {len(notes.own):,}",
            bool(notes.own) and not stale,
        ),
        Goal("`python -m taskapi.reconcile`", "0", f"{reconciled.returncode}", reconciled.returncode == 0),
        *available(notes),
        slowest(notes),
        connections(watch, events, servers, took),
        memory(watch.growths(), is_short=is_short),
        Goal(
            "followers that came and went",
            f"{FOLLOWERS:,}; each change once, and again only where a stream ended before its cursor",
            f"{audience.went:,}, up to {audience.most} at once, with {changes:,} changes, and {audience.again:,} again;"
            f" {audience.ended} streams ended by the service, {audience.refused} refused,"
            f" {audience.gone} told to start over (410)",
            not audience.gone and (is_short or audience.went >= FOLLOWERS),
        ),
        Goal("the longest that a follower was behind", f"{LATE:.0f} s", f"{behind:.1f} s", behind <= LATE),
        Goal("tracebacks in the log", "0", str(log.count("Traceback")), "Traceback" not in log),
    ]
    tables += [
        f"{took:.0f} s at {rate:.0f} operations a second, half of saturation; {CLIENTS} clients.",
        f"At saturation, {saturation.busy:.0%} of the machine's cores were busy: {saturation.clients:.0%} with clients"
        " and followers, the rest with the service and its databases.",
        "",
        *table_of_goals(goals),
        "",
        *table_of_events(events, notes, began),
    ]
    missed = [goal for goal in goals if goal.is_kept is False]
    assert not missed, f"{missed}\n{stale[:5]}\n{reconciled.stdout}{reconciled.stderr}\n{log[-3000:]}"


def happen(faults: Faults, began: float, *, is_short: bool) -> Iterator[Event]:
    """Let it happen, each at its second; yield what has happened."""
    day: list[tuple[float, str, Callable[[], None]]] = [
        (60, "a deploy", faults.deploy),
        (90, "a deploy with a migration", faults.migrate),
        (130, "a failover: the primary is demoted", faults.demote),
        (150, "a new standby joins", faults.complete),
        (180, "a suspend without requests", faults.suspend_quiet),
        (200, "a suspend without requests", faults.suspend_quiet),
        (220, "a suspend under load", faults.suspend),
        (240, "a slow disk", lambda: faults.slow_disk(3 if is_short else 30)),
        (300, "a failover: the primary is killed", faults.kill),
        (330, "a new standby joins", faults.complete),
        (370, "a worker is killed", faults.kill_worker),
        (600, "the end", lambda: None),
    ]
    for second, what, fault in day:
        time.sleep(1.5 if is_short else max(0.0, began + second - time.monotonic()))
        say(what)
        start = time.monotonic()
        fault()
        yield Event(what, start, time.monotonic())


def available(notes: Notes) -> Iterator[Goal]:
    """Of the requests and, since a client repeats what was refused, of what clients wanted."""
    bad = [request for request in notes.requests if request.status == 0 or request.status >= 500]
    broken = sum(request.status == 0 for request in bad)
    share = 1 - len(bad) / len(notes.requests)
    text = f"{percent(share)} of {len(notes.requests):,}: {len(bad) - broken} were 503, {broken} broken"
    yield Goal("requests that were answered, and not with 5xx", percent(AVAILABLE), text, share >= AVAILABLE)
    promised = f"{percent(AVAILABLE)} within {PATIENCE:.0f} s"
    for name, mine in {
        "reads and writes with keys, repeated until they succeed": [
            one for one in notes.operations if one.kind != "write"
        ],
        "the same, and writes without keys, which are repeated only where nothing was written": notes.operations,
    }.items():
        failed = sum(not one.succeeded for one in mine)
        share = 1 - failed / len(mine)
        text = (
            f"{percent(share)} of {len(mine):,}: {failed} did not; the slowest {max(one.seconds for one in mine):.1f} s"
        )
        yield Goal(name, promised, text, share >= AVAILABLE)


def slowest(notes: Notes) -> Goal:
    seconds = sorted(request.seconds for request in notes.requests)
    middle, most = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.999)]
    text = f"{seconds[-1]:.1f} s; the median {middle * 1000:.0f} ms, 99.9 % within {most:.2f} s"
    return Goal("the slowest answer", f"{DEADLINE} s (REQUEST_DEADLINE)", text, seconds[-1] <= DEADLINE)


def connections(watch: Watch, events: list[Event], servers: list[str], took: float) -> Goal:
    migrations = [(event.began, event.ended) for event in events if "migration" in event.what]
    inside: list[int] = []
    outside: list[int] = []
    for url in servers:
        for moment, count in watch.connections[url]:
            in_migration = any(begin <= moment <= end for begin, end in migrations)
            (inside if in_migration else outside).append(count)
    return Goal(
        "connections to each server, in each sample",
        f"{CONNECTIONS} (DB_CONNECTIONS), and 2 more in a migration",
        f"at most {max(outside)} in {len(outside):,} samples; {max(inside)} in the migration",
        max(outside) <= CONNECTIONS and max(inside) <= CONNECTIONS + 2 and len(outside) > SAMPLES * took,
    )


def memory(growths: list[Growth], *, is_short: bool) -> Goal:
    texts = [
        f"{one.name}, {one.seconds:.0f} s: {one.settled / 2**20:.1f} to {one.last / 2**20:.1f} MiB ({one.share:+.1%})"
        for one in growths
    ]
    return Goal(
        "growth of a process's memory after its first minute",
        f"{FLAT * 100:.0f} %",
        "; ".join(texts) or "no process lived for three minutes",
        None if is_short else bool(growths) and max(one.share for one in growths) <= FLAT,
    )


def table_of_goals(goals: list[Goal]) -> Iterator[str]:
    yield "| | goal | measured |"
    yield "|---|---|---|"
    for goal in goals:
        verdict = {True: "", False: " **MISSED**", None: " (not judged)"}[goal.is_kept]
        yield f"| {goal.what} | {goal.promised} | {goal.measured}{verdict} |"


def table_of_events(events: list[Event], notes: Notes, began: float) -> Iterator[str]:
    """Each event, and what clients saw from its begin to the next one's."""
    yield "| at | what | took, s | longest time without a write, s | slowest answer, s | 503 | broken |"
    yield "|---|---|---|---|---|---|---|"
    ends = [*(event.began for event in events[1:]), max(request.ended for request in notes.requests)]
    for event, end in zip(events, ends, strict=True):
        seen = sorted((one for one in notes.requests if event.began <= one.ended <= end), key=lambda one: one.ended)
        writes = [event.began, *(one.ended for one in seen if one.is_write and 0 < one.status < 300), end]
        gap = max(after - moment for moment, after in pairwise(writes))
        answers = max((one.seconds for one in seen), default=0.0)
        refused, broken = (sum(one.status == status for one in seen) for status in (503, 0))
        times = f"{event.ended - event.began:.1f} | {gap:.1f} | {answers:.1f}"
        yield f"| {event.began - began:.0f} s | {event.what} | {times} | {refused} | {broken} |"


def percent(share: float) -> str:
    return f"{share * 100:.3f} %"


def say(text: str) -> None:
    """Tell at once what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.__stderr__, flush=True)
