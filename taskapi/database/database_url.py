"""DATABASE_URL as libpq reads it. Common mistakes get an error sentence without the password."""

import re
from urllib.parse import quote, unquote

import psycopg2
import psycopg2.extensions as ext

from taskapi.errors import ConfigurationError
from taskapi.settings import Settings

FORM = "postgresql://user:password@host/database"

ENCODE = f"special characters in the password must be percent-encoded: @ as %40, / as %2F, ? as %3F; give {FORM}"

# SQLAlchemy's driver name says nothing about the server.
SCHEME = re.compile(r"\Apostgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)

# After an unencoded @ or /, the rest of a password would look like a host, a port or a database, and errors quote them.
SHAPE = re.compile(r"\w+://(?:[^@/?]*@)?([^@?]*)(?:\?(.*))?")

MISTAKES = [
    (r"(export\s+|set\s+)?\w+\s*=\s*\S*://", "it begins with the name of a variable; give only what follows the `=`"),
    (r"psql\b", "it is a psql command; give only the URL in it, without the quotes"),
    (r"['\"`‘’“”]|.*['\"`‘’“”]$", "remove the quotes around it; in a password, a ' is written %27"),
    (r"jdbc:", f"it is a JDBC URL; write it as {FORM}"),
    (r"prisma\b", "it leads to Prisma's proxy, which is no PostgreSQL; give the database's own URL"),
    (r"\$|%\w+%$|\{\{", "it is the name of a variable; give its value"),
    (r"(host|hostaddr|port|dbname|user|password|service)\s*=", f"it is in libpq's other form; write it as {FORM}"),
    (r"(?!postgres(ql)?://)", f"it does not begin with postgresql://; give {FORM}"),
    (r".*\\[?&=]", "remove the backslashes before ?, & and =, which a shell has put there"),
    (r".*&amp;", "it is from a web page's source; write & for each &amp;"),
    (r".*%(?![0-9a-f]{2})", "a % in it is not followed by two hexadecimal digits; a % in a password is written %25"),
    (
        r".*[\[<{][^\]>}@/?]*(your|password|project)[^\]>}@/?]*[\]>}]",
        "put your own value in place of [placeholders]",
    ),
    (r"\w+://[^@/?]*:[*•]{3,}@", "its password is hidden behind stars; copy it with the password shown"),
]
"""Patterns for the start of the text, in any case, and what is wrong with it. The first match counts."""

PARAMETERS = {
    "pgbouncer": "a pooler is noticed without it",
    "connection_limit": "DB_CONNECTIONS is the limit",
    "pool_timeout": "DB_POOL_TIMEOUT is for that",
    "schema": "the schema is the first of the role's search_path",
    "currentSchema": "the schema is the first of the role's search_path",
    "connection_timeout": "connect_timeout is for that",
    "sslaccept": "sslmode is for that",
    "ssl": "sslmode=require is for that",
}
"""Parameters of other programs' URLs, and what to use instead."""


def libpq_url(settings: Settings) -> str:
    """`settings.database_url` as libpq reads it.

    Raises ConfigurationError if libpq cannot read it, with what is wrong and how to fix it.
    """
    if not settings.database_url:
        raise ConfigurationError(f"DATABASE_URL is not set: give {FORM}.")
    url = SCHEME.sub("postgresql://", settings.database_url)
    if mistake := _mistake(url):
        raise ConfigurationError(f"DATABASE_URL: {mistake}.")
    return url


def url_as(settings: Settings, role: str, password: str = "", database: str = "") -> str:
    """The same URL for another role; without a password where the server asks for none.

    A URL without a database leads to that of the role's name: then it gets this `database`.
    """
    url = libpq_url(settings)
    address, _, query = url.partition("?")
    place = address.removeprefix("postgresql://").rpartition("@")[2]
    parts = [part for part in query.split("&") if part and _name(part) not in ("user", "password")]
    if database and not ext.parse_dsn(url).get("dbname"):
        parts = [part for part in parts if _name(part) != "dbname"] + [f"dbname={quote(database, safe='')}"]
    secret = f":{quote(password, safe='')}" if password else ""
    return f"postgresql://{quote(role, safe='')}{secret}@{place}{'?' if parts else ''}{'&'.join(parts)}"


def _name(parameter: str) -> str:
    return unquote(parameter.partition("=")[0])


def without_password(error: Exception, settings: Settings) -> str:
    """The error in one line without the password, which libpq may quote."""
    password = ext.parse_dsn(libpq_url(settings)).get("password")
    line = " ".join(str(error).split())
    return line.replace(password, "***") if password else line


def _mistake(url: str) -> str | None:
    """What is wrong with the URL, or None. Never in libpq's words, which may quote the password."""
    if not url.isprintable():
        return "there is a line break or an invisible character in it; copy it again, in one line"
    for pattern, what in MISTAKES:
        if re.match(pattern, url, re.IGNORECASE):
            return what
    shape = SHAPE.fullmatch(url)
    if not shape:
        return ENCODE
    if " " in shape[1]:
        return "there is a space in it; remove it"
    return _unknown_parameters(shape[2] or "") or (None if _parses(url) else f"libpq cannot read it; give {FORM}")


def _unknown_parameters(query: str) -> str | None:
    parameters = dict(part.partition("=")[::2] for part in query.split("&") if part)
    # libpq accepts only ssl=true, which is JDBC's.
    values = {"ssl": parameters.get("ssl")}
    unknown = [name for name in parameters if not _parses(f"postgresql:///?{name}={values.get(name, '')}")]
    if not unknown:
        return None
    if "@" in query:
        return ENCODE
    # An apparent parameter may be the rest of a password with an & in it.
    if not set(unknown) <= PARAMETERS.keys() and ("password" in parameters or not all(map(str.isidentifier, unknown))):
        return "PostgreSQL does not know a parameter behind the ?; remove it"
    hints = dict.fromkeys(PARAMETERS[name] for name in unknown if name in PARAMETERS)
    return "; ".join([f"PostgreSQL does not know {', '.join(unknown)}; remove that from the URL", *hints])


def _parses(url: str) -> bool:
    try:
        ext.parse_dsn(url)
    except psycopg2.Error:
        return False
    return True
