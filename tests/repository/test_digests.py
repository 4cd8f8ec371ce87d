"""The digests of requests with a key: those that were stored once are those of the same requests for good."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
import pytest

from taskapi.errors import IdempotencyKeyReused
from taskapi.mcp.arguments import CreateTasks
from taskapi.repository import Repository
from taskapi.repository.base import Written
from tests.support.sql import Sql

ONE, OTHER = UUID("3b241101-e2bb-4255-8caf-4136c566a962"), UUID("11111111-2222-4333-8444-555555555555")

NEW = CreateTasks().load({"tasks": [{"description": "Two", "title": "a"}, {"title": "b"}]})["tasks"]

Do = Callable[..., Written]

REQUESTS: dict[str, tuple[Do, dict[str, Any], str]] = {
    "create": (
        Repository.create_task,
        {"title": "Buy milk", "description": None},
        "dd015c975cdf4e878aea91d8f3959ba4850bc090444606cf19e449bbc05edacf",
    ),
    "create with a description": (
        Repository.create_task,
        {"title": "Größe 🎉", "description": "Two litres\n"},
        "f83acb34e119c97f9f38783d163d2398646c020b49e50712ebe3fddb9668908a",
    ),
    "update the title": (
        Repository.update_task,
        {"task_id": ONE, "changes": {"title": "Buy milk"}},
        "5fae1005060b022f70fb4eca3eacb1f370e5f9ece7b1e1182f81775ee1c201ab",
    ),
    "clear the description": (
        Repository.update_task,
        {"task_id": ONE, "changes": {"description": None}},
        "d73c697cc18ad6dad4e26ac39212848c039e2c8e6c0717f8780a2cf382047b2f",
    ),
    "update both": (
        Repository.update_task,
        {"task_id": ONE, "changes": {"title": "Buy milk", "description": "Two"}},
        "dbf3b7392f5205aebd3313c8a5f0dba59cc35fb479b362035d267eb566687a3f",
    ),
    "complete": (
        Repository.set_task_completed,
        {"task_id": ONE, "is_completed": True},
        "97c81816248106b4c20755daa25e8c9134245efd3cf39a4f7c5cbf35f698dcb1",
    ),
    "reopen": (
        Repository.set_task_completed,
        {"task_id": ONE, "is_completed": False},
        "cf9f8ef9addcf8baeec7e59c38ce4fe2d4ce0c173e5f1328ab1d1538f18a377b",
    ),
    "delete": (
        Repository.delete_task,
        {"task_id": ONE},
        "d444013ef54eca95c64f62a444e7437d7f02e9148c2d85011ee843f7c9cc7def",
    ),
    "create many": (
        Repository.create_tasks,
        {"tasks": NEW},
        "af3aaaa508b6972dc695e6f2f7a31d34d482baac7efa4ece11d03637a94f7eb6",
    ),
    "complete many": (
        Repository.set_tasks_completed,
        {"task_ids": [ONE, OTHER], "is_completed": True},
        "a95c937b6b73e4fd6d2c0d1a5f2a926945e94dfffdc7f07e0d5037ddf2f8280b",
    ),
    "reopen many": (
        Repository.set_tasks_completed,
        {"task_ids": [ONE, OTHER], "is_completed": False},
        "375f069da59eec8b06ddd70d15b20f14dc4829da3b0f051767c52eadc51bf3b3",
    ),
    "delete many": (
        Repository.delete_tasks,
        {"task_ids": [OTHER, ONE]},
        "a07a76cae666140f39d39c310776b89128776e508066dcf44793737d382410b4",
    ),
}
"""Every kind of request, and what the first release stored for it. These never change."""


@pytest.mark.parametrize(("do", "asked", "digest"), REQUESTS.values(), ids=REQUESTS)
def test_what_was_stored_is_recognized_and_nothing_else(
    do: Do, asked: dict[str, Any], digest: str, shared_repository: Repository, shared_sql: Sql
) -> None:
    shared_sql.execute(
        "INSERT INTO tasks (title, created_at, updated_at) VALUES ('x', now(), now());"
        " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot, idempotency_key,"
        " request_digest) SELECT id, 'CREATED', '', created_at, 1, '{\"title\": \"kept\"}', %(digest)s,"
        " decode(%(digest)s, 'hex') FROM tasks WHERE id NOT IN (SELECT task_id FROM task_history)",
        {"digest": digest},
    )
    answer = do(shared_repository, **asked, idempotency_key=digest)
    assert answer.replayed
    assert b'"title":"kept"' in answer.task
    for do_other, what, _ in REQUESTS.values():
        if what is not asked:
            with pytest.raises(IdempotencyKeyReused):
                do_other(shared_repository, **what, idempotency_key=digest)


def test_what_a_statement_needs_besides_does_not_count(shared_repository: Repository, shared_sql: Sql) -> None:
    """A parameter that a statement gets later leaves the keys of before what they were."""
    asked = {"title": "Buy milk", "description": None}
    first = shared_repository._write("create_task", "create_task", asked, "a key", task=orjson.dumps(asked).decode())
    again = shared_repository._write(
        "create_task", "create_task", asked, "a key", task=orjson.dumps(asked).decode(), later="more"
    )
    assert again == Written(first.task, replayed=True)
