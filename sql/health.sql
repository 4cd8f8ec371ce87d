-- What the readiness check asks.


-- schema_version()
-- The migration that the database is at, as Alembic keeps it; and whether the server takes no writes, as a standby or
-- with default_transaction_read_only.
SELECT version_num, current_setting('transaction_read_only')::boolean AS is_read_only
FROM alembic_version;
