"""A hot standby of the run's PostgreSQL: it follows, answers reads, and takes no writes."""

from pathlib import Path

from tests.support.server import Server


class Standby(Server):
    """A copy of `primary`, made when it starts."""

    def __init__(self, folder: Path, primary: Server) -> None:
        super().__init__(folder)
        self._primary = primary.embedded

    def start(self) -> None:
        self.embedded.folder.mkdir()
        self._primary._identity.own(self.embedded.folder)
        done = self._primary._call(
            "pg_basebackup",
            f"--dbname={self._primary.url}",
            f"--pgdata={self.embedded.data}",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        )
        assert done.returncode == 0, done.stdout
        super().start()
