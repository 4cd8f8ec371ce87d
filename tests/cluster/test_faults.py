"""The cluster under load, over both routes: whatever happens to the primary, no acknowledged write is lost."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from taskapi.places import ROOT
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Route, Row
from tests.cluster.probe import Probe
from tests.cluster.writes import Entries, Writes, longest_gap
from tests.support.environment import environment_of
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.streams import Faithful
from tests.support.waiting import wait_until

SLACK = 2.0
"""Seconds without an acknowledged write that taskapi may add to the failover itself."""

FROZEN = 25.0
"""Seconds for which a node stands still, at least: longer than the `ttl` of deploy/patroni.yml."""

Heal = Callable[[], object]
"""What a person does when all is well again."""


def switchover(cluster: Cluster, primary: str) -> Heal:
    cluster.switch_over()
    return lambda: None


def kill_postgres(cluster: Cluster, primary: str) -> Heal:
    cluster.nodes[primary].kill_postgres()
    return lambda: None


def kill_node(cluster: Cluster, primary: str) -> Heal:
    cluster.nodes[primary].signal(signal.SIGKILL)
    return cluster.nodes[primary].start


def freeze(cluster: Cluster, primary: str) -> Heal:
    began = time.monotonic()
    cluster.nodes[primary].signal(signal.SIGSTOP)

    def thaw() -> None:
        time.sleep(max(0.0, began + FROZEN - time.monotonic()))
        cluster.nodes[primary].signal(signal.SIGCONT)

    return thaw


def kill_patroni(cluster: Cluster, primary: str) -> Heal:
    cluster.nodes[primary].kill_patroni()
    return cluster.nodes[primary].start_patroni


def read_only(cluster: Cluster, primary: str) -> Heal:
    def set_to(command: str) -> None:
        with Sql(cluster.superuser(primary)) as sql:
            sql.execute(f"ALTER SYSTEM {command}")
            sql.execute("SELECT pg_reload_conf()")

    standby = cluster.standby()
    set_to("SET default_transaction_read_only = on")
    cluster.nodes[primary].ctl("switchover", "taskapi", "--leader", primary, "--candidate", standby, "--force")

    def reset() -> None:
        # It is restarted as a standby.
        cluster.wait_until_whole()
        set_to("RESET default_transaction_read_only")

    return reset


def kill_standby(cluster: Cluster, primary: str) -> Heal:
    standby = cluster.nodes[cluster.standby()]
    standby.signal(signal.SIGKILL)
    return standby.start


def freeze_standby(cluster: Cluster, primary: str) -> Heal:
    return freeze(cluster, cluster.standby())


def kill_both_standbys(cluster: Cluster, primary: str) -> Heal:
    """One node is left, and steps down. Two of three must be there."""
    others = [node for name, node in cluster.nodes.items() if name != primary]
    for node in others:
        node.signal(signal.SIGKILL)
    wait_until(lambda: not cluster.answers_as_primary(primary), "the node that is left has stepped down")
    for node in others:
        node.start()
    return lambda: None


ON_PRIMARY = [switchover, kill_postgres, kill_node, kill_patroni, freeze, read_only]
ON_STANDBY = [kill_standby, freeze_standby, kill_both_standbys]

MAY_STAY = [kill_postgres, *ON_STANDBY]
"""The faults after which the old primary may be the new one."""


@pytest.mark.parametrize("fault", [*ON_PRIMARY, *ON_STANDBY])
def test_nothing_that_was_acknowledged_is_lost(
    cluster: Cluster,
    database: str,
    routes: list[Route],
    table: list[Row],
    *,
    fault: Callable[[Cluster, str], Heal],
    turn: int,
) -> None:
    cluster.wait_until_whole()
    old = cluster.primary()
    with Sql(cluster.superuser(old, "taskapi")) as sql:
        known = history(sql)
    writes = {route.name: Writes(route.service.port) for route in routes}
    followers = {route.name: Faithful(route.service.url, route.cursor) for route in routes}

    def go_on() -> None:
        """Return when each route has had so many writes acknowledged after now."""
        enough = {name: len(of_route.acknowledged) + 60 for name, of_route in writes.items()}
        wait_until(
            lambda: all(len(writes[name].acknowledged) >= number for name, number in enough.items()),
            "writes go on",
            seconds=90,
        )

    try:
        with ExitStack() as stack:
            for name, of_route in writes.items():
                stack.enter_context(of_route.going_on())
                followers[name].start()
            probe = stack.enter_context(Probe())
            for node in cluster.nodes:
                if node != old:
                    probe.look_at(node, cluster.superuser(node))
            go_on()
            began = time.monotonic()
            heal = fault(cluster, old)
            if fault in MAY_STAY:
                probe.look_at(old, cluster.superuser(old))
            try:
                wait_until(lambda: probe.committed, "PostgreSQL takes writes", seconds=90)
                go_on()
            finally:
                heal()
            cluster.wait_until_whole()
            go_on()
            ended = time.monotonic()
    except AssertionError as error:
        for log in (*(node.log for node in cluster.nodes.values()), *(route.service.log for route in routes)):
            error.add_note(log[-5000:])
        raise

    with Sql(cluster.superuser(cluster.primary(), "taskapi")) as sql:
        entries = Entries(sql)
        rows = [
            Row(
                fault.__name__.replace("_", " "),
                turn,
                name,
                of_route.judged_by(entries),
                failover=longest_gap([moment for moment, _ in probe.committed], began, ended),
                gap=longest_gap(of_route.acknowledged, began, ended),
            )
            for name, of_route in writes.items()
        ]
        table += rows
        assert_replay_equals_tasks(sql)
        new = history(sql) - known
    environment = environment_of(DATABASE_URL=database)
    subprocess.run([sys.executable, "-m", "taskapi.reconcile"], cwd=ROOT, env=environment, check=True)
    for route in routes:
        assert_follower_saw(followers[route.name], new, route)
    for row in rows:
        assert (row.verdict.lost, row.verdict.doubled, row.verdict.untrue) == (0, 0, 0), row
        assert row.gap <= row.failover + SLACK, row
    assert {request.fate for of_route in writes.values() for request in of_route.requests} <= {
        "acknowledged",
        "nothing",
        "unknown",
    }


def history(sql: Sql) -> set[str]:
    """The ids of all entries."""
    return {entry for (entry,) in sql.rows("SELECT history_id::text FROM task_history")}


def assert_follower_saw(follower: Faithful, new: set[str], route: Route) -> None:
    """Every new entry, once, and nothing else; where it was refused, only while no server took writes."""
    wait_until(lambda: set(follower.items) >= new, "the follower has seen every entry")
    follower.leave()
    assert set(follower.items) == new
    assert follower.repeated == 0
    assert follower.statuses <= {200, 503}
    route.cursor = follower._cursor
