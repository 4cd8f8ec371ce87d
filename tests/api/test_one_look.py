"""A task looks the same, byte for byte, in every answer that carries it: one order of fields, one spacing."""

import httpx
import orjson

from tests.support.sql import Sql

ORDER = ["id", "title", "description", "is_completed", "created_at", "updated_at", "completed_at"]


def test_every_answer_shows_a_task_the_same_way(client: httpx.Client, service_sql: Sql) -> None:
    def task_in(answer: httpx.Response) -> bytes:
        """The task in the answer: just as orjson writes it, compact and in its order."""
        task = orjson.loads(answer.content)["data"]
        assert list(task) == ORDER
        text = orjson.dumps(task)
        assert text in answer.content
        return text

    key = {"Idempotency-Key": "one look"}
    body = {"title": 'It\'s "milk" – 1 \\ 2', "description": "Zwei\nLiter 🎉"}
    created = client.post("/tasks", json=body, headers=key)
    path = f"/tasks/{created.json()['data']['id']}"
    first = task_in(created)
    replayed = client.post("/tasks", json=body, headers=key)
    assert replayed.headers["Idempotency-Replayed"] == "true"
    assert replayed.content == created.content
    assert task_in(client.get(path)) == first
    assert first in client.get("/tasks").content
    assert task_in(client.put(path, json=body)) == first, "nothing changed"
    assert task_in(client.patch(f"{path}/incomplete")) == first, "nothing changed"
    for method, place, changes in (("PUT", path, {"description": None}), ("PATCH", f"{path}/complete", None)):
        answer = client.request(method, place, json=changes)
        assert task_in(answer) == task_in(client.get(path))
    assert task_in(client.get(path)) in client.get("/tasks").content


def test_the_function_costs_no_call(service_sql: Sql) -> None:
    """Postgres puts its text in place of the call; with one, a list of 10,000 would take half as long again."""
    plan = service_sql.rows("EXPLAIN (VERBOSE) SELECT row_to_json(answer(tasks)) FROM tasks")
    assert "to_char" in str(plan)
    assert "answer(" not in str(plan)
