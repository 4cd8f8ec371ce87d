"""DATABASE_URL: what is taken, and what people paste by mistake, which is refused with a way out and no secret."""

import psycopg2.extensions as ext
import pytest

from taskapi.database.database_url import libpq_url, url_as
from taskapi.errors import ConfigurationError
from taskapi.settings import Settings

SECRET = "hunter2"
URL = f"postgresql://app:{SECRET}@db.example.com/tasks"


def read(url: str) -> dict[str, str]:
    """What libpq understands."""
    parts: dict[str, str] = ext.parse_dsn(libpq_url(Settings(database_url=url)))
    return parts


def refusal(url: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        libpq_url(Settings(database_url=url))
    return str(refused.value)


@pytest.mark.parametrize(
    "scheme",
    [
        "postgresql",
        "postgres",
        "PostgreSQL",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
        "postgres+psycopg",
        "POSTGRES",
    ],
)
def test_whatever_the_scheme_is_called(scheme: str) -> None:
    expected = {"user": "app", "password": SECRET, "host": "db.example.com", "dbname": "tasks"}
    assert read(URL.replace("postgresql", scheme)) == expected


@pytest.mark.parametrize(
    "url",
    [
        f"{URL}?sslmode=require&channel_binding=require",
        f"{URL}?ssl=true",
        f"{URL}?options=-csearch_path%3Dtasks&connect_timeout=2&target_session_attrs=read-write",
        f"{URL}?sslmode=require&",
        "postgresql:///tasks",
        "postgresql:///tasks?host=/run/postgresql&port=5433",
        "postgresql://app@%2Frun%2Fpostgresql/tasks",
        "postgresql://app@[::1]:5432/tasks",
        f"postgresql://app:{SECRET}@one:5432,two:5433/tasks?target_session_attrs=primary",
        "postgresql://app:a b@db.example.com/tasks",
        "postgresql://app:a:b[c]$d%40e'f@db.example.com/tasks",
        f"postgresql://db.example.com/tasks?user=app&password={SECRET}",
        "postgresql://app:your-password@db.example.com/tasks",
    ],
)
def test_what_libpq_takes_is_handed_on(url: str) -> None:
    assert libpq_url(Settings(database_url=url)) == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"DATABASE_URL={URL}", ["follows", "`=`", "variable"]),
        (f"export DATABASE_URL='{URL}'", ["variable"]),
        (f"POSTGRES_URL = {URL}", ["variable"]),
        (f"'{URL}'", ["remove the quotes"]),
        (f'"{URL}"', ["remove the quotes"]),
        (f"\u201c{URL}\u201d", ["remove the quotes"]),
        (f"{URL}?sslmode=require'", ["remove the quotes"]),
        (f"psql '{URL}'", ["psql command", "only the URL"]),
        (f"psql {URL}", ["psql command"]),
        (f"PSQL -h h -p 5432 -W {SECRET}", ["psql command"]),
        (f"jdbc:postgresql://db.example.com/tasks?user=app&password={SECRET}", ["JDBC", "postgresql://user:password@"]),
        (f"prisma://accelerate.example.com/?api_key={SECRET}", ["Prisma's proxy", "database's own URL"]),
        (f"prisma+postgres://accelerate.example.com/?api_key={SECRET}", ["Prisma's proxy"]),
        ("$DATABASE_URL", ["name of a variable", "value"]),
        ("${DATABASE_URL}", ["name of a variable"]),
        ("{{ DATABASE_URL }}", ["name of a variable"]),
        ("%DATABASE_URL%", ["name of a variable"]),
        (f"host=db.example.com user=app password={SECRET}", ["other form", "postgresql://user:password@"]),
        (f"mysql://app:{SECRET}@db.example.com/tasks", ["postgresql://user:password@host/database"]),
        (f"app:{SECRET}@db.example.com/tasks", ["postgresql://user:password@host/database"]),
        (f"https://app:{SECRET}@console.example.com/", ["postgresql://user:password@host/database"]),
        (URL.replace("tasks", "tas\nks"), ["line break"]),
        (URL.replace("tasks", "tas\u200bks"), ["invisible character"]),
        (URL.replace(SECRET, f"{SECRET}\n  {SECRET}"), ["line break"]),
        (URL.replace("@db", "@ db"), ["a space in it"]),
        (URL.replace("/tasks", "/tasks "), ["a space in it"]),
        (f"{URL}\\?sslmode\\=require", ["backslashes"]),
        (f"{URL}?sslmode=require&amp;channel_binding=require", ["&amp;"]),
        (f"postgresql://app:50%{SECRET}@db.example.com/tasks", ["%25"]),
        (f"postgresql://app:{SECRET}@{SECRET}@db.example.com/tasks", ["percent-encoded", "%40"]),
        (f"postgresql://app:{SECRET}/{SECRET}@db.example.com/tasks", ["percent-encoded", "%2F"]),
        (f"postgresql://app:{SECRET}?{SECRET}=1@db.example.com/tasks", ["percent-encoded"]),
        ("postgresql://postgres:[YOUR-PASSWORD]@db.abc.supabase.co:5432/postgres", ["placeholder"]),
        (f"postgresql://postgres:{SECRET}@db.[YOUR-PROJECT-REF].supabase.co/postgres", ["placeholder"]),
        ("postgresql://postgres:<password>@db.example.com/postgres", ["placeholder"]),
        ("postgresql://app:****************@ep-a.eu-central-1.aws.neon.tech/neondb", ["password is hidden"]),
        (f"{URL}?pgbouncer=true&connection_limit=1", ["pgbouncer, connection_limit", "remove", "DB_CONNECTIONS"]),
        (f"{URL}?sslmode=require&supa=base-pooler.x", ["does not know supa;"]),
        (f"{URL}?schema=public", ["does not know schema;", "search_path"]),
        (f"{URL}?ssl=require", ["does not know ssl;", "sslmode"]),
        (f"{URL}?SSLMODE=require", ["does not know SSLMODE;"]),
        (f"{URL}?schema=tasks&password={SECRET}", ["does not know schema;"]),
        (f"{URL}?password=a&{SECRET}=b", ["a parameter behind the ?"]),
        (f"{URL}?-{SECRET}=b", ["a parameter behind the ?"]),
        (f"{URL}?sslmode", ["libpq cannot read it"]),
        (f"postgresql://app:{SECRET}@[::1/tasks", ["libpq cannot read it"]),
        ("postgresql:/app@db/tasks", ["postgresql://user:password@host/database"]),
    ],
)
def test_what_people_paste_by_mistake(url: str, words: list[str]) -> None:
    message = refusal(url)
    assert message.startswith("DATABASE_URL: "), message
    assert all(word in message for word in words), message
    assert SECRET not in message
    assert "\n" not in message


# For another role


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, {"host": "db.example.com", "dbname": "tasks"}),
        (URL.replace("postgresql", "postgres+psycopg2"), {"host": "db.example.com", "dbname": "tasks"}),
        (f"{URL}?sslmode=require&", {"host": "db.example.com", "dbname": "tasks", "sslmode": "require"}),
        (
            f"postgresql://db.example.com/tasks?user=app&sslmode=require&password={SECRET}",
            {"host": "db.example.com", "dbname": "tasks", "sslmode": "require"},
        ),
        (f"{URL}?%75ser=app&pass%77ord={SECRET}", {"host": "db.example.com", "dbname": "tasks"}),
        ("postgresql:///tasks?host=/run/a%26b&port=5433", {"host": "/run/a&b", "port": "5433", "dbname": "tasks"}),
        ("postgresql://app@%2Frun%2Fpostgresql/tasks", {"host": "/run/postgresql", "dbname": "tasks"}),
        ("postgresql://app@[::1]:5432/a%20b", {"host": "::1", "port": "5432", "dbname": "a b"}),
        (
            f"postgresql://app:{SECRET}@one:5432,two:5433/tasks?options=-csearch_path%3Dtasks",
            {"host": "one,two", "port": "5432,5433", "dbname": "tasks", "options": "-csearch_path=tasks"},
        ),
        ("postgresql://app@db.example.com?dbname=tasks", {"host": "db.example.com", "dbname": "tasks"}),
        # Otherwise the database would be that of the role's name.
        ("postgresql://app@db.example.com", {"host": "db.example.com", "dbname": "app/1"}),
        (
            "postgresql://app@db.example.com/?sslmode=require",
            {"host": "db.example.com", "sslmode": "require", "dbname": "app/1"},
        ),
        ("postgresql://", {"dbname": "app/1"}),
    ],
)
@pytest.mark.parametrize("role", ["ann", 'O\'Brien "x" %s é', "a:b@c/d?e#f&g=h", "$x", "[your]", "'"])
def test_the_same_for_another_role(url: str, expected: dict[str, str], role: str) -> None:
    for password in ("", "a/b:c@d%e?"):
        given = {"password": password} if password else {}
        found = url_as(Settings(database_url=url), role, password, "app/1")
        assert read(found) == {"user": role, **given, **expected}
        assert SECRET not in found
