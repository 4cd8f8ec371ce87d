"""A start that is ended, at any moment, leaves nothing behind: least of all the embedded database."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from taskapi.places import ROOT
from tests.support.embedded import IDENTITIES, Place, new_place, processes
from tests.support.environment import environment_of
from tests.support.service import COMMAND, free_port
from tests.support.waiting import wait_until

Moment = Callable[[Place, str], bool]

MOMENTS: dict[str, Moment] = {
    "nothing is there yet": lambda place, log: "starting the embedded PostgreSQL" in log,
    "initdb runs": lambda place, log: bool(list(place.folder.glob("postgres.new-*/*"))),
    "the server starts": lambda place, log: (place.folder / "postgres" / "postmaster.pid").exists(),
    "the schema is made": lambda place, log: any((place.folder / "run").glob(".s.PGSQL.*")),
    "workers start": lambda place, log: "Booting worker" in log,
}


SHORT = ("initdb runs", signal.SIGTERM)
"""What the short run tries."""

ENDS = [(moment, number) for moment in MOMENTS for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]


@pytest.mark.parametrize(
    ("moment", "number"),
    [pytest.param(*end, marks=[] if end == SHORT else pytest.mark.long) for end in ENDS],
)
def test_an_ended_start_leaves_nothing(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    with new_place(IDENTITIES[0]) as place:
        log = tmp_path / "log"
        with log.open("w") as file:
            service = subprocess.Popen(
                COMMAND,
                cwd=ROOT,
                env=environment_of(TMPDIR=str(tmp_path), PORT=str(free_port()), DATA_DIR=str(place.folder)),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            wait_until(lambda: MOMENTS[moment](place, log.read_text()), moment)
            if number == signal.SIGINT:
                os.killpg(service.pid, number)
            else:
                service.send_signal(number)
            if number == signal.SIGHUP and moment == "workers start":
                # A reload by then.
                wait_until(lambda: "Trying the new version" in log.read_text(), "it is heard")
                service.terminate()
            assert service.wait(60) == 0, log.read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)
            service.wait()
        assert "Traceback" not in log.read_text()
        assert not processes(place.folder)
