"""Where the tests' images are: a store of their own, which is kept, so that the base is made once on a machine."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "taskapi", "image")

LARGEST = 4 * 1024**3
"""Bytes. Each change of the code leaves layers behind: a larger store is begun anew."""

OPTIONS = (
    f"--root={FOLDER}/storage",
    f"--runroot={FOLDER}/run",
    f"--storage-driver={os.environ.get('STORAGE_DRIVER', 'overlay')}",
)

BASE = "localhost/python:3.13-slim-trixie"
"""What stands in for python:3.13-slim-trixie, which cannot be pulled everywhere: Debian 13's own Python 3.13."""

PACKAGES = "python3,python3-venv,ca-certificates"


def buildah(*arguments: str) -> str:
    """Run buildah on the store; return the last line that it printed."""
    done = subprocess.run(
        ["buildah", *OPTIONS, *arguments],
        env={"BUILDAH_ISOLATION": "chroot", **os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"buildah {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip().rpartition("\n")[2]


@contextmanager
def opened() -> Iterator[None]:
    """While inside, the store is ours, and has the base. It fails, saying what is missing, where it cannot be."""
    for program in ("buildah", "debootstrap", "runc"):
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"):
            pytest.fail(f"{program} is not installed (on Debian: apt-get install {program})")
    if os.geteuid() != 0:
        pytest.fail("the tests of the image mount file systems and start containers: run them as root")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # What an interrupted run has left mounted.
        buildah("rm", "--all")
        if _size() > LARGEST:
            shutil.rmtree(FOLDER / "storage")
        if not buildah("images", "--quiet", "--filter", f"reference={BASE}"):
            _make_base()
        yield
        buildah("rm", "--all")


def _size() -> int:
    done = subprocess.run(["du", "-s", "--block-size=1", FOLDER], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def _make_base() -> None:
    container = buildah("from", "scratch")
    root = buildah("mount", container)
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", root],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"debootstrap:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    # What slim images leave out, too.
    for kept in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(Path(root, kept))
    buildah("commit", container, BASE)
    buildah("rm", container)
