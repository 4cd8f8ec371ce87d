"""Safe reloads: a separate process tries the new version before any worker ends.

`Reload` is part of gunicorn's master; `python -m taskapi.reload` is the trial. Do not rename the module: the master of
an older version starts it in the newer version's folder.
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

LOADING = 30.0
"""Seconds for which the old workers serve on while the new ones load."""

ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}

PASSED = b"passed"
"""The trial's message to the master. An exit code is not enough: gunicorn may wait for the child before we can."""


class Reload:
    """How gunicorn's master handles HUP, and workers that do not start.

    On HUP, it starts the trial and continues its work: it ends on a signal, and replaces workers that die. When the
    trial has passed, it reloads as gunicorn does, except that an old worker serves until a new one is ready: gunicorn
    lets new connections wait. Otherwise nothing changes, and HUP may be sent again.
    """

    def __init__(self, server: Any, migrations: set[str] | None = None) -> None:
        """`migrations`: the files of the finished migrations. None: all files."""
        self._server = server
        self._migrations = _migrations() if migrations is None else migrations
        self.tried = self._migrations
        self._trial: subprocess.Popen[bytes] | None = None
        self._verdict = -1
        self._again = False
        self._passed = False
        # Up to this age, workers are old: a reload makes a new object before it starts new ones.
        self._age = server.worker_age
        # gunicorn calls its hook on_reload after it has read the new configuration, and has no hook for workers that
        # fail, or are to end.
        server.handle_hup = self.on_hup
        server.reap_workers = self.reap_workers
        server.manage_workers = self.manage_workers

    def on_hup(self) -> None:
        """Begin a trial. A trial that has passed calls this again; then reload."""
        if self._passed:
            self._passed = False
            Arbiter.handle_hup(self._server)
        elif self._trial is None:
            self._begin()
        else:
            # The running trial tests an outdated version, or hangs.
            self._again = True
            self._trial.terminate()

    def manage_workers(self) -> None:
        """Keep as many workers as there should be; after a reload, replace the old ones first."""
        if self._age:
            self._replace_old_workers()
            self._age = 0
        else:
            Arbiter.manage_workers(self._server)

    def _replace_old_workers(self) -> None:
        """End one old worker for each new one that is ready, which then gets its connections to the database."""
        workers, most = self._server.WORKERS, self._server.num_workers
        old = sorted((pid for pid in workers if workers[pid].age <= self._age), key=lambda pid: workers[pid].age)
        ended, deadline = 0, time.monotonic() + LOADING
        while True:
            new = [worker for worker in workers.values() if worker.age > self._age]
            ready = sum(worker.ready[0] for worker in new)
            if ready >= most or time.monotonic() > deadline or self._is_told_to_end():
                ready = most
            for pid in old[ended : len(old) * ready // most]:
                ended += 1
                if pid in workers:
                    self._server.kill_worker(pid, signal.SIGTERM)
            if ready == most:
                return
            if len(new) < most:
                self._server.spawn_worker()
            time.sleep(0.05)
            self.reap_workers()

    def _is_told_to_end(self) -> bool:
        """Whether a signal is waiting that ends the service. The main loop handles it, and the others."""
        signals = self._server.SIG_QUEUE
        waiting = [signals.get_nowait() for _ in range(signals.qsize())]
        for number in waiting:
            signals.put_nowait(number)
        return not ENDS.isdisjoint(waiting)

    def reap_workers(self) -> None:
        """Handle the processes that have ended."""
        self._reap_workers()
        # After gunicorn, which may already have waited for the trial's process.
        if self._trial is not None and self._trial.poll() is not None:
            self._judge()

    def _reap_workers(self) -> None:
        while True:
            try:
                Arbiter.reap_workers(self._server)
            except HaltServer as failed:
                # gunicorn would end the whole service. While other workers serve, keep them.
                if not any(worker.ready[0] for worker in self._server.WORKERS.values()):
                    raise
                self._server.log.error("%s The others serve on", failed.reason)  # noqa: TRY400  # The worker has said more.
                time.sleep(1)
            else:
                return

    def end(self) -> None:
        """End a running trial."""
        if self._trial is not None:
            self._trial.terminate()

    def _begin(self) -> None:
        self._server.log.info("Trying the new version; the workers stay until it has passed")
        self._verdict, writing = os.pipe()
        os.set_blocking(self._verdict, False)
        # Files that arrive during the trial are new to the next trial.
        self.tried = _migrations()
        migrate = "migrate" if self.tried != self._migrations else ""
        # Without the shared slots and metrics: a trial is not a worker.
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
    """Load the new version as the master and a worker do, without serving requests. Return the exit code."""
    # Like the worker, before any patched module is loaded.
    from gevent import monkey

    monkey.patch_all()

    from gunicorn.app.wsgiapp import WSGIApplication

    os.chdir(folder)
    sys.argv = ["gunicorn", *arguments]
    application = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    logging.config.dictConfig(application.cfg.logconfig_dict)
    try:
        application.cfg.worker_class  # noqa: B018  # This loads the class.
        application.wsgi()
    except Exception:
        logging.getLogger("taskapi.reload").exception("The new version does not load")
        return 1
    if not migrate:
        return 0

    from taskapi import migrations

    # Only if needed: it takes a connection beyond DB_CONNECTIONS.
    return migrations.main()


def main() -> int:
    """Try the version on the disk. If it passes, write PASSED to the descriptor in the first argument."""
    verdict, folder, migrate, *arguments = sys.argv[1:]
    take_over_prints()
    if _try(folder, migrate, arguments):
        return 1
    os.write(int(verdict), PASSED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
