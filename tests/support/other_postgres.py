"""A PostgreSQL of version 17 or later and with any settings, for what the embedded one does not do."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from taskapi.identity import Identity

INITDB = ("--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
BUILTIN = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")


class OtherPostgres:
    """The server whose data and log are in `folder`, and whose socket is in `run`. `user` runs it: not root."""

    def __init__(self, programs: Path, folder: Path, *, run: Path, user: Identity, port: int = 5432) -> None:
        self.programs = programs
        self.port = port
        self.data = folder / "data"
        self.log = folder / "log"
        self.run = run
        self.user = user
        for place in (folder, run):
            place.mkdir(exist_ok=True)
            user.own(place)

    def create(self, *options: str) -> None:
        self.call("initdb", f"--pgdata={self.data}", *INITDB, *BUILTIN, *options)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Launch the server; return when it answers. It opens a port only where the settings say so."""
        fixed = {
            "unix_socket_directories": str(self.run),
            "port": str(self.port),
            "fsync": "off",
            "listen_addresses": "",
        }
        lines = [f"{name} = '{value}'\n" for name, value in {**fixed, **(settings or {})}.items()]
        with (self.data / "postgresql.auto.conf").open("a") as configuration:
            configuration.writelines(lines)
        self.call("pg_ctl", f"--pgdata={self.data}", f"--log={self.log}", "start")

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.call("pg_ctl", f"--pgdata={self.data}", "--mode=immediate", "stop")

    def url(self, role: str = "postgres", database: str = "postgres") -> str:
        """The address of one of its databases, by its socket."""
        return f"postgresql://{role}@/{database}?host={self.run}&port={self.port}"

    def call(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as its user."""
        done = subprocess.run(
            [*self.user.wrapper, str(self.programs / program), *arguments],
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            check=False,
            **self.user.options,
        )
        log = self.log.read_text() if self.log.exists() else ""
        assert done.returncode == 0, f"{program}: {done.stdout}{log}"
