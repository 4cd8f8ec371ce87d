"""What is not needed is not loaded: a start and each of its workers would be slower, and larger."""

import subprocess
import sys

import pytest

from taskapi.places import ROOT
from tests.support.environment import environment_of


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("taskapi.app", {"alembic", "cryptography", "jwt", "mcp"}),
        ("taskapi.migrations", {"alembic", "cryptography", "flask", "gunicorn", "jwt", "mcp", "sqlalchemy"}),
        ("taskapi.mcp.__main__", {"alembic", "flask", "gunicorn", "werkzeug"}),
    ],
)
def test_it_loads_without(module: str, unneeded: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment_of(), capture_output=True, text=True, check=True
    )
    assert not unneeded & set(loaded.stdout.split())
