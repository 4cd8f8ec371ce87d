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
        CASE WHEN to_regclass('task_history') IS NULL THEN 'task_history' END,
        CASE WHEN to_regclass('history_totals') IS NULL THEN 'history_totals' END,
        CASE WHEN to_regclass('history_periods') IS NULL THEN 'history_periods' END
    ) AS missing
FROM taskapi_version;


-- is_rewound()
-- Whether the database was loaded into a younger cluster. Then it has entries or totals of transactions that are still
-- to come here, and nothing says which entries have been counted. Of many owners, it looks at those counted last.
WITH owners AS MATERIALIZED (
    SELECT 'default' AS owner, '1'::xid8 AS upto
    UNION ALL
    (
        SELECT owner, pg_snapshot_xmax(upto) AS upto
        FROM history_totals
        ORDER BY upto DESC
        LIMIT 100
    )
)
SELECT
    EXISTS (SELECT FROM owners WHERE upto > pg_snapshot_xmax(pg_current_snapshot()))
    OR EXISTS (
        SELECT FROM owners
        CROSS JOIN LATERAL (
            SELECT transaction_id
            FROM task_history
            WHERE owner COLLATE "POSIX" = owners.owner
            ORDER BY transaction_id DESC
            LIMIT 1
        ) AS newest
        WHERE newest.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
    ) AS is_rewound;
