"""The list and the history with filters, in pages, and as the client has it: against the same in Python."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from taskapi.errors import SearchTooLong
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.tasks import Listed
from tests.conftest import NewRepository
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import id_of, tasks_of

WORDS = ["milk", "MILK", "Brot", "straße", "Éclair", "100%", "a.b", "[x]", "", "line\nend"]

ORIGINS = [
    Origin(actor, request_id, change_set)
    for actor in (None, "ann", "agent-7")
    for request_id, change_set in (("r1", None), ("r2", "run 1"), (None, "run 2"))
]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# The list


@pytest.fixture(scope="module")
def many(shared_repository: Repository) -> list[dict[str, Any]]:
    """Sixty tasks: some changed, some completed, some with the same sort key but for their id."""
    chance = random.Random(11)
    repository = shared_repository
    for number in range(60):
        words = [" ".join(chance.choices(WORDS, k=3)) for _ in range(2)]
        task_id = id_of(
            repository.create_task(title=f"Task {number} {words[0]}", description=chance.choice([None, words[1]]))
        )
        if chance.random() < 0.4:
            repository.set_task_completed(task_id=task_id, is_completed=True)
        if chance.random() < 0.3:
            repository.update_task(task_id=task_id, changes={"title": f"Task {number} {chance.choice(WORDS)}"})
    return tasks_of(repository.list_tasks())


@pytest.fixture(scope="module")
def twins(many: list[dict[str, Any]], shared_sql: Sql, shared_repository: Repository) -> list[dict[str, Any]]:
    """The same, where tasks were created in the same moments."""
    with shared_sql.without_triggers():
        shared_sql.execute("UPDATE tasks SET created_at = date_bin('100 milliseconds', created_at, 'epoch')")
    return tasks_of(shared_repository.list_tasks())


def within(value: str | None, between: tuple[datetime | None, datetime | None]) -> bool:
    starts, ends = between
    if starts is None and ends is None:
        return True
    return value is not None and (starts is None or moment(value) >= starts) and (ends is None or moment(value) < ends)


def selected(tasks: list[dict[str, Any]], filters: dict[str, Any]) -> list[dict[str, Any]]:
    """What the filters mean, in Python."""
    text = filters.get("text", "").lower()
    return [
        task
        for task in tasks
        if filters.get("is_completed") in (None, task["is_completed"])
        and (
            text is None or text.lower() in task["title"].lower() or text.lower() in (task["description"] or "").lower()
        )
        and within(task["created_at"], filters.get("created", (None, None)))
        and within(task["updated_at"], filters.get("updated", (None, None)))
        and within(task["completed_at"], filters.get("completed", (None, None)))
    ]


def any_filters(chance: random.Random, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Some filters; their times are those of tasks, and just beside."""
    filters: dict[str, Any] = {}
    if chance.random() < 0.5:
        filters["is_completed"] = chance.random() < 0.5
    if chance.random() < 0.4:
        word = chance.choice([*WORDS[:-2], "task 1", "n", "k M"])
        filters["text"] = chance.choice([word.upper(), word.lower(), word])
    for name in ("created", "updated", "completed"):
        if chance.random() < 0.3:
            known = [task[f"{name}_at"] for task in tasks if task[f"{name}_at"]]
            ends = [moment(chance.choice(known)) + timedelta(microseconds=chance.choice([-1, 0, 1])) for _ in range(2)]
            filters[name] = tuple(end if chance.random() < 0.7 else None for end in sorted(ends))
    return filters


def place_after(listed: Listed) -> tuple[bool, datetime, UUID] | None:
    if not listed.last:
        return None
    last = orjson.loads(listed.last)
    return last["is_completed"], moment(last["created_at"]), UUID(last["id"])


def pages(repository: Repository, limit: int, **filters: Any) -> Iterator[Listed]:
    after = None
    while True:
        listed = repository.list_tasks_page(after=after, limit=limit, **filters)
        yield listed
        after = place_after(listed)
        if after is None:
            return


def test_a_list_without_filters_is_the_list(shared_repository: Repository, many: list[dict[str, Any]]) -> None:
    listed = shared_repository.list_tasks_page(counts=True)
    assert listed.tasks == shared_repository.list_tasks().tasks
    assert (listed.last, listed.total) == (None, 60)


def test_filters_select_what_python_selects(shared_repository: Repository, twins: list[dict[str, Any]]) -> None:
    chance = random.Random(12)
    sizes = set()
    for _ in range(120):
        filters, limit = any_filters(chance, twins), chance.choice([1, 2, 7, 25, 60, 1000])
        expected = selected(twins, filters)
        found = [*pages(shared_repository, limit, counts=True, **filters)]
        assert [task for page in found for task in tasks_of(page)] == expected, filters
        assert {page.total for page in found} == {len(expected)}
        # A page is full unless it is the last one: there is a next one exactly when there is more.
        assert [len(tasks_of(page)) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert len(found) == max(1, -(-len(expected) // limit))
        assert tasks_of(shared_repository.list_tasks_page(**filters)) == expected
        sizes.add(len(expected))
    assert len(sizes) > 10


def test_pages_neither_repeat_nor_hide_what_stays_in_its_place(
    emptied_database_url: str, new_repository: NewRepository
) -> None:
    repository = new_repository(emptied_database_url)
    chance = random.Random(13)
    stays = [id_of(repository.create_task(title=f"stays {number}", description=None)) for number in range(40)]
    for task_id in stays[::3]:
        repository.set_task_completed(task_id=task_id, is_completed=True)
    moves = [id_of(repository.create_task(title="moves", description=None)) for _ in range(20)]
    for limit in (1, 7, 20):
        seen: list[str] = []
        for page in pages(repository, limit):
            seen += [task["id"] for task in tasks_of(page)]
            moved, stayed = chance.choice(moves), chance.choice(stays)
            repository.create_task(title="new", description=None)
            repository.set_task_completed(task_id=moved, is_completed=chance.random() < 0.5)
            repository.update_task(task_id=stayed, changes={"title": f"stays {chance.random()}"})
        kept = [task_id for task_id in seen if UUID(task_id) in set(stays)]
        now = [task["id"] for task in tasks_of(repository.list_tasks()) if UUID(task["id"]) in set(stays)]
        assert kept == now


def test_a_search_without_end_is_given_up_with_advice(
    database_url: str, sql: Sql, new_repository: NewRepository
) -> None:
    repository = new_repository(database_url, db_statement_timeout=0.2)
    repository.create_task(title="x", description=None)
    sql.execute("CREATE FUNCTION slow_text(text) RETURNS text LANGUAGE sql AS 'SELECT $1 FROM pg_sleep(30)'")
    sql.execute(
        "CREATE OR REPLACE FUNCTION is_selected(task tasks, pattern text, updated_from timestamptz, updated_before"
        " timestamptz, completed_from timestamptz, completed_before timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE"
        " AS 'SELECT slow_text(task.title) ~ pattern'"
    )
    with pytest.raises(SearchTooLong, match="Narrow the search with is_completed, created_from and created_before"):
        repository.list_tasks_page(text="milk")


def test_a_search_has_a_plan_of_its_own_which_may_use_an_index_for_texts(
    database_url: str, sql: Sql, new_repository: NewRepository
) -> None:
    """Where an operator has made one. Other statements go on without."""
    repository = new_repository(database_url)
    repository.create_task(title="x", description=None)
    sql.execute(
        "CREATE OR REPLACE FUNCTION is_selected(task tasks, pattern text, updated_from timestamptz, updated_before"
        " timestamptz, completed_from timestamptz, completed_before timestamptz) RETURNS boolean LANGUAGE sql STABLE AS"
        " $$SELECT concat_ws(' ', current_setting('enable_bitmapscan'), current_setting('plan_cache_mode'))"
        "     = 'on force_custom_plan'$$"
    )
    for _ in range(2):
        assert len(tasks_of(repository.list_tasks_page(text="x"))) == 1
        assert tasks_of(repository.list_tasks_page()) == []


# The list that the client has


def test_nothing_new_is_no_list(repository: Repository, sql: Sql, postgres: Server) -> None:
    task_id = id_of(repository.create_task(title="x", description=None))
    for ask in (repository.list_tasks, repository.list_tasks_page):
        listed = ask()
        assert listed.tasks
        assert listed.position
        other = "1:1:/6f1c1b0e-3c1d-4a55-9a51-0d2f3c7f6a10"
        for _ in range(3):
            # Neither other transactions nor ones that are rolled back are news.
            with Sql(postgres.embedded.url) as elsewhere:
                elsewhere.execute("SELECT pg_current_xact_id()")
            sql.execute("BEGIN; UPDATE tasks SET title = 'y', version = 2; ROLLBACK")
            repository.set_task_completed(task_id=task_id, is_completed=False)
            assert ask(known=[other, listed.position]) == Listed(None, listed.position)
        assert ask(known=[other]).tasks == listed.tasks


def test_whatever_is_new_is_a_list(repository: Repository) -> None:
    listed = repository.list_tasks()
    seen = [listed.position or ""]
    task_id = id_of(repository.create_task(title="x", description=None))
    writes: list[Callable[[], object]] = [
        lambda: None,
        lambda: repository.update_task(task_id=task_id, changes={"title": "y"}),
        lambda: repository.set_task_completed(task_id=task_id, is_completed=True),
        lambda: repository.delete_task(task_id=task_id),
    ]
    for write in writes:
        write()
        for ask in (repository.list_tasks, repository.list_tasks_page):
            listed = ask(known=seen)
            assert listed.tasks is not None
            assert listed.position not in seen
        seen.append(listed.position or "")
        assert repository.list_tasks(known=seen).position == seen[-1]


def test_an_empty_list_has_a_position_too(repository: Repository) -> None:
    listed = repository.list_tasks()
    assert listed.position
    assert repository.list_tasks(known=[listed.position]).tasks is None
    repository.create_task(title="x", description=None)
    assert repository.list_tasks(known=[listed.position]).tasks


def test_a_position_of_another_life_of_the_database_is_none(repository: Repository, sql: Sql) -> None:
    repository.create_task(title="x", description=None)
    position = repository.list_tasks().position
    assert position
    snapshot, _, newest = position.partition("/")
    number = int(snapshot.partition(":")[0]) + 10**6
    for foreign in (f"{number}:{number}:/{newest}", f"{snapshot}/6f1c1b0e-3c1d-4a55-9a51-0d2f3c7f6a10", f"{snapshot}/"):
        assert repository.list_tasks(known=[foreign]).tasks


# The history


Told = tuple[Repository, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def history(postgres: Server, template: str, new_repository: NewRepository) -> Iterator[Told]:
    """A repository, and its whole history: changes of twelve tasks by several, in requests and change sets."""
    with postgres.database(template) as name:
        repository, chance = new_repository(postgres.url(name)), random.Random(14)
        tasks = [
            id_of(repository.create_task(title=f"Task {number}", description=None, origin=chance.choice(ORIGINS)))
            for number in range(12)
        ]
        for number in range(120):
            origin, task_id = chance.choice(ORIGINS), chance.choice(tasks)
            if chance.random() < 0.5:
                repository.update_task(task_id=task_id, changes={"title": f"Change {number}"}, origin=origin)
            elif chance.random() < 0.7:
                repository.set_task_completed(task_id=task_id, is_completed=chance.random() < 0.5, origin=origin)
            else:
                repository.set_tasks_completed(task_ids=tasks, is_completed=chance.random() < 0.5, origin=origin)
        with Sql(postgres.url(name)) as sql, sql.without_triggers():
            # Entries of the same moment have an order, too.
            sql.execute(
                "UPDATE task_history SET timestamp = date_bin('3 milliseconds', timestamp, 'epoch') WHERE version = 1"
            )
        entries: list[dict[str, Any]] = []
        while True:
            _, page = repository.list_history(task_id=None, action_type=None, limit=100, offset=len(entries))
            entries += orjson.loads(page)
            if page == b"[]":
                break
        yield repository, entries


def chosen(entries: list[dict[str, Any]], filters: dict[str, Any]) -> list[dict[str, Any]]:
    between = (filters.get("timestamp_from"), filters.get("timestamp_before"))
    return [
        entry
        for entry in entries
        if all(
            name not in filters or entry[name] == (str(filters[name]) if name == "task_id" else filters[name])
            for name in ("task_id", "action_type", "actor", "request_id", "change_set")
        )
        and within(entry["timestamp"], between)
    ]


def test_the_filters_of_the_history_select_what_python_selects(history: Told) -> None:
    repository, entries = history
    chance, used = random.Random(15), set()
    for _ in range(80):
        entry = chance.choice(entries)
        filters: dict[str, Any] = {
            name: entry[name] if chance.random() < 0.9 else "nobody"
            for name in ("actor", "request_id", "change_set")
            if chance.random() < 0.35 and entry[name]
        }
        if chance.random() < 0.3:
            filters["action_type"] = entry["action_type"]
        if chance.random() < 0.2:
            filters["task_id"] = UUID(entry["task_id"])
        for name in ("timestamp_from", "timestamp_before"):
            if chance.random() < 0.2:
                beside = timedelta(microseconds=chance.choice([-1, 0, 1]))
                filters[name] = moment(chance.choice(entries)["timestamp"]) + beside
        expected, limit = chosen(entries, filters), chance.choice([1, 5, 30, 100])
        found: list[dict[str, Any]] = []
        after = None
        while True:
            page = repository.select_history(**filters, after=after, limit=limit)
            items = orjson.loads(page.items)
            found += items
            assert page.total == len(expected), filters
            assert page.has_more == (len(found) < len(expected))
            if not page.has_more:
                break
            assert len(items) == limit
            after = (moment(items[-1]["timestamp"]), UUID(items[-1]["task_id"]))
        assert found == expected, filters
        offset = chance.randrange(len(expected) + 2)
        page = repository.select_history(**filters, limit=limit, offset=offset)
        assert orjson.loads(page.items) == expected[offset : offset + limit]
        assert page.has_more == (offset + limit < len(expected))
        used.add(frozenset(filters))
    assert len(used) > 25


def test_the_totals_know_how_many_entries_a_cursor_has(history: Told) -> None:
    repository, entries = history
    after = (moment(entries[20]["timestamp"]), UUID(entries[20]["task_id"]))
    page = repository.select_history(after=after, limit=10)
    assert (page.total, orjson.loads(page.items)) == (len(entries), entries[21:31])
    for action in ("CREATED", "COMPLETED", "DELETED"):
        of_action = chosen(entries, {"action_type": action})
        page = repository.select_history(action_type=action, after=after, limit=5)
        assert page.total == len(of_action)
        assert orjson.loads(page.items) == [entry for entry in entries[21:] if entry["action_type"] == action][:5]


def test_a_cursor_beyond_its_filters_shows_no_more_than_they_do(history: Told) -> None:
    repository, entries = history
    ends = moment(entries[50]["timestamp"])
    after = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=0))
    page = repository.select_history(timestamp_before=ends, after=after, limit=5)
    assert orjson.loads(page.items) == chosen(entries, {"timestamp_before": ends})[:5]
