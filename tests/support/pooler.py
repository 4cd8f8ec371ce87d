"""PgBouncer before the run's PostgreSQL, in transaction mode with two connections: the option --pgbouncer."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.owners import LESSER
from tests.support.waiting import wait_until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

CONFIGURATION = """
[databases]
* = host={server} port=5432

[pgbouncer]
listen_port = 6432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
max_client_conn = 1000
"""


class PgBouncer:
    """A pooler for every database of the server whose socket is in `server`."""

    def __init__(self, folder: Path, server: Path) -> None:
        self._folder = folder
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM, "pgbouncer is not installed"
        (self._folder / "users").write_text(f'"taskapi" ""\n"{LESSER}" ""\n')
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(CONFIGURATION.format(server=self._server, folder=self._folder))
        owner = pwd.getpwuid(self._server.stat().st_uid)
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PgBouncer refuses root, as Postgres does; and only the server's own user may enter its socket's folder.
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
            identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._log = self._folder / "pgbouncer.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity
            )
        wait_until(self._is_there, f"PgBouncer answers: {self._log}")

    def _is_there(self) -> bool:
        assert self._process
        assert self._process.poll() is None, f"PgBouncer ended: {self._log.read_text()}"
        # Its socket is there a moment before it listens.
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._folder / ".s.PGSQL.6432")) == 0

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def url(self, direct: str) -> str:
        """The address through the pooler of a database whose direct address is given."""
        return f"{direct.partition('?')[0]}?host={quote(str(self._folder))}&port=6432"
