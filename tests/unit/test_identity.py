"""Root's embedded database below a folder that only root may enter: in every way that a machine may leave open."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskapi import identity
from taskapi.embedded import EmbeddedError, EmbeddedPostgres
from tests.support.embedded import AS_ROOT, Place, copy_wheel, new_place, postmaster, processes
from tests.support.folders import short_folder
from tests.support.sql import Sql

pytestmark = pytest.mark.skipif(
    not AS_ROOT, reason="root only: a normal user's PostgreSQL runs as that user, and has nothing to choose"
)

READ, READ_AND_WRITE = 1 << 2, 1 << 1  # CAP_DAC_READ_SEARCH and CAP_DAC_OVERRIDE
NOBODY = pwd.getpwnam("nobody").pw_uid


def allowed(*command: str) -> bool:
    """Whether this machine lets us do that; a container, for one, may not."""
    try:
        return subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


MACHINES: list[tuple[list[str], int, int]] = []
"""What starts a process as on some machine; and as whom the server is seen to run there, and with what rights."""

if allowed("setpriv", "--inh-caps=+dac_read_search"):
    MACHINES.append(([], NOBODY, READ))
if allowed("setpriv", "--inh-caps=+dac_override"):
    MACHINES.append((["setpriv", "--bounding-set=-dac_read_search"], NOBODY, READ_AND_WRITE))  # most containers
if allowed("unshare", "--user", f"--map-user={NOBODY}"):
    MACHINES.append((["setpriv", "--bounding-set=-setuid,-setgid,-setpcap"], 0, 0))

CLOSED = 0o700
if not MACHINES:  # Nothing helps here, as the last test has it: what follows is of folders that others may enter.
    CLOSED = 0o711
    MACHINES.append(([], NOBODY, 0))


@pytest.fixture(scope="module")
def closed_wheel() -> Iterator[dict[str, str]]:
    """The environment of a process whose PostgreSQL is below a folder that only root may enter."""
    with short_folder() as folder:
        folder.chmod(CLOSED)
        copy_wheel(folder)
        yield {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture
def place() -> Iterator[Place]:
    """A place for data below a folder that only root may enter."""
    with new_place("root") as place:
        place.folder.parent.chmod(CLOSED)
        yield place


def write(url: str, text: str) -> None:
    with Sql(url) as sql:
        sql.execute("CREATE TABLE IF NOT EXISTS kept (text text)")
        sql.execute("INSERT INTO kept VALUES (%s)", (text,))


def written(url: str) -> list[str]:
    with Sql(url) as sql:
        return [text for (text,) in sql.rows("SELECT text FROM kept ORDER BY text")]


def runs_as(folder: Path) -> tuple[int, int]:
    """The server's user and rights, as they are seen outside."""
    fields = dict(line.split(":\t") for line in Path(f"/proc/{postmaster(folder)}/status").read_text().splitlines())
    return int(fields["Uid"].split()[0]), int(fields["CapEff"], 16)


def test_it_runs_on_every_machine_and_data_may_move_between_them(
    place: Place, closed_wheel: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (wrapper, user, rights) in enumerate(MACHINES):
        process = place.start(environment=closed_wheel, wrapper=wrapper)
        write(process.url(), f"{number}")
        assert runs_as(place.folder) == (user, rights)
        process.stop()
        assert not processes(place.folder)
        assert place.folder.parent.stat().st_mode & 0o777 == CLOSED
    # And back from root's files to nobody's, where there are no user namespaces.
    monkeypatch.setattr(identity, "_with_namespace", lambda user, group: [])
    place.folder.parent.chmod(0o711)
    server = EmbeddedPostgres(place.folder)
    write(server.start(), "last")
    assert written(server.url) == [*(f"{number}" for number in range(len(MACHINES))), "last"]
    assert runs_as(place.folder)[0] == NOBODY
    server.stop()


def test_what_was_killed_is_taken_over(place: Place, closed_wheel: dict[str, str]) -> None:
    wrapper, user, rights = MACHINES[-1]
    first = place.start(environment=closed_wheel, wrapper=wrapper)
    write(first.url(), "kept")
    first.kill()
    # Whoever can do more joins the server as it is, and ends it.
    second = place.start(environment=closed_wheel)
    assert written(second.url()) == ["kept"]
    assert runs_as(place.folder) == (user, rights)
    second.stop()
    assert not processes(place.folder)


def test_no_more_rights_than_are_needed(place: Place) -> None:
    place.folder.parent.chmod(0o711)
    program = shutil.which("true")
    assert program
    assert identity.choose(Path(program), place.folder.parent, place.folder).wrapper == ()


def test_a_persons_data_stays_theirs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not even where root could run it in no other way.
    monkeypatch.setattr(identity, "_with_setuid", lambda user, group: [])
    place.folder.parent.chmod(0o700)
    data = place.folder / "postgres"
    data.mkdir(parents=True)
    os.chown(data, 1, 1)
    with pytest.raises(EmbeddedError, match=r"may not be entered by uid 1, .*set DATABASE_URL"):
        EmbeddedPostgres(place.folder).start()
    assert data.stat().st_uid == 1


def test_where_nothing_helps_the_folder_is_named_and_left_as_it_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such as a system without util-linux.
    monkeypatch.setattr(identity, "PROGRAMS", "/nonexistent")
    parent = place.folder.parent
    parent.chmod(0o700)
    with pytest.raises(EmbeddedError, match=f"{parent} may not be entered by uid {NOBODY}, .*set DATABASE_URL"):
        EmbeddedPostgres(place.folder).start()
    assert parent.stat().st_mode & 0o777 == 0o700
    assert not processes(place.folder)
