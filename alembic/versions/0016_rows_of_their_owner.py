"""Policies by which a role sees and writes only the rows of one owner; what a service may still know about all of them

Why: each statement names the owner, and row-level security refuses other owners' rows even to one that does not. The
policies do nothing until row-level security is turned on, which `python -m taskapi.role` does: statements of earlier
versions do not say for whom they run, and would find nothing.
Safe on a live service: yes. Each table is locked for some milliseconds, in a transaction of its own, so that no two
locks are waited for at once. It may be stopped at any time, and started again. Old code goes on.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLES = ("tasks", "task_history", "history_totals", "history_periods", "task_totals", "task_quarters")

# No index serves this condition, and the planner has no figures about it: so the statements' own conditions choose the
# index, and a plan is the same for all owners (decision 13). After a transaction that has set it, the setting is '' and
# not null. Several statements in one message are one transaction.
POLICY = """
SET LOCAL lock_timeout = '5s';
DROP POLICY IF EXISTS owner ON {table};
CREATE POLICY owner ON {table} USING (
    CASE WHEN owner = nullif(current_setting('app.owner', true), '') THEN true ELSE false END
)
"""

NO_POLICY = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS owner ON {table}
"""

# They run with the rights of the tables' owner, so they see all rows. They return owners that the caller has named, and
# a yes or no. With a search_path of their own, nobody's tables take the place of ours.
FUNCTIONS = """
DO $do$
DECLARE
    schema text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'tasks'::regclass);
    role   text;
BEGIN

EXECUTE format($format$
-- Which of these owners have entries that a snapshot of theirs does not see. The two arrays are of one length.
CREATE OR REPLACE FUNCTION owners_with_news(owners text[], snapshots pg_snapshot[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = %1$s, pg_temp AS $$
    SELECT owner
    FROM unnest(owners, snapshots) AS followed (owner, seen)
    WHERE EXISTS (SELECT FROM unseen(followed.owner, followed.seen))
$$
$format$, schema);

EXECUTE format($format$
-- Whether the database was loaded into a younger cluster. Then it has entries or totals of transactions that are still
-- to come here, and nothing says which entries have been counted. Of many owners, it looks at those counted last.
CREATE OR REPLACE FUNCTION is_rewound() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = %1$s, pg_temp AS $$
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
        )
$$
$format$, schema);

REVOKE EXECUTE ON FUNCTION owners_with_news FROM PUBLIC;
-- Whoever may write the history may ask.
FOR role IN
    SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
    FROM pg_class, aclexplode(relacl)
    WHERE pg_class.oid = 'task_history'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION owners_with_news TO %s', role);
END LOOP;

END $do$
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.execute(POLICY.format(table=table))
    op.execute(FUNCTIONS)


def downgrade() -> None:
    op.execute("DROP FUNCTION IF EXISTS is_rewound")
    op.execute("DROP FUNCTION IF EXISTS owners_with_news")
    with op.get_context().autocommit_block():
        for table in TABLES:
            op.execute(NO_POLICY.format(table=table))
