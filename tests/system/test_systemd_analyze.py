"""systemd finds no fault in the units of deploy/. tests/systemd runs them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from taskapi.places import ROOT

UNITS = sorted((ROOT / "deploy").glob("*.service"))

PROGRAMS = ("opt/taskapi/.venv/bin/gunicorn", "opt/taskapi/.venv/bin/python", "bin/kill")
TARGETS = ("sysinit", "basic", "shutdown", "network-online", "multi-user")

EXPOSURE = 12
"""Of 100, by systemd's own count: what is left is that the service has a network, sockets and /usr, as it needs."""


def analyze(*arguments: object) -> str:
    """What systemd-analyze finds; empty if that is nothing."""
    if not shutil.which("systemd-analyze"):
        pytest.fail("systemd is not installed (on Debian: apt-get install systemd)")
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode or done.stderr else ""


def test_the_units_have_no_fault(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "systemd" / "system"
    folder.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, folder)
    for name in TARGETS:
        (folder / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    for name in PROGRAMS:
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    assert UNITS
    assert analyze("verify", "--man=no", f"--root={tmp_path}", *(unit.name for unit in UNITS)) == ""


def test_the_migration_is_hardened_like_the_service() -> None:
    """The hardening is what begins with the user of its own."""
    service, migration = (
        (ROOT / "deploy" / name).read_text().partition("DynamicUser=yes\n")[2].partition("\n[Install]")[0]
        for name in ("taskapi.service", "taskapi-migrate.service")
    )
    assert service.replace("User=taskapi\n", "").split() == migration.split()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_little_is_exposed(unit: Path) -> None:
    assert analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", unit) == ""
