"""Many writers at one task: each change has one entry, versions have no gap, and the history replays to the task."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.load import Client
from tests.support.replay import assert_replay_equals_tasks
from tests.support.service import Service
from tests.support.sql import Sql

THREADS, WRITES = 32, 100

POPUPS = {"PUT": "TASK_UPDATED", "complete": "TASK_COMPLETED", "incomplete": "TASK_INCOMPLETE"}


def test_thirty_two_writers_at_one_task(start_shared: Callable[..., Service]) -> None:
    service = start_shared()
    with Client(service.port) as client:
        created = client.create("One task").data

    def write(thread: int) -> list[dict[str, Any]]:
        """The tasks of WRITES answers. Half of the writes always change something, the others if nobody was faster."""
        tasks = []
        with Client(service.port) as client:
            for number in range(WRITES):
                what = ("PUT", "complete", "PUT", "incomplete")[number % 4]
                path = f"/tasks/{created['id']}"
                if what == "PUT":
                    body = {"title": f"Write {number} of {thread}", "description": str(number)}
                    answer = client.request("PUT", path, body)
                else:
                    answer = client.request("PATCH", f"{path}/{what}")
                assert answer.status == 200, answer.body
                assert answer.envelope["popup"] == POPUPS[what]
                if what == "PUT":
                    assert {name: answer.data[name] for name in body} == body
                else:
                    assert answer.data["is_completed"] is (what == "complete")
                tasks.append(answer.data)
        return tasks

    with ThreadPoolExecutor(THREADS) as threads:
        answered = [task for tasks in threads.map(write, range(THREADS)) for task in tasks]
    assert len(answered) == THREADS * WRITES

    with Sql(service.database_url) as sql:
        entries = sql.rows("SELECT version, action_type, snapshot FROM task_history ORDER BY version")
        assert_replay_equals_tasks(sql)
    # Every change has moved updated_at, so that each version of the task is known by it.
    versions = {snapshot["updated_at"]: snapshot for _, _, snapshot in entries}
    assert [version for version, _, _ in entries] == list(range(1, len(versions) + 1))
    assert {task["updated_at"] for task in answered} | {created["updated_at"]} == set(versions)
    assert all(versions[task["updated_at"]] == task for task in answered)
    actions = Counter(action for _, action, _ in entries)
    assert actions["CREATED"] == 1
    assert actions["UPDATED"] == THREADS * WRITES // 2
    assert actions["COMPLETED"] - actions["INCOMPLETED"] in (0, 1)
    assert "Traceback" not in service.log
