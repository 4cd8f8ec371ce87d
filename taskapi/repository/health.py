"""Whether the database can serve."""

from typing import cast

from taskapi.errors import DatabaseRewound, ReadOnly, SchemaMismatch
from taskapi.repository.base import Base


class Health(Base):
    """The statements of sql/health.sql."""

    def schema_version(self) -> str:
        """The migration of the database's schema.

        Raises ReadOnly if the server takes no writes, SchemaMismatch if a table is missing.
        """
        version, is_read_only, missing = self._read("schema_version")
        if is_read_only:
            raise ReadOnly
        if missing:
            raise SchemaMismatch(
                f"The database has no table {missing.decode()}, though its schema is at {version.decode()}: restore it"
                " from a backup."
            )
        return cast(bytes, version).decode()

    def check_transactions(self) -> None:
        """Raise DatabaseRewound if the database was loaded into a younger cluster than its own."""
        if self._read("is_rewound")[0]:
            raise DatabaseRewound
