"""A PostgreSQL that asks everybody but the tests' superuser for a password."""

from tests.support.server import Server
from tests.support.sql import Sql


def ask_for_passwords(server: Server) -> None:
    """From the next connection on."""
    (server.embedded.data / "pg_hba.conf").write_text("local all taskapi trust\nlocal all all scram-sha-256\n")
    with Sql(server.embedded.url) as sql:
        sql.execute("SELECT pg_reload_conf()")
