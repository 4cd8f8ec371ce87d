"""Ends all processes of a folder, and removes it, once its standard input ends: when the tests say so, or are gone."""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path


def processes(folder: Path) -> list[int]:
    """The processes that work in the folder or below it, and those whose temporary files are there."""
    marker = f"TMPDIR={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Those that have just ended, and those of others.
        with suppress(OSError):
            works_here = (process / "cwd").readlink().is_relative_to(folder)
            if works_here or marker in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def signal_all(folder: Path, number: signal.Signals) -> None:
    """Send the signal to each of them once, and to those that they start meanwhile."""
    reached: set[int] = set()
    while new := set(processes(folder)) - reached:
        for process in new:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        reached |= new


if __name__ == "__main__":
    place = Path(sys.argv[1])
    sys.stdin.read()
    signal_all(place, signal.SIGKILL)
    shutil.rmtree(place, ignore_errors=True)
