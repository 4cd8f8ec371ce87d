"""A PostgreSQL whose tables, or whose log of changes (WAL), are on a small disk of their own, which can be full.

The disk is a tmpfs that is mounted for the server's processes alone, in a mount namespace that ends with them: it is
seen, and left, nowhere else. Root may do that, and another user where the kernel lets him have a user namespace.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from taskapi.places import ROOT
from tests.support.sql import Sql

PROGRAM = """
import contextlib, ctypes, os, shutil, sys
from pathlib import Path
from taskapi.embedded import EmbeddedPostgres

NEW_NAMESPACE, NEW_USER, PRIVATE = 0x20000, 0x10000000, 0x44000
folder, megabytes, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
disk, libc, user, group = folder / "disk", ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()

def demand(result):
    if result:
        sys.exit(os.strerror(ctypes.get_errno()))

demand(libc.unshare(NEW_NAMESPACE | (NEW_USER if user else 0)))
if user:
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
demand(libc.mount(b"none", b"/", None, PRIVATE, None))
disk.mkdir()
demand(libc.mount(b"tmpfs", bytes(disk), b"tmpfs", 0, f"size={megabytes}m,mode=0711".encode()))

server = EmbeddedPostgres(folder / "pg")
# Vacuum would find room now and then, and a write succeed.
settings = {"max_connections": "200", "autovacuum": "off"}
url = server.start(settings)
owner = server.data.stat()
if what == "tables":
    (disk / "tables").mkdir(0o700)
    os.chown(disk / "tables", owner.st_uid, owner.st_gid)
else:
    server.stop()
    shutil.move(server.data / "pg_wal", disk / "pg_wal")
    (server.data / "pg_wal").symlink_to(disk / "pg_wal")
    for path in [disk / "pg_wal", *(disk / "pg_wal").rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    server.start(settings)
print(url, flush=True)
for line in sys.stdin:
    if line == "fill\\n":
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(65536)):
                pass
    elif line == "empty\\n":
        (disk / "filler").unlink()
    elif line == "start\\n":
        server.start(settings)
    print(line, end="", flush=True)
server.stop()
"""

MISSING = (
    "a full disk needs a small one, which this user may not mount here: run the tests as root, or allow unprivileged"
    " user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
)


class SmallDisk:
    """The server, in `folder`; `what` is on the small disk: its "tables" or its "log"."""

    def __init__(self, folder: Path, what: str, *, megabytes: int) -> None:
        """Start the server. Fails, and says what is missing, where this machine does not allow such a disk."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(megabytes), what],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.data = folder / "pg" / "postgres"
        self.url = self._read()
        if not self.url:
            pytest.fail(f"{MISSING}: {self._process.communicate()[1][-2000:]}")
        if what == "tables":
            with Sql(self.url) as sql:
                sql.execute(f"CREATE TABLESPACE small LOCATION '{folder}/disk/tables'")
                sql.execute("CREATE DATABASE small TEMPLATE template0 TABLESPACE small")
            self.url = self.url.replace("@/taskapi?", "@/small?")

    def fill(self) -> None:
        """Leave no byte on the disk."""
        self._tell("fill")

    def empty(self) -> None:
        """Give the room back."""
        self._tell("empty")

    def start(self) -> None:
        """Start the server where it has ended, as whatever watches over a database does."""
        self._tell("start")

    def stop(self) -> None:
        """End the server; the disk goes with it."""
        self._process.communicate(timeout=60)

    def _tell(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._read() == command, self._process.communicate()[1]

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()
