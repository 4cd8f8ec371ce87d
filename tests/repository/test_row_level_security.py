"""The second line of defence: a statement that forgets the owner finds nothing of another one, and writes nothing."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from taskapi.database import queries
from taskapi.database.database import Database
from taskapi.database.queries import Statement
from taskapi.repository import Repository
from taskapi.repository.base import UNCOUNTED, Origin
from taskapi.settings import Settings
from tests.repository.test_round_trips import METHODS, OTHER_WAYS, Do
from tests.support.owners import secured
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of

TITLE = "Secret of ann"

CONDITION = re.compile(r'(?:\w+\.)?owner(?: COLLATE "\w+")? = (?:%\(owner\)s(?:::text)?|\w+\.owner)')
MENTION = re.compile(r"%\(owner\)s::text")
ANN = "'ann'::text"


def fold(repository: Repository, _: UUID) -> object:
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (UNCOUNTED + 1))
    return repository.weekly_stats()


WAYS: dict[str, Do] = {**METHODS, **OTHER_WAYS, "many new entries": fold}


@dataclass(frozen=True)
class Mutant:
    """A statement with one fault: a condition on the owner is missing, or an owner is another one than it should be."""

    name: str
    fault: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.fault}"


def mutants() -> Iterator[Mutant]:
    """Every such fault of every statement, one at a time."""
    for name, statement in queries.load().items():
        for number, found in enumerate(CONDITION.finditer(statement.text)):
            yield Mutant(name, f"without condition {number}", _put(statement.text, found, "true"))
        for number, found in enumerate(MENTION.finditer(statement.text)):
            yield Mutant(name, f"of another owner at {number}", _put(statement.text, found, ANN))
        if "owner" in statement.parameters:
            yield Mutant(name, "wholly of another owner", MENTION.sub(ANN, statement.text))


def _put(text: str, found: re.Match[str], instead: str) -> str:
    return f"{text[: found.start()]}{instead}{text[found.end() :]}"


class Watched:
    """A database that notes which statements run, and what they answer."""

    def __init__(self, url: str) -> None:
        # Each statement is sent as it is: it is another one each time. Some would run again and again.
        self._database = Database(Settings(database_url=url, db_connections=1, db_prepare=False, request_deadline=0.5))
        self._statements = self._database._statements
        self.ran: set[str] = set()
        self.answers: list[bytes] = []

    def run(self, name: str, parameters: dict[str, Any], *, repeatable: bool, **options: bool) -> Any:
        self.ran.add(name)
        row = self._database.run(name, parameters, repeatable=repeatable, **options)
        self.answers.append(repr(row).encode())
        return row

    def take(self, mutant: Mutant) -> None:
        """Run the mutant in place of the statement."""
        statement = self._statements[mutant.name]
        self._database._statements = {
            **self._statements,
            mutant.name: Statement(mutant.name, statement.parameters, mutant.text),
        }

    def done(self, repository: Repository, do: Do, task_id: UUID) -> list[bytes]:
        """What the database answers while the repository does it, however that ends."""
        self.answers = []
        try:
            do(repository, task_id)
        except Exception:  # noqa: BLE001  # What a faulty statement finds may be nonsense to the code above it.
            self.answers.append(b"refused")
        return self.answers


@dataclass(frozen=True)
class Owners:
    """Ann's task, which bob must never see; and one of bob's."""

    of_ann: UUID
    of_bob: UUID


def settle(repository: Repository) -> Owners:
    """Ann and bob have tasks, with everything that can be found by something else than the task's id."""
    ids = []
    for owner, title in (("ann", TITLE), ("bob", "of bob")):
        mine = repository.of(owner)
        origin = Origin("ann", "request", "run")
        for number in range(3):
            task_id = id_of(
                mine.create_task(title=title, description=title, origin=origin, idempotency_key=f"{owner} {number}")
            )
            mine.set_task_completed(task_id=task_id, is_completed=True, origin=origin)
        mine.update_task(task_id=task_id, changes={"title": f"{title}!"}, origin=origin)
        ids.append(task_id)
    # What ann has is counted, too.
    fold(repository.of("ann"), task_id)
    return Owners(*ids)


ROWS = "SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {table} AS row WHERE owner <> 'bob'"


def rows_of_others(sql: Sql) -> list[str]:
    tables = ("tasks", "task_history", "history_totals", "history_periods")
    return [sql.value(ROWS.format(table=table)) for table in tables]


def faults(watched: Watched, sql: Sql, owners: Owners, names: set[str]) -> Iterator[str]:
    """What each mutant of these statements shows of ann, or does to her, when bob runs it."""
    repository = Repository(watched)
    bob, before = repository.of("bob"), rows_of_others(sql)
    users: dict[str, dict[str, Do]] = {name: {} for name in queries.load()}
    for way, do in WAYS.items():
        watched.ran.clear()
        watched.done(bob, do, owners.of_bob)
        for name in watched.ran:
            users[name][way] = do
    for mutant in (mutant for mutant in mutants() if mutant.name in names):
        assert users[mutant.name], mutant
        for way, do in users[mutant.name].items():
            for task_id in (owners.of_ann, owners.of_bob):
                watched.take(mutant)
                answers = watched.done(bob, do, task_id)
                if any(TITLE.encode() in answer for answer in answers):
                    yield f"{mutant}: {way} shows it"
        if rows_of_others(sql) != before:
            yield f"{mutant}: writes it"
            before = rows_of_others(sql)


def test_row_level_security_alone_keeps_owners_apart(module_database_url: str, reach: Callable[[str], str]) -> None:
    with Sql(module_database_url) as sql:
        owners = settle(Repository(Database(Settings(database_url=module_database_url))))
        watched = Watched(reach(secured(module_database_url)))
        assert list(faults(watched, sql, owners, set(queries.load()))) == []
        assert_replay_equals_tasks(sql)


def test_without_it_such_faults_are_found(database_url: str) -> None:
    """The tables' owner is not held by it: the test above would see a leak if there was one."""
    names = {"get_task", "list_tasks", "change_task"}
    with Sql(database_url) as sql:
        owners = settle(Repository(Database(Settings(database_url=database_url))))
        found = list(faults(Watched(database_url), sql, owners, names))
    assert {name for name in names if any(fault.startswith(f"{name}: ") for fault in found)} == names
    assert any("writes" in fault for fault in found)
