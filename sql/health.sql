-- What the readiness check asks.


-- schema_version()
-- The migration that the database is at, as Alembic keeps it.
SELECT version_num FROM alembic_version;
