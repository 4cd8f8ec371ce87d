"""A name server that stops answering: everybody else is served, and requests for the database end in time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskapi.places import ROOT

PROGRAM = """
import fcntl, socket, struct, sys, threading, time
from pathlib import Path
from tests.support.load import Client, at_once
from tests.support.proxy import before_database
from tests.support.service import Service
from tests.support import backends
from tests.support.sql import Sql

direct, folder = sys.argv[1:]
interface = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
# SIOCSIFFLAGS: the namespace's own loopback is down, until IFF_UP.
fcntl.ioctl(interface, 0x8914, struct.pack("16sh", b"lo", 1))
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
answering = True

def serve():
    while True:
        query, client = server.recvfrom(4096)
        if answering:
            end = query.index(b"\\0", 12) + 5
            is_a = query[end - 4 : end - 2] == b"\\0\\1"
            head = query[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if is_a else b"\\0\\0") + b"\\0\\0\\0\\0"
            found = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4\\x7f\\0\\0\\1"
            server.sendto(head + query[12:end] + (found if is_a else b""), client)

threading.Thread(target=serve, daemon=True).start()
proxy, url = before_database(direct)
with proxy, Sql(direct) as sql:
    service = Service({"DATABASE_URL": url.partition("@")[0] + f"@db.example:{proxy.port}/" + sql.database,
                       "REQUEST_DEADLINE": "5", "DB_POOL_TIMEOUT": "1"}, folder=Path(folder))
    try:
        with Client(service.port) as client:
            assert client.create("by name").status == 201
            answering = False
            backends.terminate(sql)
            refused = []
            asking = threading.Thread(
                target=lambda: refused.extend(at_once(service.port, 30, lambda c, n: c.request("GET", "/history"))))
            asking.start()
            slowest = 0.0
            while asking.is_alive():
                answer = client.request("GET", "/health")
                assert answer.status == 200
                slowest = max(slowest, answer.seconds)
                time.sleep(0.02)
            assert {answer.status for answer in refused} == {503}
            assert max(answer.seconds for answer in refused) < 8
            assert slowest < 1, slowest
            assert "could not translate host name" in service.log
            answering = True
            while client.request("GET", "/tasks").status != 200:
                time.sleep(0.1)
        assert service.stop() == 0
    finally:
        service.kill()
"""


def test_a_name_server_that_falls_silent(database_url: str, tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if not unshare:
        pytest.fail("unshare is not installed: apt-get install util-linux")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    # A network and a /etc/resolv.conf of its own; without root, in a user namespace.
    options = ["--mount", "--net"] if os.geteuid() == 0 else ["--mount", "--net", "--map-root-user"]
    script = 'mount --bind "$1" /etc/resolv.conf && exec "$2" -c "$3" "$4" "$5"'
    ended = subprocess.run(
        [unshare, *options, "sh", "-c", script, "sh", resolv, sys.executable, PROGRAM, database_url, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
