"""Whether the database can serve."""

from taskapi.errors import DatabaseRewound, ReadOnly, SchemaMismatch
from taskapi.repository.base import Base


class Health(Base):
    """The statements of sql/health.sql."""

    def schema_version(self) -> tuple[str, bool]:
        """The migration of the database's schema, and whether row-level security holds for the service's role.

        Raises ReadOnly if the server takes no writes, SchemaMismatch if a table is missing.
        """
        version, is_read_only, is_secured, missing = self._read("schema_version")
        if is_read_only:
            raise ReadOnly
        if missing:
            raise SchemaMismatch(
                f"The database has no table {missing.decode()}, though its schema is at {version.decode()}: restore it"
                " from a backup."
            )
        return version.decode(), is_secured

    def check_transactions(self) -> None:
        """Raise DatabaseRewound if the database was loaded into a younger cluster than its own."""
        if self._read("is_rewound")[0]:
            raise DatabaseRewound
