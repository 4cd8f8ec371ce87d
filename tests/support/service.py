"""The service as `make run` starts it: the real gunicorn, its workers and its log, on a free port."""

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from taskapi.places import ROOT
from tests.support.environment import environment_of
from tests.support.waiting import START, wait_until

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]


class ServiceEnded(AssertionError):
    """The service ended before it answered. `returncode` and `log` tell why."""

    def __init__(self, returncode: int, log: str) -> None:
        super().__init__(f"the service ended with {returncode}:\n{log}")
        self.returncode = returncode
        self.log = log


class Service:
    """A running service. Its environment is what is given here and nothing of ours, PATH excepted."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        folder: Path,
        database_url: str = "",
        code: Path = ROOT,
        cwd: Path | None = None,
        output: int | None = None,
    ) -> None:
        """Start the service and return when it answers; raise ServiceEnded if it never will.

        `database_url` is not read here: it is the direct address, for the tests that look behind the service.
        `code` is another version's folder, `cwd` where it is started from. `output` is a descriptor for what it prints,
        which `log` does not have then.
        """
        self.database_url = database_url
        self.port = free_port()
        host = "[::1]" if environment.get("HOST") == "::1" else "127.0.0.1"
        self.url = f"http://{host}:{self.port}{environment.get('SCRIPT_NAME', '')}"
        self.environment = {
            **environment_of(HOME=str(folder), TMPDIR=str(folder), PORT=str(self.port), WEB_CONCURRENCY="2"),
            **environment,
        }
        self._log = folder / f"service-{self.port}.log"
        self._clients: list[httpx.Client] = []
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND[:4], str(code / COMMAND[4]), *COMMAND[5:]] if cwd else COMMAND,
                cwd=cwd or code,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output or log,
                stderr=output or log,
                start_new_session=True,
            )
        try:
            with self.client(timeout=5.0) as client:
                wait_until(lambda: self._answers(client), "the service answers", seconds=START)
            # What answers is the first worker: this line is the last one's.
            if output is None:
                wait_until(lambda: "taskapi is ready" in self.log, "all workers are there", seconds=START)
        except AssertionError as error:
            self.kill()
            error.add_note(self.log)
            raise

    @property
    def log(self) -> str:
        """Everything that the service has printed."""
        return self._log.read_text(errors="replace")

    def client(self, **options: object) -> httpx.Client:
        """An HTTP client of the service, which waits longer than any answer may take; closed with the service."""
        # Without the environment's proxies, and without certificates, which take a while to read.
        defaults: dict[str, object] = {"base_url": self.url, "timeout": 40.0, "trust_env": False, "verify": False}
        client = httpx.Client(**{**defaults, **options})  # type: ignore[arg-type]
        self._clients.append(client)
        return client

    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        trials = self.trials()
        return [child for child in self._children() if child not in trials]

    def trials(self) -> list[int]:
        """The process that tries a new version, if there is one."""
        return [child for child in self._children() if b"taskapi.reload" in _command(child)]

    def _children(self) -> list[int]:
        children: list[int] = []
        # A process that has just ended has no children.
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
                children += map(int, (thread / "children").read_text().split())
        return children

    def hup(self) -> None:
        """Reload; return when every worker is a new one, and all of them are there."""
        before = set(self.workers())
        self.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            now = set(self.workers())
            return len(now) == len(before) and not now & before

        wait_until(replaced, f"every worker is a new one:\n{self.log}", seconds=60)

    def stop(self) -> int:
        """End as a deploy does, with TERM; return the exit code. Nothing of the service is left behind."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it all at once, with kill -9."""
        for client in self._clients:
            client.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self, client: httpx.Client) -> bool:
        if self.process.poll() is not None:
            raise ServiceEnded(self.process.returncode, self.log)
        try:
            return client.get("/api/v1/health").status_code == 200
        except httpx.TransportError:
            return False


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


_reserved: deque[socket.socket] = deque()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, and that nobody gets by chance until it is listened on.

    While a socket is bound to it that does not listen, the kernel gives the port neither to a connection nor to who
    asks for any port. Who names it may have it, with SO_REUSEADDR, as every server does.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    if len(_reserved) > 64:
        _reserved.popleft().close()
    return int(reserved.getsockname()[1])


def has_ipv6() -> bool:
    """Whether this machine has the address ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
