"""Owners can be spread over several databases: what Citus asks of keys and statements (docs/scale.md) is kept."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from taskapi.database import queries
from taskapi.database.connection import PLANNING
from taskapi.database.queries import Statement
from taskapi.places import ROOT
from tests.repository.test_query_plans import nodes
from tests.repository.test_row_level_security import Mutant, mutants
from tests.support.sql import Sql

WITHOUT_OWNER = {
    "taskapi_version": "one row for the whole database: which migration it is at",
}
"""Tables that stay on one machine, and why."""

STATEMENTS_WITHOUT_OWNER = {
    "schema_version": "asks the catalog, and the table of the migration",
    "is_rewound": "readiness asks it about all owners; its function reads for one owner after the other",
    "owners_with_news": "asks about many owners; its function reads for one owner after the other",
}
"""Statements that are not of one owner, and why. They name no table with an owner."""

FUNCTIONS_OF_ALL_OWNERS = {
    "is_rewound": "looks at the owners that were counted last",
}
"""Functions that read a table without a condition on the owner, and why."""

TABLES = """
SELECT relname, (
    SELECT concat(format_type(atttypid, atttypmod), ' COLLATE ' || collname, CASE WHEN attnotnull THEN ' NOT NULL' END)
    FROM pg_attribute
    LEFT JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE attrelid = pg_class.oid AND attname = 'owner' AND NOT attisdropped
)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""

# An expression of the owner has no number in indkey.
KEYS = """
SELECT pg_class.relname, indexrelid::regclass::text
FROM pg_index
JOIN pg_class ON pg_class.oid = indrelid
LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE relnamespace = 'public'::regnamespace
  AND (indisunique OR indisexclusion)
  AND (attname, indcollation[0]) IS DISTINCT FROM ('owner', attcollation)
"""

# The owner is in both, and in the same place.
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
  AND contype = 'f'
  AND NOT EXISTS (
      SELECT
      FROM unnest(conkey, confkey) AS pair (here, there)
      JOIN pg_attribute AS here ON here.attrelid = conrelid AND here.attnum = pair.here
      JOIN pg_attribute AS there ON there.attrelid = confrelid AND there.attnum = pair.there
      WHERE here.attname = 'owner' AND there.attname = 'owner'
  )
"""

# A number that all owners take from one place; a rule, which Citus refuses.
OTHERS = """
SELECT relname, 'is a sequence' FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
UNION ALL
SELECT rulename, 'is a rule' FROM pg_rules WHERE schemaname = 'public'
"""

FUNCTIONS = """
SELECT proname, prosrc, lanname
FROM pg_proc
JOIN pg_language ON pg_language.oid = prolang
WHERE pronamespace = 'public'::regnamespace AND lanname IN ('sql', 'plpgsql')
"""


def tables(sql: Sql) -> set[str]:
    """The tables that have an owner."""
    return {name for name, owner in sql.rows(TABLES) if owner}


def faults_of_schema(sql: Sql) -> list[str]:
    """What cannot be spread over machines by owner."""
    found = []
    for name, owner in sql.rows(TABLES):
        if owner != "text COLLATE C NOT NULL" and not (owner is None and name in WITHOUT_OWNER):
            found.append(f"{name}: its owner is {owner}")
    found += [f"{name}: {key} does not begin with owner" for name, key in sql.rows(KEYS) if name not in WITHOUT_OWNER]
    found += [f"{name}: {key} leaves the owner" for name, key in sql.rows(FOREIGN_KEYS)]
    found += [f"{name}: {what}" for name, what in sql.rows(OTHERS)]
    return found


def reading(sql: Sql) -> re.Pattern[str]:
    """Where a text goes to a table with an owner."""
    return re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:public\.)?(?:{'|'.join(tables(sql))})\b")


CONDITION = re.compile(r'\bowner(?: COLLATE "\w+")? = (?:of_owner|\w+\.owner)\b')


def faults_of_functions(sql: Sql) -> list[str]:
    """Functions, those of the triggers among them, that go to such a table more often than they name the owner."""
    goes = reading(sql)
    return [
        name
        for name, source, _ in sql.rows(FUNCTIONS)
        if len(goes.findall(source)) > len(CONDITION.findall(source)) and name not in FUNCTIONS_OF_ALL_OWNERS
    ]


# The new row's owner is the statement's, or that of a row which the same statement has just written.
INSERT = re.compile(r"INSERT INTO \w+(?: AS \w+)? \(\s*owner\b[^)]*\)\s*SELECT\s+(?:%\(owner\)s::text|folded\.owner),")


def faults_of_statement(sql: Sql, statement: Statement) -> Iterator[str]:
    """Where a plan looks into a table without naming the statement's owner, or writes another one.

    Citus asks the same planner for the conditions on each table: they must lead to one owner, of whom all rows are in
    one place.
    """
    body = statement.prepare.partition(" AS ")[2]
    (explained,) = sql.value(f"EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) {body}")
    number = statement.parameters.index("owner") + 1 if "owner" in statement.parameters else 0
    inserts = 0
    for node in nodes(explained["Plan"]):
        name = node.get("Relation Name")
        if name is None or name in WITHOUT_OWNER:
            continue
        if node["Node Type"] == "ModifyTable":
            inserts += node["Operation"] == "Insert"
            continue
        conditions = f"{node.get('Index Cond')} {node.get('Filter')}"
        if not re.search(rf"\b{node['Alias']}\.owner\)?(?:::text)? = \${number}\b", conditions):
            yield f"looks into {name} by {conditions}"
    if inserts != len(INSERT.findall(statement.text)):
        yield "inserts without an owner, or another one"


@pytest.fixture(scope="module")
def planning(module_database_url: str) -> Iterator[Sql]:
    """A connection that plans as the service's do."""
    with Sql(module_database_url) as sql:
        sql.execute(PLANNING.replace("SET LOCAL", "SET"))
        yield sql


@contextmanager
def changed(sql: Sql, change: str) -> Iterator[None]:
    """Meanwhile the schema is another one."""
    sql.execute("BEGIN")
    try:
        sql.execute(change)
        yield
    finally:
        sql.execute("ROLLBACK")


def test_keys_begin_with_the_owner_and_none_leaves_it(planning: Sql) -> None:
    assert faults_of_schema(planning) == []
    assert tables(planning) >= {"tasks", "task_history", "history_totals", "history_periods"}


BROKEN = {
    "a table without an owner": ("CREATE TABLE others (id uuid)", "others: its owner is None"),
    "another type": ("CREATE TABLE others (owner uuid NOT NULL)", "others: its owner is uuid NOT NULL"),
    "another collation": (
        'CREATE TABLE others (owner text COLLATE "POSIX" NOT NULL)',
        "others: its owner is text COLLATE POSIX NOT NULL",
    ),
    "an owner may be missing": ('CREATE TABLE others (owner text COLLATE "C")', "others: its owner is text COLLATE C"),
    "a unique index": (
        "CREATE UNIQUE INDEX entry ON task_history (history_id)",
        "task_history: entry does not begin with owner",
    ),
    "the owner second": ("CREATE UNIQUE INDEX second ON tasks (id, owner)", "tasks: second does not begin with owner"),
    "an expression of the owner": (
        "CREATE UNIQUE INDEX lower ON tasks (lower(owner), id)",
        "tasks: lower does not begin with owner",
    ),
    "the owner in another collation": (
        'CREATE UNIQUE INDEX posix ON tasks (owner COLLATE "POSIX", id)',
        "tasks: posix does not begin with owner",
    ),
    "a unique constraint": (
        "ALTER TABLE task_history ADD CONSTRAINT entry UNIQUE (history_id)",
        "task_history: entry does not begin with owner",
    ),
    "an exclusion constraint": (
        "ALTER TABLE history_periods ADD CONSTRAINT apart EXCLUDE USING gist (tstzrange(starts, NULL) WITH &&)",
        "history_periods: apart does not begin with owner",
    ),
    "a foreign key": (
        'CREATE TABLE others (owner text COLLATE "C" NOT NULL, of_owner text, task uuid, PRIMARY KEY (owner, task),'
        " CONSTRAINT other FOREIGN KEY (of_owner, task) REFERENCES tasks (owner, id))",
        "others: other leaves the owner",
    ),
    "a sequence": ("CREATE SEQUENCE numbers", "numbers: is a sequence"),
    "a rule": ("CREATE RULE none AS ON DELETE TO tasks DO INSTEAD NOTHING", "none: is a rule"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_such_a_schema_would_be_found(case: str, planning: Sql) -> None:
    change, fault = BROKEN[case]
    with changed(planning, change):
        assert faults_of_schema(planning) == [fault]


def test_a_foreign_key_within_the_owner_is_no_fault(planning: Sql) -> None:
    within = (
        'CREATE TABLE others (owner text COLLATE "C" NOT NULL, task uuid, PRIMARY KEY (owner, task),'
        " FOREIGN KEY (owner, task) REFERENCES tasks (owner, id))"
    )
    with changed(planning, within):
        assert faults_of_schema(planning) == []


def test_every_function_names_the_owner(planning: Sql) -> None:
    assert faults_of_functions(planning) == []
    with changed(planning, "CREATE FUNCTION last() RETURNS text LANGUAGE sql AS 'SELECT max(title) FROM tasks'"):
        assert faults_of_functions(planning) == ["last"]


@pytest.mark.parametrize("name", list(queries.load()))
def test_every_statement_names_the_owner_wherever_it_looks(name: str, planning: Sql) -> None:
    statement = queries.load()[name]
    assert list(faults_of_statement(planning, statement)) == []
    assert ("owner" in statement.parameters) == (name not in STATEMENTS_WITHOUT_OWNER)


FORGETFUL = [mutant for mutant in mutants() if not mutant.fault.startswith("of another")]
"""Each statement without one of its conditions on the owner, and wholly of a fixed owner."""


@pytest.mark.parametrize("mutant", FORGETFUL, ids=str)
def test_a_statement_that_forgets_it_would_be_found(mutant: Mutant, planning: Sql) -> None:
    parameters = queries.load()[mutant.name].parameters
    assert list(faults_of_statement(planning, Statement(mutant.name, parameters, mutant.text))) != []


PAGE = (ROOT / "docs" / "scale.md").read_text()


def test_the_page_spreads_every_table_with_an_owner(planning: Sql) -> None:
    assert set(re.findall(r"create_distributed_table\('(\w+)', 'owner'", PAGE)) == tables(planning)
    assert all(name in PAGE for name in WITHOUT_OWNER)


def test_the_page_names_the_functions_that_citus_refuses(planning: Sql) -> None:
    goes = reading(planning)
    refused = {name for name, source, language in planning.rows(FUNCTIONS) if language == "sql" and goes.search(source)}
    (named,) = re.findall(r"The schema has (.*?)\. ", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", named)) == refused
