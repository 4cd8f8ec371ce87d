-- What the readiness check asks.


-- schema_version()
-- The migration that the database is at, as Alembic keeps it; whether the server takes no writes, as a standby or with
-- default_transaction_read_only; and the tables that are missing, separated by commas.
SELECT
    version_num,
    current_setting('transaction_read_only')::boolean AS is_read_only,
    concat_ws(
        ', ',
        CASE WHEN to_regclass('tasks') IS NULL THEN 'tasks' END,
        CASE WHEN to_regclass('task_history') IS NULL THEN 'task_history' END
    ) AS missing
FROM taskapi_version;
