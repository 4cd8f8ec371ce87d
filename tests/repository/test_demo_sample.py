"""`make demo`: its sample tasks have a true history, and it says why it cannot run."""

import socket
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg2
import pytest

from examples.react.demo.past import NotEmpty
from examples.react.demo.sample import fill
from taskapi.places import ROOT
from taskapi.reconcile import reconcile
from taskapi.repository import Repository
from taskapi.repository.undo import Chosen
from tests.conftest import StartService
from tests.support.environment import environment_of
from tests.support.replay import assert_replay_equals_tasks
from tests.support.service import free_port
from tests.support.sql import Sql


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


def told(sql: Sql) -> list[tuple[Any, ...]]:
    """The history without ids, in the order in which it was written."""
    return sql.rows(
        "SELECT timestamp, action_type, description, actor, request_id, change_set FROM task_history"
        " ORDER BY transaction_id, timestamp"
    )


def test_it_is_a_true_history_up_to_now(database_url: str, sql: Sql, start_service: StartService) -> None:
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    fill(database_url)
    with closing(psycopg2.connect(database_url)) as connection:
        account = reconcile(connection)
    assert account.faults == []
    assert 350 < account.entries < 600
    assert_replay_equals_tasks(sql)
    times = [row[0] for row in told(sql)]
    assert times == sorted(times)
    assert times[-1] - times[0] > timedelta(weeks=5)
    assert datetime.now(UTC) - timedelta(minutes=30) < times[-1] <= datetime.now(UTC)
    counts = dict(sql.rows("SELECT actor, count(*) FROM task_history GROUP BY actor"))
    assert counts.keys() == {"ann", "ben", "agent-7"}
    assert min(counts["ann"], counts["ben"]) > counts["agent-7"]
    states = dict(sql.rows("SELECT is_completed, count(*) FROM tasks GROUP BY is_completed"))
    assert 30 <= states[False] <= 40
    assert 55 <= states[True] <= 70
    # The clock is Postgres' own again.
    assert sql.value("SELECT clock_timestamp() - now() < interval '1 hour' AND to_regnamespace('past') IS NULL")
    with start_service(database_url).client() as client:
        asked = {"actor": "agent-7", "since": midnight.isoformat(), "dry_run": True, "skip_conflicts": True}
        undo = client.post("/api/v1/undo", json=asked).json()["data"]
        assert (len(undo["changes"]), len(undo["conflicts"])) == (13, 1)
        assert undo["conflicts"][0]["actor"] == "ann"
        created = client.post("/api/v1/tasks", json={"title": "x"}).json()["data"]["created_at"]
        assert datetime.fromisoformat(created) > times[-1]


def test_however_young_the_day_is_there_is_something_to_undo(
    database_url: str, sql: Sql, repository: Repository
) -> None:
    midnight = datetime(2026, 3, 12).astimezone()
    fill(database_url, midnight)
    assert midnight <= told(sql)[-1][0] < midnight + timedelta(seconds=1)
    undone = repository.undo(chosen=Chosen(actor="agent-7", since=midnight), dry_run=True, skip_conflicts=True)
    assert [len(orjson.loads(part)) for part in (undone.changes, undone.conflicts)] == [13, 1]


def test_it_is_the_same_each_time_and_written_once(database_url: str, new_database: Any, sql: Sql) -> None:
    now = datetime(2026, 3, 15, 16).astimezone()
    fill(database_url, now)
    with Sql(other := new_database()) as others:
        fill(other, now)
        assert told(sql) == told(others)
    before = told(sql)
    with pytest.raises(NotEmpty, match="The database has a history already"):
        fill(database_url)
    assert told(sql) == before


def demo(path: Path, **settings: str) -> str:
    """The sentence with which it ends, where it finds these programs."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.react.demo"],
        cwd=ROOT,
        env=environment_of(**settings) | {"PATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def programs(folder: Path, version: str) -> Path:
    for name in ("node", "npm"):
        (folder / name).write_text(f"#!/bin/sh\necho {version}\n")
        (folder / name).chmod(0o755)
    return folder


def test_without_node_it_says_what_to_install(tmp_path: Path) -> None:
    assert demo(tmp_path) == (
        "taskapi: The frontend needs Node.js 20.19 or later and its npm (found: none): install it from"
        " https://nodejs.org. Without it, `make run` still serves the API.\n"
    )
    assert "(found: v18.20.4)" in demo(programs(tmp_path, "v18.20.4"))


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        said = demo(programs(tmp_path, "v22.12.0"), PORT=str(port))
    assert said == (
        f"taskapi: Port {port} is in use. End what listens there, or take another: PORT={port + 1} make demo\n"
    )
    assert "Port 3000 is the frontend's" in demo(tmp_path, PORT="3000")
