"""The day's load: many clients, as fast as they can, or at a rate that does not wait for the answers."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.soak.callers import Caller, Notes
from tests.support.ledger import Ledger

CLIENTS = 200
"""Of the load at a rate: what arrives in an outage finds one that is free."""


@dataclass(frozen=True)
class Saturation:
    """How many operations a second were done, and the share of the machine's cores that was busy: in all, and with the
    process of the clients and followers."""

    rate: float
    busy: float
    clients: float


class Traffic:
    """What all clients were told. Each has a number, and goes on with its task under it."""

    def __init__(self, port: int) -> None:
        self.ledger = Ledger()
        self.notes = Notes()
        self.flowing = threading.Event()
        """While it is not set, nothing arrives."""
        self.flowing.set()
        self._port = port

    def saturate(self, clients: int, seconds: float) -> Saturation:
        """What so many clients get done that wait for nothing but their answers."""
        began, idle, own = time.monotonic(), _idle(), time.process_time()
        before, until = len(self.notes.operations), began + seconds

        def work(caller: Caller) -> None:
            while (now := time.monotonic()) < until:
                caller.operate(now)

        with self._clients(clients, work):
            pass
        took = time.monotonic() - began
        cores = took * (os.cpu_count() or 1)
        done = len(self.notes.operations) - before
        return Saturation(done / took, 1 - (_idle() - idle) / cores, (time.process_time() - own) / cores)

    @contextmanager
    def arriving(self, rate: float) -> Iterator[None]:
        """While inside, so many operations begin a second, whatever becomes of them. Afterwards all are over."""
        arrivals: queue.Queue[float] = queue.Queue()
        ending = threading.Event()

        def arrive() -> None:
            due = time.monotonic()
            while not ending.is_set():
                if not self.flowing.is_set():
                    self.flowing.wait(0.1)
                    due = time.monotonic()
                    continue
                arrivals.put(due)
                due += 1 / rate
                ending.wait(max(0.0, due - time.monotonic()))
            for _ in range(CLIENTS):
                arrivals.put(0.0)

        def work(caller: Caller) -> None:
            while due := arrivals.get():
                caller.operate(due)

        with self._clients(CLIENTS, work):
            thread = threading.Thread(target=arrive)
            thread.start()
            try:
                yield
            finally:
                ending.set()
                thread.join()

    @contextmanager
    def _clients(self, count: int, work: Callable[[Caller], None]) -> Iterator[None]:
        """Clients that work until they have done; afterwards raises what one of them raised."""
        errors: list[BaseException] = []

        def run(number: int) -> None:
            try:
                with Caller(self._port, number, self.ledger, self.notes) as caller:
                    work(caller)
            except BaseException as error:  # noqa: BLE001  (it is raised again below)
                errors.append(error)

        threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]


def _idle() -> float:
    """Seconds that the machine's cores have been idle, together (proc_stat(5))."""
    _, _, _, _, idle, waiting, *_ = Path("/proc/stat").read_text().split(maxsplit=7)
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")
