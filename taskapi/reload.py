"""Reloads that cannot end the service: a new version is tried in a process of its own before any worker has to go.

`Reload` is part of gunicorn's master; `python -m taskapi.reload` is the trial. The name stays: the master of an older
version starts it in the newer one's folder.
"""

import logging.config
import os
import signal
import subprocess
import sys
import time
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from taskapi.logs import take_over_prints
from taskapi.places import ROOT
from taskapi.settings import METRICS_FOLDER_VARIABLE, SLOTS_VARIABLE

PASSED = b"passed"
"""What the trial tells the master. Its exit code would not do: gunicorn may wait for any child before we can."""


class Reload:
    """What gunicorn's master does on HUP, and with workers that do not start.

    On HUP it starts the trial, and goes on with its work: ends when told to, replaces workers that die. When the
    trial has passed it reloads as gunicorn does. Otherwise nothing changes, and HUP may be repeated.
    """

    def __init__(self, server: Any, migrations: set[str] | None = None) -> None:
        """`migrations`: the files of those that are done. None: all that there are."""
        self._server = server
        self._migrations = _migrations() if migrations is None else migrations
        self.tried = self._migrations
        self._trial: subprocess.Popen[bytes] | None = None
        self._verdict = -1
        self._again = False
        self._passed = False
        # gunicorn's hook on_reload is called when the new configuration has been read, and there is none for workers
        # that fail.
        server.handle_hup = self.on_hup
        server.reap_workers = self.reap_workers

    def on_hup(self) -> None:
        """Begin a trial; when one has passed, which calls this again, reload."""
        if self._passed:
            self._passed = False
            Arbiter.handle_hup(self._server)
        elif self._trial is None:
            self._begin()
        else:
            # What is being tried is old by now, or hangs.
            self._again = True
            self._trial.terminate()

    def reap_workers(self) -> None:
        """Look after the processes that have ended."""
        self._reap_workers()
        # Afterwards: gunicorn may have waited for it, so that it would not be heard of again.
        if self._trial is not None and self._trial.poll() is not None:
            self._judge()

    def _reap_workers(self) -> None:
        while True:
            try:
                Arbiter.reap_workers(self._server)
            except HaltServer as failed:
                # gunicorn would end everything. While others serve, theirs is the better service.
                if not any(worker.ready[0] for worker in self._server.WORKERS.values()):
                    raise
                self._server.log.error("%s The others serve on", failed.reason)  # noqa: TRY400  # The worker told more.
                time.sleep(1)
            else:
                return

    def end(self) -> None:
        """End a trial that is under way."""
        if self._trial is not None:
            self._trial.terminate()

    def _begin(self) -> None:
        self._server.log.info("Trying the new version; the workers stay until it has passed")
        self._verdict, writing = os.pipe()
        os.set_blocking(self._verdict, False)
        # Files that come while they are tried are new to the next trial.
        self.tried = _migrations()
        migrate = "migrate" if self.tried != self._migrations else ""
        # Without the shared slots and metrics: a trial is no worker.
        environment = {**os.environ, SLOTS_VARIABLE: ""}
        environment.pop(METRICS_FOLDER_VARIABLE, None)
        self._trial = subprocess.Popen(
            [
                *(sys.executable, "-m", "taskapi.reload"),
                *(str(writing), self._server.START_CTX["cwd"], migrate),
                *sys.argv[1:],
            ],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[writing],
            process_group=0,
        )
        os.close(writing)

    def _judge(self) -> None:
        try:
            self._passed = os.read(self._verdict, len(PASSED)) == PASSED
        except BlockingIOError:
            self._passed = False
        os.close(self._verdict)
        self._trial = None
        if self._again:
            self._again = self._passed = False
            self._begin()
        elif self._passed:
            self._server.SIG_QUEUE.put_nowait(signal.SIGHUP)
        else:
            self._server.log.error(
                "The reload was refused, for the reason above: the old version serves on. Put that right, and reload"
            )


def _migrations() -> set[str]:
    return {path.name for path in ROOT.glob("alembic/versions/*.py")}


def _try(folder: str, migrate: str, arguments: list[str]) -> int:
    """Do what the master and a worker do with a new version, but for serving requests. Return the exit code."""
    # As the worker does, before anything is loaded that it replaces.
    from gevent import monkey

    monkey.patch_all()

    from gunicorn.app.wsgiapp import WSGIApplication

    os.chdir(folder)
    sys.argv = ["gunicorn", *arguments]
    application = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    logging.config.dictConfig(application.cfg.logconfig_dict)
    try:
        application.cfg.worker_class  # noqa: B018  # It loads the class.
        application.wsgi()
    except Exception:
        logging.getLogger("taskapi.reload").exception("The new version does not load")
        return 1
    if not migrate:
        return 0

    from taskapi import migrations

    # Only then: it takes a connection beyond DB_CONNECTIONS.
    return migrations.main()


def main() -> int:
    """Try the version that is on the disk; write PASSED to the descriptor that the first argument names."""
    verdict, folder, migrate, *arguments = sys.argv[1:]
    take_over_prints()
    if _try(folder, migrate, arguments):
        return 1
    os.write(int(verdict), PASSED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
