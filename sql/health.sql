-- What the readiness check asks.


-- schema_version()
-- The migration that the database is at, as Alembic keeps it; whether the server takes no writes, as a standby or with
-- default_transaction_read_only; whether row-level security holds for the role: it does not for the tables' owner, for
-- superusers, nor for roles with BYPASSRLS; and the tables that are missing, separated by commas.
SELECT
    version_num,
    current_setting('transaction_read_only')::boolean AS is_read_only,
    coalesce(
        row_security_active(to_regclass('tasks'))
        AND row_security_active(to_regclass('task_history'))
        AND row_security_active(to_regclass('history_totals'))
        AND row_security_active(to_regclass('history_periods')),
        false
    ) AS is_secured,
    concat_ws(
        ', ',
        CASE WHEN to_regclass('tasks') IS NULL THEN 'tasks' END,
        CASE WHEN to_regclass('task_history') IS NULL THEN 'task_history' END,
        CASE WHEN to_regclass('history_totals') IS NULL THEN 'history_totals' END,
        CASE WHEN to_regclass('history_periods') IS NULL THEN 'history_periods' END
    ) AS missing
FROM taskapi_version;


-- is_rewound()
-- Whether the database was loaded into a younger cluster, of all owners.
SELECT is_rewound();
