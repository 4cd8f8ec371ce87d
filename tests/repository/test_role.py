"""The role that the service runs as: it is made with what it needs, and row-level security holds for it everywhere."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import psycopg2.extensions as ext
import pytest
from psycopg2 import errors

from taskapi import role
from taskapi.database.database import Database
from taskapi.database.database_url import libpq_url
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.support.migrating import run
from tests.support.server import Server
from tests.support.sql import Sql

NAMES = ["app", "App", 'O\'Brien "x" %s é', "--help", "{role}", "select", "x" * 63, "é" * 31]
"""Names that a role may have."""

READY = "Row-level security is on, and the role {} has what the service needs.\n"

SECURED_SQL = """
SELECT relname, relrowsecurity
FROM pg_class
JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relkind IN ('r', 'p')
  AND relnamespace = current_schema()::regnamespace
  AND attname = 'owner'
ORDER BY relname
"""

POLICIES_SQL = """
SELECT tablename, cmd, permissive, roles::text, qual, with_check
FROM pg_policies
WHERE schemaname = current_schema()
ORDER BY tablename
"""


@pytest.fixture
def names(database_url: str) -> Iterator[list[str]]:
    """The roles that a test has made, or may have made: they are dropped after it."""
    made = ["app"]
    yield made
    with Sql(database_url) as sql:
        for name in dict.fromkeys(made):
            if is_there(sql, name):
                quoted = ext.quote_ident(name, sql.connection)
                sql.execute(f"REASSIGN OWNED BY {quoted} TO taskapi; DROP OWNED BY {quoted}; DROP ROLE {quoted}")


def made(url: str, name: str = "app") -> str | None:
    with closing(psycopg2.connect(url)) as connection:
        return role.make_role(connection, name)


def url_in(text: str) -> str:
    """The URL that was printed."""
    found = re.search(r"^DATABASE_URL='(.+)'$", text, re.MULTILINE)
    assert found, text
    return found[1]


def has_password(sql: Sql, name: str, password: str) -> bool:
    """Whether the server would take the password (RFC 5803). The tests' server asks nobody for it."""
    secret = sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (name,))
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):(.+)\$(.+):(.+)", secret)
    assert found
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(found[2]), int(found[1]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    return base64.b64encode(hashlib.sha256(key).digest()).decode() == found[3]


def is_there(sql: Sql, name: str) -> bool:
    return bool(sql.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", (name,)))


def secured(sql: Sql) -> dict[str, bool]:
    return dict(sql.rows(SECURED_SQL))


# What it makes


def test_it_makes_roles(names: list[str], database_url: str, sql: Sql) -> None:
    for name in NAMES:
        names.append(name)
        password = made(database_url, name)
        assert password
        assert has_password(sql, name, password)
        assert not has_password(sql, name, "another")
        attributes = sql.rows(
            "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles"
            " WHERE rolname = %s",
            (name,),
        )
        assert attributes == [(True, False, False, False, False, False)]
        with Sql(ext.make_dsn(database_url, user=name)) as of_role:
            for table in secured(sql):
                assert of_role.value("SELECT row_security_active(%s)", (table,)), table


@pytest.mark.parametrize("name", ["app", 'O\'Brien "x" %s é'])
def test_the_url_that_it_prints(name: str, names: list[str], database_url: str, sql: Sql) -> None:
    names.append(name)
    done = run("taskapi.role", "--", name, url=f"{database_url}&sslmode=disable&user=taskapi&password=geheim")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{READY.format(name)}Serve with this, which is shown only now:\nDATABASE_URL='")
    url = url_in(done.stdout)
    assert libpq_url(Settings(database_url=url)) == url
    parts, before = ext.parse_dsn(url), ext.parse_dsn(database_url)
    assert {part: parts[part] for part in before if part != "user"} == {
        part: before[part] for part in before if part != "user"
    }
    assert (parts["user"], parts["sslmode"]) == (name, "disable")
    assert has_password(sql, name, parts["password"])
    with Sql(url) as of_role:
        assert of_role.rows("SELECT current_user, current_database()") == [(name, sql.database)]
        assert of_role.value("SELECT row_security_active('tasks')")


def test_it_serves(names: list[str], database_url: str) -> None:
    made(database_url)
    # Never through the pooler, which does not know it.
    repository = Repository(Database(Settings(database_url=database_url.replace("taskapi@", "app@"))))
    repository.of("ann").create_task(title="x", description=None)
    assert repository.of("ann").list_history(task_id=None, action_type=None, limit=1, offset=0)[0] == 1
    assert repository.of("bob").list_history(task_id=None, action_type=None, limit=1, offset=0)[0] == 0
    assert repository.schema_version()[1]
    repository.check_transactions()


def test_again_is_harmless(names: list[str], database_url: str, sql: Sql) -> None:
    made(database_url)
    digest = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'"
    rights = "SELECT relname, relacl::text FROM pg_class WHERE relkind = 'r' ORDER BY 1"
    before = sql.rows(digest), sql.rows(rights), secured(sql)
    done = run("taskapi.role", "app", url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(READY.format("app") + "It was there before, and keeps its password. For a new one, ")
    assert "DATABASE_URL='postgresql://app:PASSWORD@/" in done.stdout
    assert (sql.rows(digest), sql.rows(rights), secured(sql)) == before


def test_one_that_is_there_gets_its_rights(names: list[str], database_url: str, sql: Sql) -> None:
    sql.execute("CREATE ROLE app LOGIN")
    assert made(database_url) is None
    repository = Repository(Database(Settings(database_url=database_url.replace("taskapi@", "app@"))))
    repository.create_task(title="x", description=None)


@pytest.mark.parametrize("was_there", [False, True])
def test_a_password_of_a_variable(was_there: bool, names: list[str], database_url: str, sql: Sql) -> None:
    """It is not printed: what a container prints is kept in a log."""
    if was_there:
        made(database_url)
    for password in ("geheim", 'O\'Brien "x" %s {role} \\ é'):
        done = run("taskapi.role", "app", "--password-from", "APP_PASSWORD", url=database_url, APP_PASSWORD=password)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == READY.format("app") + "Its password is now that of APP_PASSWORD.\n"
        assert has_password(sql, "app", password)


@pytest.mark.parametrize("digest", ["md5" + "0" * 32, "SCRAM-SHA-256$4096:c2FsdA==$c2E=:c2I="])
def test_a_digest_is_no_password(digest: str, database_url: str) -> None:
    done = run("taskapi.role", "app", "--password-from", "APP_PASSWORD", url=database_url, APP_PASSWORD=digest)
    assert (done.returncode, done.stderr) == (
        1,
        "taskapi: APP_PASSWORD looks like the digest of a password: give the password itself.\n",
    )


def test_a_password_needs_a_name(database_url: str) -> None:
    done = run("taskapi.role", "--password-from", "APP_PASSWORD", url=database_url, APP_PASSWORD="geheim")
    assert done.returncode == 2
    assert "--password-from needs NAME" in done.stderr


@pytest.mark.parametrize("variable", ["ANOTHER", "EMPTY", "LINES"])
def test_a_variable_without_a_password(variable: str, names: list[str], database_url: str, sql: Sql) -> None:
    command = ("taskapi.role", "app", "--password-from", variable)
    done = run(*command, url=database_url, EMPTY="", LINES="geheim\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"taskapi: {variable} must have the role's password: printable characters, in one line.\n"
    assert not is_there(sql, "app")


def test_many_at_once(names: list[str], database_url: str, sql: Sql) -> None:
    with ThreadPoolExecutor() as threads:
        passwords = list(threads.map(made, [database_url] * 8))
    (password,) = filter(None, passwords)
    assert has_password(sql, "app", password)


def test_tables_in_another_schema(names: list[str], database_url: str, sql: Sql) -> None:
    """The role finds them, though only their owner had the search_path."""
    sql.execute('ALTER SCHEMA public RENAME TO "My Tasks"')
    sql.execute(f'ALTER ROLE taskapi IN DATABASE {sql.database} SET search_path = nothing, "My Tasks"')
    sql.execute("CREATE SCHEMA nothing AUTHORIZATION taskapi")
    done = run("taskapi.role", "app", url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    with Sql(url_in(done.stdout)) as of_role:
        assert of_role.value("SELECT count(*) FROM tasks") == 0


# Which rows it sees


def test_every_table_with_an_owner_is_secured(names: list[str], database_url: str, sql: Sql) -> None:
    """Of a new table, both the policy and the switch would be missing."""
    assert not any(secured(sql).values())
    made(database_url)
    assert len(secured(sql)) >= 6
    assert all(secured(sql).values()), secured(sql)
    policies = sql.rows(POLICIES_SQL)
    assert [policy[0] for policy in policies] == list(secured(sql))
    # For reading and writing, for everybody, and the same everywhere.
    ((*rest, condition, check),) = {policy[1:] for policy in policies}
    assert (rest, check) == (["ALL", "PERMISSIVE", "{public}"], None)
    assert "current_setting('app.owner'" in condition


@pytest.fixture
def of_role(names: list[str], database_url: str, repository: Repository) -> Iterator[Sql]:
    """A connection of the role, to a database in which two people have tasks, and counted totals."""
    for owner in ("ann", "bob"):
        repository.of(owner).create_task(title=f"of {owner}", description=None)
    assert run("taskapi.repair", url=database_url).returncode == 0
    made(database_url)
    with Sql(database_url.replace("taskapi@", "app@")) as connection:
        yield connection


READ = ("tasks", "task_history", "history_totals", "history_periods")

NEW_TASK = "INSERT INTO tasks (owner, title, created_at, updated_at) VALUES (%s, 'x', now(), now())"


def test_without_an_owner_there_is_nothing(of_role: Sql) -> None:
    for setting in (None, "", "Ann", "ann "):
        with of_role.transaction():
            if setting is not None:
                of_role.execute("SELECT set_config('app.owner', %s, true)", (setting,))
            assert {table: of_role.value(f"SELECT count(*) FROM {table}") for table in READ} == dict.fromkeys(READ, 0)
            assert of_role.execute("UPDATE tasks SET title = 'x'") == 0
            assert of_role.execute("DELETE FROM tasks") == 0
        for owner in ("ann", "default", ""):
            with pytest.raises(errors.InsufficientPrivilege, match="row-level security policy"):
                insert(of_role, owner, setting)


def insert(of_role: Sql, owner: str, setting: str | None) -> None:
    with of_role.transaction():
        if setting is not None:
            of_role.execute("SELECT set_config('app.owner', %s, true)", (setting,))
        of_role.execute(NEW_TASK, (owner,))


def test_after_a_transaction_with_an_owner_neither(of_role: Sql) -> None:
    with of_role.transaction():
        of_role.execute("SET LOCAL app.owner = 'ann'")
        for table in READ:
            assert {row[0] for row in of_role.rows(f"SELECT owner FROM {table}")} == {"ann"}
        with pytest.raises(errors.InsufficientPrivilege):
            of_role.execute(NEW_TASK, ("bob",))
        of_role.execute("ROLLBACK; BEGIN")
    assert of_role.value("SELECT current_setting('app.owner')") == ""
    assert {table: of_role.value(f"SELECT count(*) FROM {table}") for table in READ} == dict.fromkeys(READ, 0)


# What is refused


def refused(url: str, name: str, sentence: str) -> None:
    """And nothing is changed."""
    everything = "SELECT relname, relrowsecurity, relacl::text FROM pg_class ORDER BY oid"
    with Sql(url) as sql:
        before = sql.rows(everything), sql.rows("SELECT rolname FROM pg_roles ORDER BY 1")
        with pytest.raises(role.Refused, match=sentence):
            made(url, name)
        assert (sql.rows(everything), sql.rows("SELECT rolname FROM pg_roles ORDER BY 1")) == before


@pytest.fixture
def owner_url(database_url: str, sql: Sql, names: list[str]) -> str:
    """The URL of the tables' owner, who is no superuser, and may make roles."""
    names.append("boss")
    sql.execute("CREATE ROLE boss LOGIN CREATEROLE")
    sql.execute(
        "DO $$ DECLARE name text; BEGIN"
        " FOR name IN SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " LOOP EXECUTE format('ALTER TABLE %s OWNER TO boss', name); END LOOP; END $$"
    )
    sql.execute("ALTER FUNCTION owners_with_news OWNER TO boss; ALTER FUNCTION is_rewound OWNER TO boss")
    return database_url.replace("taskapi@", "boss@")


def test_whom_row_level_security_does_not_hold_for(
    owner_url: str, names: list[str], database_url: str, sql: Sql
) -> None:
    names += ["exempt", "between"]
    sql.execute("CREATE ROLE between IN ROLE boss")
    for attributes in ("SUPERUSER", "BYPASSRLS", "IN ROLE boss", "NOINHERIT IN ROLE boss", "IN ROLE between"):
        sql.execute(f"CREATE ROLE exempt LOGIN {attributes}")
        for url in (database_url, owner_url):
            refused(url, "exempt", "would not hold for exempt: it is a superuser, has BYPASSRLS, or is a member of")
        sql.execute("DROP ROLE exempt")


def test_the_owner_of_the_tables(owner_url: str, database_url: str) -> None:
    refused(database_url, "boss", "Row-level security would not hold for boss")
    refused(owner_url, "boss", "Row-level security would not hold for boss")
    done = run("taskapi.role", "taskapi", url=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: Row-level security would not hold for taskapi: ")


def test_what_is_no_name(database_url: str) -> None:
    """Of a longer one, PostgreSQL would take the first 63 bytes."""
    for name in ("", "x" * 64, "é" * 32, "a\nb", "\udcff", "pg_app", "public", "none"):
        refused(database_url, name, "NAME must be 1 to 63 printable bytes")


def test_another_schema(database_url: str, sql: Sql) -> None:
    sql.execute("UPDATE taskapi_version SET version_num = '0015'")
    refused(database_url, "app", "The database's schema is not this version's: run `AUTO_MIGRATE=true python -m ")


def test_no_schema(empty_database_url: str) -> None:
    done = run("taskapi.role", "app", url=empty_database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: The database's schema is not this version's: run `")


def test_an_owner_who_may_make_roles(owner_url: str, names: list[str], sql: Sql) -> None:
    done = run("taskapi.role", "app", url=owner_url)
    assert (done.returncode, done.stderr) == (0, "")
    with Sql(url_in(done.stdout)) as of_role:
        assert of_role.value("SELECT row_security_active('tasks')")
    assert all(secured(sql).values())


def test_an_owner_who_may_not_make_roles(owner_url: str, names: list[str], sql: Sql) -> None:
    sql.execute("ALTER ROLE boss NOCREATEROLE")
    refused(
        owner_url, "app", "The role of DATABASE_URL may not make roles. Let one with CREATEROLE run CREATE ROLE for"
    )
    sql.execute("CREATE ROLE app LOGIN")
    assert made(owner_url) is None
    assert all(secured(sql).values())


def test_a_password_that_may_not_be_given_is_never_sent(postgres: Server, owner_url: str, sql: Sql) -> None:
    """A refused statement is in the server's log, with all that it has."""
    sql.execute("CREATE ROLE app LOGIN")
    done = run("taskapi.role", "app", "--password-from", "APP_PASSWORD", url=owner_url, APP_PASSWORD="never-sent")
    assert (done.returncode, done.stdout) == (1, "")
    assert "may not give app a password: let the role that made it do that." in done.stderr
    log = postgres.embedded.log.read_text()
    assert 'ALTER ROLE "app" LOGIN' in log
    assert "never-sent" not in log


@pytest.mark.parametrize("is_on", [True, False])
def test_somebody_who_is_not_the_owner(
    is_on: bool, names: list[str], database_url: str, sql: Sql, new_role: Callable[[str], str]
) -> None:
    """Also where all is on already, and the role is there: rights that one may not give are only warnings."""
    if is_on:
        made(database_url)
        names.append("other")
        sql.execute("CREATE ROLE other LOGIN")
    url = new_role(database_url)
    sql.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO somebody")
    try:
        refused(url, "other", "Only the owner of the tables may do this: use its DATABASE_URL.")
        done = run("taskapi.role", "other", url=url)
    finally:
        sql.execute("DROP OWNED BY somebody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "taskapi: Only the owner of the tables may do this: use its DATABASE_URL.\n"


def test_somebody_without_rights(database_url: str, new_role: Callable[[str], str]) -> None:
    done = run("taskapi.role", "app", url=new_role(database_url))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: Only the owner of the tables may do this: use its DATABASE_URL.")
    assert done.stderr.count("\n") == 1


def test_a_schema_of_somebody_else(owner_url: str, names: list[str], sql: Sql) -> None:
    sql.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO boss")
    with pytest.raises(role.Refused, match="The tables' owner may not let app into the schema public: "):
        made(owner_url)
    assert not is_there(sql, "app")
    sql.execute("GRANT USAGE ON SCHEMA public TO boss WITH GRANT OPTION")
    try:
        assert made(owner_url)
    finally:
        sql.execute("REVOKE ALL ON SCHEMA public FROM boss CASCADE")


def test_no_password_is_printed(database_url: str) -> None:
    done = run("taskapi.role", "app", url=database_url.replace("taskapi@", "nobody:geheim@"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: The role is not ready; run this again: ")
    assert "geheim" not in done.stderr


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("table", ["tasks", "history_totals", "task_quarters"])
def test_a_locked_table(
    table: str, database_url: str, sql: Sql, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gives up, and goes on where it was. No role is there before its password is shown."""
    monkeypatch.setattr(role, "LOCK_TIMEOUT_SQL", "SET LOCAL lock_timeout = '50ms'")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr("sys.argv", ["role", "app"])
    with sql.transaction():
        sql.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
        assert role.main() == 1
    printed = capsys.readouterr()
    sentence = "taskapi: A table stayed locked. Run this again; it goes on where it was.\n"
    assert (printed.out, printed.err) == ("", sentence)
    assert not secured(sql)[table]
    assert not is_there(sql, "app")
    assert role.main() == 0
    password = ext.parse_dsn(url_in(capsys.readouterr().out))["password"]
    assert has_password(sql, "app", password)
    assert all(secured(sql).values())


def test_without_a_name_it_tells_whether_it_holds(names: list[str], database_url: str) -> None:
    made(database_url)
    done = run("taskapi.role", url=database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskapi: row-level security is not active for this role.")
    done = run("taskapi.role", url=database_url.replace("taskapi@", "app@"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Row-level security holds for the role of DATABASE_URL.\n"


def test_without_a_name_and_without_a_schema(empty_database_url: str) -> None:
    done = run("taskapi.role", url=empty_database_url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('taskapi: The database cannot tell: relation "taskapi_version" does not exist')


def test_a_member_of_an_exempt_role_is_refused(names: list[str], database_url: str, sql: Sql) -> None:
    sql.execute("CREATE ROLE app LOGIN")
    sql.execute("CREATE ROLE bypassing BYPASSRLS; GRANT bypassing TO app")
    try:
        with pytest.raises(role.Refused, match="is a member of such a role"):
            made(database_url)
    finally:
        sql.execute("DROP ROLE bypassing")
