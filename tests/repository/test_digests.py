"""The digests of requests with a key: those that were stored once are those of the same requests for good."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest

from taskapi.errors import IdempotencyKeyReused
from taskapi.mcp.arguments import CreateTasks
from taskapi.repository import Repository
from taskapi.repository.base import NOBODY, Written
from taskapi.repository.bulk import ManyWritten
from taskapi.repository.undo import Chosen, Undone
from tests.support.sql import Sql
from tests.support.tasks import id_of

ONE, OTHER = UUID("3b241101-e2bb-4255-8caf-4136c566a962"), UUID("11111111-2222-4333-8444-555555555555")

NEW = CreateTasks().load({"tasks": [{"description": "Two", "title": "a"}, {"title": "b"}]})["tasks"]

Do = Callable[..., Written | ManyWritten | Undone]

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
    "update many": (
        Repository.update_tasks,
        {"changes": [{"id": ONE, "title": "Buy milk"}, {"description": None, "id": OTHER}]},
        "d11b92e40120a0062b2dd43069c0c02926f69e3e0530bf444fdf867183d17fc9",
    ),
    "update many at their versions": (
        Repository.update_tasks,
        {"changes": [{"id": ONE, "title": "Buy milk"}, {"id": OTHER, "description": None, "version": 2}]},
        "951ab028c18b773e9d147d55aa70bd049fe7133cd1c966a24090cffa28d4ccfe",
    ),
    "complete many at their versions": (
        Repository.set_tasks_completed,
        {"task_ids": [ONE, OTHER], "is_completed": True, "versions": {OTHER: 2, ONE: 1}},
        "7ce8c486add77f295dbd550c02d5c3036d0d41f90c7ba271bef67ca72eb5ae82",
    ),
    "delete many at their versions": (
        Repository.delete_tasks,
        {"task_ids": [OTHER, ONE], "versions": {ONE: 2}},
        "dc2d418b97fdffef9eaadf5d82e4a9ee427049f7e7cf6b4249eb3d70509b5bdb",
    ),
    "undo a change": (
        Repository.undo_change,
        {"task_id": ONE, "version": 2},
        "7179568aca434f7cc4572fd2ef0cf15c6a563c65e056f448e835c0ddda4d732b",
    ),
    "restore": (
        Repository.restore_task,
        {"task_id": ONE},
        "e3d2ec1bf3a85be2486576ae67fd0f137e6048325b42769cfeb70dffadd9399b",
    ),
    "restore a version": (
        Repository.restore_task,
        {"task_id": ONE, "version": 2},
        "8e498a95753bd9f9fe63eaacc60eac46abbfa534b9d53e684fb460b21f5a4041",
    ),
    "undo a change set": (
        Repository.undo,
        {"chosen": Chosen(change_set="run-7")},
        "721f94a47ce1eb9d810c7e3f7b3a209746af0a9566166015441d6acea5e7860c",
    ),
    "undo a request": (
        Repository.undo,
        {"chosen": Chosen(request_id="abc")},
        "d4ed94c073048329bcdef1e7594fc3007a50b68b02056aa420a130c68ca74ee5",
    ),
    "undo what one did, but for conflicts": (
        Repository.undo,
        {"chosen": Chosen(actor="ann", since=datetime(2026, 11, 25, 7, 30, 0, 1, UTC)), "skip_conflicts": True},
        "b32519e7db6ad9beb55a855f9bb754ff1f39e84ca4f1deeab72060ddbd7b90e3",
    ),
}
"""Every kind of request, and what the first release that had it stored for it. These never change."""


def shown(answer: Written | ManyWritten | Undone) -> bytes:
    if isinstance(answer, Undone):
        return answer.changes
    return answer.tasks if isinstance(answer, ManyWritten) else answer.task


@pytest.mark.parametrize(("do", "asked", "digest"), REQUESTS.values(), ids=REQUESTS)
def test_what_was_stored_is_recognized_and_nothing_else(
    do: Do, asked: dict[str, Any], digest: str, shared_repository: Repository, shared_sql: Sql
) -> None:
    with shared_sql.without_triggers():
        shared_sql.execute(
            "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot,"
            " idempotency_key, request_digest) SELECT %(task)s, 'UPDATED', '', now(), count(*) + 2,"
            " '{\"title\": \"kept\"}', %(digest)s, decode(%(digest)s, 'hex') FROM task_history",
            {"digest": digest, "task": str(ONE)},
        )
    answer = do(shared_repository, **asked, idempotency_key=digest)
    assert answer.replayed
    assert b'"title":"kept"' in shown(answer)
    for do_other, what, _ in REQUESTS.values():
        if what is not asked:
            with pytest.raises(IdempotencyKeyReused):
                do_other(shared_repository, **what, idempotency_key=digest)


def test_an_order_of_fields_and_an_empty_choice_of_versions_do_not_count(shared_repository: Repository) -> None:
    """The same values are the same request."""
    task_id = id_of(shared_repository.create_task(title="x", description=None))
    changes = [{"id": task_id, "title": "y", "version": 1}, {"version": 1, "title": "y", "id": task_id}]
    first, again = (shared_repository.update_tasks(changes=[change], idempotency_key="o") for change in changes)
    assert (again.replayed, again.tasks) == (True, first.tasks)
    done = partial(shared_repository.set_tasks_completed, task_ids=[task_id], is_completed=True, idempotency_key="c")
    assert not done().replayed
    assert done(versions={}).replayed


def test_what_a_statement_needs_besides_does_not_count(shared_repository: Repository, shared_sql: Sql) -> None:
    """A parameter that a statement gets later leaves the keys of before what they were."""
    asked = {"title": "Buy milk", "description": None}
    task = orjson.dumps(asked).decode()
    write = partial(
        shared_repository._write, "create_task", "create_task", asked, key="a key", origin=NOBODY, task=task
    )
    _, first = write()
    assert write(later="more") == ("replayed", first)
