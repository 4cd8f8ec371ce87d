"""What is looked at all day: the connections at each server, and the memory of the service's processes."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psycopg2

from tests.support.closing import Closing
from tests.support.service import Service
from tests.support.sql import Sql

# A migration's count, too.
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'taskapi%'
"""

SETTLED = 60.0
"""Seconds after which a process is as large as it should stay."""

WINDOW = 20.0
"""Seconds over which a size is the median."""


@dataclass(frozen=True)
class Growth:
    """A process's anonymous memory in bytes: a minute after its start, and at its end."""

    name: str
    seconds: float
    settled: float
    last: float

    @property
    def share(self) -> float:
        """How much it has grown: 0.05 is 5 %."""
        return self.last / self.settled - 1


class Watch(Closing):
    """Looks from now on: at the connections ten times a second, at the memory once."""

    def __init__(self, service: Service, urls: list[str]) -> None:
        self.connections: dict[str, list[tuple[float, int]]] = {url: [] for url in urls}
        """At each server, when and how many."""
        self._service = service
        self._sizes: dict[int, list[tuple[float, int]]] = {}
        self._ending = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._look, args=(look,), daemon=True)
            for look in (*(partial(self._count, url) for url in urls), self._weigh)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def growths(self) -> list[Growth]:
        """Of each process that has lived for three minutes; the first one is gunicorn's master."""
        found = []
        for pid, sizes in self._sizes.items():
            begin, end = sizes[0][0], sizes[-1][0]
            if end - begin > 3 * SETTLED:
                after = begin + SETTLED
                settled = median(size for moment, size in sizes if after <= moment <= after + WINDOW)
                last = median(size for moment, size in sizes if moment >= end - WINDOW)
                name = "the master" if pid == self._service.process.pid else "a worker"
                found.append(Growth(name, end - begin, settled, last))
        return found

    def _look(self, look: Callable[[], None]) -> None:
        try:
            look()
        except BaseException as error:  # noqa: BLE001  (close() raises it again)
            self._errors.append(error)

    def _count(self, url: str) -> None:
        while not self._ending.wait(0.1):
            # It may be down, or end meanwhile.
            with suppress(psycopg2.Error), Sql(url) as sql:
                while not self._ending.wait(0.1):
                    self.connections[url].append((time.monotonic(), sql.value(CONNECTIONS)))

    def _weigh(self) -> None:
        while not self._ending.wait(1):
            for pid in (self._service.process.pid, *self._service.workers()):
                with suppress(OSError):
                    self._sizes.setdefault(pid, []).append((time.monotonic(), anonymous(pid)))


def anonymous(pid: int) -> int:
    """Bytes of memory that are no file's, whoever shares them (proc_pid_smaps(5)): other processes do not move it."""
    found = re.search(r"^Anonymous: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024
