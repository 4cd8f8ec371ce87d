"""Clients that take a large answer slowly cost a worker the answers that they are being sent, and nothing for good."""

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support import raw
from tests.support.sql import Sql
from tests.support.waiting import wait_until

FILL = """
    SET session_replication_role = replica;  -- the triggers ask for entries, which nobody reads here
    INSERT INTO tasks (title, description, created_at, updated_at)
    SELECT 'a task', repeat('x', 5000), now(), now() FROM generate_series(1, 3000)
"""


def memory(pid: int) -> int:
    """Bytes of memory that a process has now (VmRSS, proc(5))."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def test_a_worker_holds_their_answers_and_lets_them_go(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    clients = sized(12, 30)
    service = start_service(WEB_CONCURRENCY="1", DB_CONNECTIONS="10")
    with Sql(service.database_url) as sql:
        sql.execute(FILL)
    (worker,) = service.workers()
    before = memory(worker)
    with ExitStack() as stack:
        readers = [stack.enter_context(socket.socket()) for _ in range(clients)]
        for connection in readers:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(40)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(raw.request("GET", "/api/v1/tasks"))
        # What has begun to come is all there, in the worker.
        heads = [connection.recv(1000) for connection in readers]
        length = int(re.search(rb"Content-Length: (\d+)", heads[0])[1])  # type: ignore[index]
        assert length > 15_000_000
        more = memory(worker) - before
        assert more < (clients + 1) * length
    wait_until(lambda: memory(worker) - before < length, "the memory has come back")
    left = memory(worker) - before
    figure(
        f"{clients} readers of {length / 2**20:.1f} MiB: {more >> 20} MiB more for {clients * length >> 20} MiB of"
        f" answers, {left / 2**20:.1f} MiB more after them"
    )
