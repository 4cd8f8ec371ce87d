"""The loader of sql/: what it reads, what it refuses, and that sql/ and the repository name the same statements."""

import ast
import re
from pathlib import Path

import pytest

from taskapi import repository
from taskapi.database import queries

TWO_STATEMENTS = """-- A file about figures; this line belongs to no statement.


-- first(b, a)
-- What it is for.
SELECT %(a)s::text, %(b)s::int
    -- A comment within.
WHERE %(a)s::text LIKE '100%%';


-- second()
SELECT 2;
"""


def load(folder: Path, **files: str) -> dict[str, queries.Statement]:
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)
    return dict(queries.load(folder))


def test_reads_each_statement_by_its_header(tmp_path: Path) -> None:
    statements = load(tmp_path, figures=TWO_STATEMENTS)
    assert list(statements) == ["first", "second"]
    assert statements["first"].name == "first"
    assert statements["first"].parameters == ("b", "a")
    assert statements["second"].parameters == ()


def test_sends_neither_comments_nor_the_semicolon(tmp_path: Path) -> None:
    statements = load(tmp_path, figures=TWO_STATEMENTS)
    assert statements["first"].text == "SELECT %(a)s::text, %(b)s::int\nWHERE %(a)s::text LIKE '100%%'"
    assert statements["second"].text == "SELECT 2"


def test_numbers_the_prepared_forms_parameters_in_the_headers_order(tmp_path: Path) -> None:
    first = load(tmp_path, figures=TWO_STATEMENTS)["first"]
    assert first.prepare == "PREPARE first AS SELECT $2::text, $1::int\nWHERE $2::text LIKE '100%'"
    assert first.execute == "EXECUTE first(%(b)s, %(a)s)"


def test_executes_without_parentheses_where_there_is_nothing_to_pass(tmp_path: Path) -> None:
    second = load(tmp_path, figures=TWO_STATEMENTS)["second"]
    assert (second.prepare, second.execute) == ("PREPARE second AS SELECT 2", "EXECUTE second")


def test_reads_all_files_and_only_sql_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("-- third()\nSELECT 3;\n")
    assert set(load(tmp_path, a="-- first()\nSELECT 1;\n", b="-- second()\nSELECT 2;\n")) == {"first", "second"}


@pytest.mark.parametrize(
    "files",
    [
        {"a": "-- same()\nSELECT 1;\n-- same()\nSELECT 2;\n"},
        {"a": "-- same()\nSELECT 1;\n", "b": "-- same()\nSELECT 2;\n"},
    ],
    ids=["in one file", "in two files"],
)
def test_refuses_a_name_that_is_used_twice(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="the name same is used twice"):
        load(tmp_path, **files)


@pytest.mark.parametrize(
    "text",
    ["-- one(a, b)\nSELECT %(a)s;\n", "-- one(a)\nSELECT %(a)s, %(b)s;\n", "-- one(a)\nSELECT %(b)s;\n"],
    ids=["one too many", "one too few", "another one"],
)
def test_refuses_a_header_whose_parameters_are_not_its_statements(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"wrong\.sql: the parameters in the header of one "):
        load(tmp_path, wrong=text)


def test_each_file_of_the_service_has_one_statement_to_a_header() -> None:
    # A header with a slip in it would be taken for a comment, and its statement for the end of the one before it.
    for statement in queries.load().values():
        assert ";" not in re.sub("'[^']*'", "", statement.text), statement.name


def test_the_repository_and_sql_name_the_same_statements() -> None:
    used = {
        call.args[0].value
        for module in Path(repository.__path__[0]).glob("*.py")
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("_read", "_write", "_write_one", "_write_many")
        and isinstance(call.args[0], ast.Constant)
    }
    assert used == set(queries.load())


# The pattern of a write


def parts(name: str) -> dict[str, str]:
    """The parts of a statement by their names; of the answer at its end, each branch by its source."""
    text = queries.load()[name].text
    expressions = re.finditer(r"^(?:WITH )?(\w+) AS (?:MATERIALIZED )?\(\n.*?^\)", text, re.MULTILINE | re.DOTALL)
    found = {part[1]: part[0] for part in expressions}
    answer = text[text.rindex("\n)\n") :]
    for branch in answer.split("UNION ALL\n"):
        source = re.findall(r"^FROM (\w+)", branch, re.MULTILINE)
        found[f"answer from {source[0]}" if source else "answer without a change"] = branch.strip()
    return {part: re.sub(r"^WITH ", "", text) for part, text in found.items()}


SHARED = {
    "one task": (("create_task", "change_task", "delete_task"), {"earlier", "answer from earlier"}),
    "a task that is there": (("change_task", "delete_task"), {"seen", "locked", "answer from seen"}),
    "a task that stays": (("create_task", "change_task"), {"answer from changed"}),
    "many tasks": (("create_tasks", "change_tasks", "delete_tasks"), {"earlier"}),
    "many that all change": (("create_tasks", "delete_tasks"), {"answer from earlier"}),
    "many that are there": (
        ("change_tasks", "delete_tasks"),
        {
            *("asked", "seen", "locked", "missing", "mismatched", "raced", "moment"),
            *("answer from missing", "answer from mismatched"),
        },
    ),
    "pages": (("list_history", "list_far_history"), {"counted"}),
}


@pytest.mark.parametrize(("names", "shared"), SHARED.values(), ids=SHARED)
def test_what_statements_share_is_the_same_text(names: tuple[str, ...], shared: set[str]) -> None:
    """Each statement is spelled out, so that it can be read alone; so nothing but this keeps them in step."""
    first, *others = (parts(name) for name in names)
    assert shared <= set(first)
    for other in others:
        assert {part: other[part] for part in shared} == {part: first[part] for part in shared}


CLAUSES = {
    "what a change sets": (("change_task", "change_tasks"), r"    SET title = .*?(?=    FROM wanted)"),
    "which action a change is": (
        ("change_task", "change_tasks"),
        r"        CASE\n +WHEN \(after\)\.is_comp.*?\n        END",
    ),
    "what a list shows": (("list_tasks", "list_tasks_page"), r"WITH now AS .*?AS position\n\)"),
    "what an entry says": (
        ("list_far_history", "list_history_by_action"),
        r"        SELECT coalesce\(json_agg.*AS items",
    ),
}


@pytest.mark.parametrize(("names", "clause"), CLAUSES.values(), ids=CLAUSES)
def test_so_is_what_their_parts_share(names: tuple[str, ...], clause: str) -> None:
    found = {name: re.findall(clause, queries.load()[name].text, re.DOTALL) for name in names}
    assert all(len(texts) == 1 for texts in found.values())
    assert len({texts[0] for texts in found.values()}) == 1


def test_both_states_of_a_page_and_their_number_are_searched_alike() -> None:
    text = re.sub(r"\n +", "\n", queries.load()["list_tasks_page"].text)
    found = re.findall(r"AND created_at >= .*?%\(created_before\).*?\n|AND is_selected\(.*?\n\)", text, re.DOTALL)
    assert len(found) == 6
    found = ["".join(found[place : place + 2]) for place in (0, 2, 4)]
    assert len(set(found)) == 1
