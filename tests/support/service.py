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

    def __init__(self, environment: Mapping[str, str], *, folder: Path, database_url: str = "") -> None:
        """Start the service and return when it answers; raise ServiceEnded if it never will.

        `database_url` is not read here: it is the direct address, for the tests that look behind the service.
        """
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "2",
            **environment,
        }
        self._log = folder / f"service-{self.port}.log"
        self._clients: list[httpx.Client] = []
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                COMMAND,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, "the service answers", seconds=START)
            # What answers is the first worker: this line is the last one's.
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
        # Without the environment's proxies.
        defaults: dict[str, object] = {"base_url": self.url, "timeout": 40.0, "trust_env": False}
        client = httpx.Client(**{**defaults, **options})  # type: ignore[arg-type]
        self._clients.append(client)
        return client

    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
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

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise ServiceEnded(self.process.returncode, self.log)
        try:
            return httpx.get(f"{self.url}/api/v1/health", trust_env=False, timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False


_reserved: deque[socket.socket] = deque(maxlen=64)


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, and that nobody gets by chance until it is listened on.

    While a socket is bound to it that does not listen, the kernel gives the port neither to a connection nor to who
    asks for any port. Who names it may have it, with SO_REUSEADDR, as every server does.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    return int(reserved.getsockname()[1])
