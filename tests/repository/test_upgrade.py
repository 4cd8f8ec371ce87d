"""What an older version wrote goes on working after an upgrade: its tasks, its entries, and its idempotency keys."""

from uuid import UUID

import alembic.command
import pytest
from alembic.config import Config

from taskapi.errors import StatementFailed
from taskapi.migrations import prepare_schema
from taskapi.places import ROOT
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.replay import FIELDS, assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import task_of, tasks_of

INVISIBLE = "3b241101-e2bb-4255-8caf-4136c566a962"

WRITTEN_BEFORE = """
INSERT INTO tasks (id, title, created_at, updated_at)
VALUES (%(id)s, E'\\u200B', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');
INSERT INTO task_history (
    task_id, action_type, description, timestamp, version, snapshot, idempotency_key, request_digest
)
SELECT
    id, 'CREATED', 'title: ''' || title || '''', updated_at, 1,
    jsonb_build_object(
        'id', id, 'title', title, 'description', description, 'is_completed', is_completed,
        'created_at', '2026-01-01T00:00:00.000000Z', 'updated_at', '2026-01-01T00:00:00.000000Z', 'completed_at', NULL
    ),
    'key', %(digest)s
FROM tasks
"""


@pytest.fixture
def upgraded(empty_database_url: str, new_repository: NewRepository) -> Repository:
    """A repository on a database in which the first version had written a title that shows nothing, with a key."""
    settings = Settings(database_url=empty_database_url)
    alembic.command.upgrade(Config(ROOT / "alembic.ini", attributes={"settings": settings}), "0001")
    # What the first version's repository made of create_task(title="\u200b", description=None).
    digest = "\\x8dd5fff9814beff2612e8eb594960981908607062a8201e25dfe1dc179e900be"
    with Sql(empty_database_url) as sql, sql.transaction():
        sql.execute(WRITTEN_BEFORE, {"id": INVISIBLE, "digest": digest})
    prepare_schema(settings)
    return new_repository(empty_database_url)


def test_an_old_answer_is_given_again_with_its_fields_in_order(upgraded: Repository, empty_database_url: str) -> None:
    replayed = upgraded.create_task(title="\u200b", description=None, idempotency_key="key")
    assert replayed.replayed
    assert replayed.task == upgraded.get_task(task_id=UUID(INVISIBLE)).task
    assert list(task_of(replayed)) == list(FIELDS)


def test_a_title_that_shows_nothing_stays_and_hinders_nothing(upgraded: Repository, empty_database_url: str) -> None:
    task_id = UUID(INVISIBLE)
    assert tasks_of(upgraded.list_tasks())[0]["title"] == "\u200b"
    upgraded.update_task(task_id=task_id, changes={"description": "whole"})
    upgraded.set_task_completed(task_id=task_id, is_completed=True)
    upgraded.update_task(task_id=task_id, changes={"title": "\u200b", "description": None})
    with pytest.raises(StatementFailed, match="has no visible character"):
        upgraded.update_task(task_id=task_id, changes={"title": "\u2060"})
    upgraded.update_task(task_id=task_id, changes={"title": "Buy milk"})
    with pytest.raises(StatementFailed, match="has no visible character"):
        upgraded.update_task(task_id=task_id, changes={"title": "\u200b"})
    upgraded.delete_task(task_id=task_id)
    with Sql(empty_database_url) as sql:
        assert_replay_equals_tasks(sql)
