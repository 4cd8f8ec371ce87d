"""REQUEST_DEADLINE is that of the whole request: all runs of a write together, and the time that its body took."""

import threading
import time
from io import RawIOBase

import pytest

from taskapi.app import create_app
from taskapi.errors import RolledBack
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.ledger import NOTHING
from tests.support.sql import Sql
from tests.support.tasks import id_of


@pytest.mark.alone
def test_all_runs_of_a_write_together(database_url: str, new_repository: NewRepository, sql: Sql) -> None:
    """Others change the task while each run waits for it, so that a write with a key has to look again."""
    seconds, held = 2.0, 0.35
    repository = new_repository(database_url, request_deadline=seconds)
    task_id = id_of(repository.create_task(title="contended", description=None))
    ending, locked = threading.Event(), threading.Event()

    def change() -> None:
        with Sql(database_url) as other:
            while not ending.is_set():
                with other.transaction():
                    other.execute(
                        "UPDATE tasks SET updated_at = clock_timestamp(), version = version + 1;"
                        " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
                        " SELECT id, 'UPDATED', '', updated_at, version, to_jsonb(answer(tasks)) FROM tasks"
                    )
                    locked.set()
                    ending.wait(held)

    others = [threading.Thread(target=change) for _ in range(2)]
    for thread in others:
        thread.start()
    locked.wait()
    started = time.monotonic()
    with pytest.raises(RolledBack, match=NOTHING):
        repository.set_task_completed(task_id=task_id, is_completed=False, idempotency_key="key")
    took = time.monotonic() - started
    ending.set()
    for thread in others:
        thread.join()
    assert held < took < seconds + 0.4
    assert sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = 'key'") == 0


class SlowBody(RawIOBase):
    """A body that comes when the request's time is over."""

    def __init__(self, text: bytes, seconds: float) -> None:
        self._rest = text
        self._seconds = seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        time.sleep(self._seconds)
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def test_the_time_that_the_body_takes(database_url: str, sql: Sql) -> None:
    seconds = 0.5
    client = create_app(Settings(database_url=database_url, request_deadline=seconds)).test_client()
    body = b'{"title": "late"}'
    answer = client.post(
        "/api/v1/tasks",
        content_type="application/json",
        environ_overrides={"wsgi.input": SlowBody(body, seconds), "CONTENT_LENGTH": str(len(body))},
    )
    assert answer.status_code == 503
    assert NOTHING in answer.json["error"]  # type: ignore[index]
    assert sql.value("SELECT count(*) FROM tasks") == 0
    assert client.post("/api/v1/tasks", json={"title": "in time"}).status_code == 201
