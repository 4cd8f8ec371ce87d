"""Runs migrations as a deploy does, each in a process of its own, and shows what they made of a database."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from taskapi.embedded import find_binaries
from taskapi.places import ROOT
from taskapi.revision import head
from tests.support.environment import environment_of

NEXT = f"{int(head()) + 1:04}"
"""The migration that `next_version` has, and this code has not."""

NEXT_MIGRATION = f'''"""Tasks have a colour"""

from alembic import op

revision = "{NEXT}"
down_revision = "{head()}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE tasks ADD COLUMN colour text")


def downgrade() -> None:
    op.execute("ALTER TABLE tasks DROP COLUMN colour")
'''


def run(*command: str, url: str, code: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python module with its arguments on the database, and nothing else in its environment."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=code,
        env=environment_of(DATABASE_URL=url, **environment),
        capture_output=True,
        text=True,
        check=False,
    )


def migrate(url: str, *, code: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What the service does at its start."""
    return run("taskapi.migrations", url=url, code=code, **environment)


def alembic(*arguments: str, url: str, code: Path = ROOT) -> str:
    """Run Alembic's own command; return what it printed."""
    done = run("alembic", *arguments, url=url, code=code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_code(folder: Path) -> Path:
    """A copy of all that the service is made of, to be changed."""
    for name in ("taskapi", "alembic", "sql"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alembic.ini", "gunicorn.conf.py", "wsgi.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def next_version(folder: Path) -> Path:
    """A copy that has one migration more."""
    copy_code(folder)
    (folder / "alembic" / "versions" / f"{NEXT}_tasks_have_a_colour.py").write_text(NEXT_MIGRATION)
    return folder


def program(name: str, *arguments: str, script: str = "") -> str:
    """Run one of PostgreSQL's own programs, of the server's version; return what it printed."""
    command = [str(find_binaries() / name), *arguments]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def psql(url: str, script: str) -> None:
    """Run a script as a person would: statement by statement, where it opens no transaction itself."""
    program("psql", "-Xq", "-v", "ON_ERROR_STOP=1", url, script=script)


def schema(url: str) -> str:
    """The database's whole schema as pg_dump writes it."""
    dump = subprocess.run(
        [str(find_binaries() / "pg_dump"), "--schema-only", "--no-owner", url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # A random key in each dump.
    return re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.MULTILINE)
