"""A PostgreSQL for containers: reached over TCP, and by roles that have to know their passwords."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.embedded import answers
from tests.support.folders import short_folder
from tests.support.passwords import ask_for_passwords
from tests.support.proxy import before_database
from tests.support.server import Server
from tests.support.sql import Sql


class Passworded:
    """The server. `port` leads to it."""

    def __init__(self, server: Server, port: int) -> None:
        self.port = port
        self._server = server

    def sql(self, database: str = "taskapi") -> Sql:
        """A connection of the superuser."""
        return Sql(self._server.url(database))

    def url(self, role: str, password: str, database: str = "taskapi") -> str:
        """The address that a container has."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, *attributes: str) -> Iterator[str]:
        """A new, empty database; yields the URL of its owner, a role of its own with these attributes."""
        with self._server.database() as name, self.sql() as sql:
            role = f"owner_of_{name}"
            sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'geheim' {' '.join(attributes)}")
            sql.execute(f"ALTER DATABASE {name} OWNER TO {role}")
            yield self.url(role, "geheim", name)


@contextmanager
def passworded() -> Iterator[Passworded]:
    """The server, from its start to its end."""
    with short_folder() as folder:
        server = Server(folder / "pg")
        server.start()
        try:
            ask_for_passwords(server)
            with Sql(server.embedded.url) as sql:
                sql.execute("CREATE ROLE probe LOGIN")
            proxy, through = before_database(server.embedded.url)
            with proxy:
                probe = through.replace("//taskapi@", "//probe@")
                while answers(probe):
                    pass
                yield Passworded(server, proxy.port)
        finally:
            server.stop()
