"""Every method of the repository costs one round trip to the database, counted on the wire."""

import inspect
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from taskapi.cursors import Snapshot
from taskapi.database import queries
from taskapi.database.database import Database
from taskapi.days import DAY
from taskapi.deadline import deadline
from taskapi.errors import IdempotencyKeyReused, TaskNotFound
from taskapi.repository import Repository
from taskapi.repository.history import NEAR
from taskapi.repository.undo import Chosen
from taskapi.settings import Settings
from tests.support.folders import short_folder
from tests.support.owners import secured
from tests.support.tasks import id_of
from tests.support.wire import Wire

Do = Callable[[Repository, UUID], object]

METHODS: dict[str, Do] = {
    "history_page": lambda repository, _: repository.history_page(limit=10, offset=0),
    "create_task": lambda repository, _: repository.create_task(title="x", description=None),
    "list_tasks": lambda repository, _: repository.list_tasks(),
    "get_task": lambda repository, task_id: repository.get_task(task_id=task_id),
    "update_task": lambda repository, task_id: repository.update_task(task_id=task_id, changes={"title": "y"}),
    "set_task_completed": lambda repository, task_id: repository.set_task_completed(task_id=task_id, is_completed=True),
    "delete_task": lambda repository, task_id: repository.delete_task(task_id=task_id),
    "create_tasks": lambda repository, _: repository.create_tasks(tasks=[{"title": "x", "description": None}] * 3),
    "update_tasks": lambda repository, task_id: repository.update_tasks(changes=[{"id": task_id, "title": "y"}]),
    "set_tasks_completed": lambda repository, task_id: repository.set_tasks_completed(
        task_ids=[task_id], is_completed=True
    ),
    "delete_tasks": lambda repository, task_id: repository.delete_tasks(task_ids=[task_id]),
    "list_tasks_page": lambda repository, _: repository.list_tasks_page(limit=10),
    "select_history": lambda repository, _: repository.select_history(actor="ann", limit=10),
    "undo_change": lambda repository, task_id: repository.undo_change(task_id=task_id, version=1),
    "undo": lambda repository, task_id: repository.undo(chosen=Chosen(task_id=task_id, version=1)),
    "restore_task": lambda repository, task_id: repository.restore_task(task_id=task_id, version=1),
    "get_task_with_history": lambda repository, task_id: repository.get_task_with_history(task_id=task_id, entries=3),
    "list_history": lambda repository, _: repository.list_history(task_id=None, action_type=None, limit=10, offset=0),
    "list_changes": lambda repository, _: repository.list_changes(after=None, limit=10),
    "owners_with_news": lambda repository, _: repository.owners_with_news({"default": Snapshot(1, 1)}),
    "get_task_as_of": lambda repository, task_id: repository.get_task_as_of(task_id=task_id, as_of=datetime.now(UTC)),
    "list_tasks_as_of": lambda repository, _: repository.list_tasks_as_of(as_of=datetime.now(UTC), limit=10),
    "list_versions": lambda repository, task_id: repository.list_versions(task_id=task_id, after=0, limit=10),
    "daily_stats": lambda repository, _: repository.daily_stats(start=date(2026, 1, 1), bounds=[DAY, 2 * DAY]),
    "weekly_stats": lambda repository, _: repository.weekly_stats(),
    "schema_version": lambda repository, _: repository.schema_version(),
    "check_transactions": lambda repository, _: repository.check_transactions(),
}


def far_list(repository: Repository, _: UUID) -> object:
    """More tasks than are looked at one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taskapi.repository.as_of.WALK", 0)
        return repository.list_tasks_as_of(as_of=datetime.now(UTC), limit=10)


OTHER_WAYS: dict[str, Do] = {
    "the history of a task": lambda repository, task_id: repository.list_history(
        task_id=task_id, action_type=None, limit=10, offset=0
    ),
    "the history of an action": lambda repository, _: repository.list_history(
        task_id=None, action_type="CREATED", limit=10, offset=0
    ),
    "a far page of the history": lambda repository, _: repository.list_history(
        task_id=None, action_type=None, limit=10, offset=NEAR
    ),
    "a dry run": lambda repository, task_id: repository.undo(chosen=Chosen(task_id=task_id, version=1), dry_run=True),
    "a page of a far list": far_list,
    "the figures of a moment": lambda repository, _: repository.weekly_stats(as_of=datetime.now(UTC)),
    "days by the sun": lambda repository, _: repository.daily_stats(start=date(1900, 1, 1), bounds=[7, 8]),
    "no change": lambda repository, task_id: repository.set_task_completed(task_id=task_id, is_completed=False),
    "a new key": lambda repository, task_id: repository.update_task(
        task_id=task_id, changes={"title": "z"}, idempotency_key=str(task_id)
    ),
    "a key again": lambda repository, _: repository.create_task(title="x", description=None, idempotency_key="again"),
}


@pytest.fixture(scope="module", params=[True, False], ids=["prepared", "not prepared"])
def wired(
    request: pytest.FixtureRequest, module_database_url: str, reach: Callable[[str], str]
) -> Iterator[tuple[Repository, Wire]]:
    """A repository with one connection, as the lesser role, and the wire that it goes over."""
    with short_folder() as folder, Wire(reach(secured(module_database_url)), folder) as wire:
        yield Repository(Database(Settings(database_url=wire.url, db_connections=1, db_prepare=request.param))), wire


def round_trips(wired: tuple[Repository, Wire], do: Do) -> int:
    """What `do` costs once the connection has done it before."""
    repository, wire = wired
    warm, measured = (id_of(repository.create_task(title="x", description="x")) for _ in range(2))
    do(repository, warm)
    before = wire.round_trips
    do(repository, measured)
    return wire.round_trips - before


def test_every_method_is_here() -> None:
    public = {name for name, _ in inspect.getmembers(Repository, inspect.isfunction) if not name.startswith("_")}
    # That one makes the same for another owner, and asks nobody.
    assert set(METHODS) == public - {"of"}


@pytest.mark.parametrize("do", METHODS.values(), ids=METHODS)
def test_each_method_costs_one(do: Do, wired: tuple[Repository, Wire]) -> None:
    assert round_trips(wired, do) == 1


@pytest.mark.parametrize("do", OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_so_does_each_other_way_through_them(do: Do, wired: tuple[Repository, Wire]) -> None:
    assert round_trips(wired, do) == 1


def test_so_does_a_search_which_has_a_plan_of_its_own(wired: tuple[Repository, Wire]) -> None:
    assert round_trips(wired, lambda repository, _: repository.list_tasks_page(text="x", limit=10)) == 1


def test_nor_does_an_answer_that_there_is_nothing_cost_more(wired: tuple[Repository, Wire]) -> None:
    def missing(repository: Repository, _: UUID) -> None:
        with pytest.raises(TaskNotFound):
            repository.delete_task(task_id=uuid4())

    def reused(repository: Repository, task_id: UUID) -> None:
        with pytest.raises(IdempotencyKeyReused):
            repository.delete_task(task_id=task_id, idempotency_key="taken")

    repository, _ = wired
    repository.create_task(title="x", description=None, idempotency_key="taken")
    assert (round_trips(wired, missing), round_trips(wired, reused)) == (1, 1)


def test_nor_do_shorter_limits_where_little_time_is_left(wired: tuple[Repository, Wire]) -> None:
    def in_a_hurry(repository: Repository, task_id: UUID) -> None:
        token = deadline.set(time.monotonic() + Settings.db_statement_timeout / 2)
        METHODS["update_task"](repository, task_id)
        deadline.reset(token)

    assert round_trips(wired, in_a_hurry) == 1


def test_even_the_first_run_on_a_connection_costs_one(wired: tuple[Repository, Wire]) -> None:
    _, wire = wired
    repository = Repository(Database(Settings(database_url=wire.url, db_connections=1)))
    repository.schema_version()
    before = wire.round_trips
    repository.list_tasks()
    assert wire.round_trips - before == 1


PLANNED = """
SELECT count(*) FILTER (WHERE generic_plans > 1), string_agg(name, ', ') FILTER (WHERE custom_plans > 0)
FROM pg_prepared_statements
"""


def test_nor_does_a_statement_cost_a_plan_each_time(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postgres would make the plans of the first five runs for their arguments, and go on so where it seems to pay."""
    statements = {**queries.load(), "planned": queries.Statement("planned", (), PLANNED)}
    monkeypatch.setattr(queries, "load", lambda: statements)
    database = Database(Settings(database_url=database_url, db_connections=1))
    repository = Repository(database)
    for do in (*METHODS.values(), *OTHER_WAYS.values()) * 3:
        do(repository, id_of(repository.create_task(title="x", description=None)))
    run_again, planned_again = database.run("planned", {}, repeatable=True) or (0, "")
    database.drain()
    assert planned_again is None
    assert run_again >= len(statements) - 2
