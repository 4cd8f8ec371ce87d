"""The rule that a title needs a visible character is for what is created, not for what a dump brings back

Why: migration 0002 keeps older titles that it would refuse, and their tasks; but a dump of the data with such a title
could not be loaded again. What is created has the time of its own transaction; what a dump brings has an earlier one.
Safe on a live service: yes. It replaces a function, and locks no table.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ALWAYS = "IF TG_OP = 'INSERT' OR NEW.title <> OLD.title THEN"
WHEN_CREATED = "IF TG_OP = 'INSERT' AND NEW.created_at >= now() OR TG_OP = 'UPDATE' AND NEW.title <> OLD.title THEN"

# The function as it is but for this line.
REPLACE = """
DO $do$
DECLARE
    definition text := pg_get_functiondef('tasks_require_entry()'::regprocedure);
BEGIN
    IF strpos(definition, $line${old}$line$) = 0 THEN
        RAISE EXCEPTION 'the function tasks_require_entry is not as taskapi made it';
    END IF;
    EXECUTE replace(definition, $line${old}$line$, $line${new}$line$);
END $do$
"""


def upgrade() -> None:
    op.execute(REPLACE.format(old=ALWAYS, new=WHEN_CREATED))


def downgrade() -> None:
    op.execute(REPLACE.format(old=WHEN_CREATED, new=ALWAYS))
