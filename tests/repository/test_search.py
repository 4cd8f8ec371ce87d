"""The search for a text: whatever its case, of whatever script, in a database of whatever locale."""

from collections.abc import Iterator

import orjson
import pytest

from taskapi.migrations import prepare_schema
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.tasks import tasks_of


@pytest.fixture(scope="module", params=["the locale C", "C.UTF-8"])
def repository(request: pytest.FixtureRequest, postgres: Server, new_repository: NewRepository) -> Iterator[Repository]:
    locale = "LOCALE_PROVIDER libc LOCALE 'C'" if request.param == "the locale C" else ""
    with Sql(postgres.embedded.url) as sql:
        sql.execute(f"CREATE DATABASE searched TEMPLATE template0 ENCODING UTF8 {locale}")
        prepare_schema(Settings(database_url=postgres.url("searched")))
        yield new_repository(postgres.url("searched"))
        sql.execute("DROP DATABASE searched WITH (FORCE)")


def found(repository: Repository, text: str) -> list[str]:
    return [task["title"] for task in tasks_of(repository.list_tasks_page(text=text, limit=10))]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Éclairs", "éclair"),
        ("crème brûlée", "CRÈME BRÛLÉE"),
        ("Молоко", "мОЛОКО"),
        ("ΓΆΛΑ", "γάλα"),
        ("Straße", "STRAße"),
        ("Milk", "mILK"),
        ("100% [a-z]* (x|y) \\d {2} ^.$", "[A-Z]* (X|Y) \\D {2} ^.$"),
        ("a 🎉 b", "🎉 B"),
        ("two\nlines", "O\nL"),
        ("𐐀", "𐐨"),
    ],
)
def test_found_whatever_the_case(title: str, text: str, repository: Repository) -> None:
    for task in ({"title": title, "description": None}, {"title": "in the description", "description": f"– {title} –"}):
        written = repository.create_task(**task)
        assert found(repository, text) == [task["title"]]
        repository.delete_task(task_id=orjson.loads(written.task)["id"])


@pytest.mark.parametrize("text", [".", "m.lk", "M[iI]lk", "(?i)milk", "***=Milk", "\\m", "%", "_"])
def test_no_character_is_a_pattern(text: str, repository: Repository) -> None:
    repository.create_task(title="Milk", description="Two litres")
    assert found(repository, text) == []
