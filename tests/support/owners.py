"""Many owners: their tokens, and the role that row-level security holds for."""

from taskapi.revision import current, head
from taskapi.role import make_role
from taskapi.settings import Settings
from taskapi.token import make_token
from tests.support.sql import Sql

SECRET = "a secret that is long enough for every one of them, and for HS512, too"

LESSER = "lesser"
"""The role. It stays in the run's PostgreSQL; what it may do ends with each database."""


def secured(url: str) -> str:
    """Turn row-level security on in the database of a direct URL, and return its URL for the lesser role.

    That URL stays as it is.
    """
    if f"//{LESSER}@" in url:
        return url
    with Sql(url) as sql:
        # The test may have given the database an idle_in_transaction_session_timeout that no busy machine keeps.
        sql.execute("SET idle_in_transaction_session_timeout = 0")
        sql.connection.autocommit = False
        make_role(sql.connection, LESSER)
    return url.replace("//taskapi@", f"//{LESSER}@")


def is_current(url: str) -> bool:
    """Whether the database has the newest schema, so that the role can be made."""
    with Sql(url) as sql:
        return current(sql.connection) == head()


def token(sub: str, lifetime: int = 3600) -> str:
    """A token for a service with JWT_SECRET=SECRET, for so many seconds."""
    return make_token(Settings(jwt_secret=SECRET), sub, lifetime)


def bearer(sub: str) -> dict[str, str]:
    """The header of a request of this owner's."""
    return {"Authorization": f"Bearer {token(sub)}"}
