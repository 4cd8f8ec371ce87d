"""A reload that cannot work changes nothing: the old version serves on, and a later reload works."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.envelope import data_of
from tests.support.migrating import NEXT, NEXT_MIGRATION, copy_code
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.waiting import wait_until

REFUSED = "The reload was refused"
FAILING_MIGRATION = NEXT_MIGRATION.replace("ADD COLUMN colour", "ADD COLUMN title")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the code, to be changed under the service that runs it."""
    return copy_code(tmp_path)


def migration(code: Path) -> Path:
    return next(
        code.glob("alembic/versions/*colour.py"), code / "alembic" / "versions" / f"{NEXT}_tasks_have_a_colour.py"
    )


def version(service: Service) -> str:
    with service.client() as client:
        data_of(client.get("/api/v1/tasks"))
        answer: dict[str, str] = data_of(client.get("/api/v1/health"))
        return answer["version"]


def assert_refused(service: Service, seconds: float = 60) -> None:
    """Reload; the workers are still the same ones then, and serve."""
    workers, refusals = set(service.workers()), service.log.count(REFUSED)
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: service.log.count(REFUSED) > refusals, "the reload is refused", seconds=seconds)
    assert set(service.workers()) == workers
    version(service)


def test_a_version_that_cannot_work(
    start_service: Any, database_url: str, code: Path, sized: Callable[[int, int], int]
) -> None:
    # As the tables' owner, also where the others go through a pooler: it migrates.
    service = start_service(database_url, code=code, DATABASE_URL=database_url, WEB_CONCURRENCY="2")
    files = ["taskapi/app.py", "gunicorn.conf.py", "taskapi/settings.py", "taskapi/server/worker.py", "wsgi.py"]
    for name in files[: sized(1, len(files))]:
        whole = (code / name).read_text()
        (code / name).write_text(f"{whole}\nimport no_such_module\n")
        assert_refused(service)
        assert "no_such_module" in service.log
        (code / name).write_text(whole)

    # A worker that dies meanwhile gets the new code: the others serve on until it works.
    whole = (code / "taskapi/app.py").read_text()
    (code / "taskapi/app.py").write_text("nonsense(")
    os.kill(service.workers()[0], signal.SIGKILL)
    wait_until(lambda: "The others serve on" in service.log, "a worker has failed to start")
    version(service)
    (code / "taskapi/app.py").write_text(whole)
    wait_until(lambda: len(service.workers()) == 2, "there are two again")

    migration(code).write_text(FAILING_MIGRATION)
    assert_refused(service)
    with Sql(service.database_url) as sql:
        assert sql.value("SELECT count(*) FROM pg_attribute WHERE attname = 'colour'") == 0

    migration(code).write_text(NEXT_MIGRATION)
    # It is loaded by the master, too, before there are any workers.
    about = code / "taskapi" / "__init__.py"
    about.write_text(about.read_text().replace("1.0.0", "9.9.9"))
    service.hup()
    assert version(service) == "9.9.9"
    with Sql(service.database_url) as sql:
        assert sql.value("SELECT count(*) FROM pg_attribute WHERE attname = 'colour'") == 1


@pytest.mark.long
def test_a_migration_that_waits_holds_nothing_up(start_service: Any, code: Path) -> None:
    service = start_service(code=code, WEB_CONCURRENCY="2")
    migration(code).write_text(NEXT_MIGRATION)
    with Sql(service.database_url) as sql:
        sql.execute("BEGIN; LOCK TABLE tasks IN ACCESS SHARE MODE")
        service.process.send_signal(signal.SIGHUP)
        with Sql(service.database_url) as other:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: other.value(waiting), "the migration waits")
        victim = service.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: victim not in service.workers() and "Perhaps out of memory" in service.log,
            "the master replaces a worker meanwhile",
            seconds=3,
        )
        wait_until(lambda: REFUSED in service.log, "the reload is refused")
        sql.execute("ROLLBACK")
    service.hup()
    version(service)
    with Sql(service.database_url) as sql:
        assert sql.value("SELECT count(*) FROM pg_attribute WHERE attname = 'colour'") == 1


def trial_of(service: Service) -> int:
    wait_until(service.trials, "the trial runs")
    return service.trials()[0]


@pytest.mark.long
def test_a_trial_that_hangs(start_service: Any, code: Path) -> None:
    """Another HUP ends it, and the end of the service, too."""
    service = start_service(code=code, WEB_CONCURRENCY="2")
    whole = (code / "wsgi.py").read_text()
    hanging = f"import time; time.sleep(600)\n{whole}"
    (code / "wsgi.py").write_text(hanging)
    service.process.send_signal(signal.SIGHUP)
    first = trial_of(service)
    (code / "wsgi.py").write_text(whole)
    service.hup()
    assert not Path(f"/proc/{first}").exists()
    version(service)

    (code / "wsgi.py").write_text(hanging)
    service.process.send_signal(signal.SIGHUP)
    second = trial_of(service)
    service.process.terminate()
    assert service.process.wait(30) == 0
    wait_until(lambda: not Path(f"/proc/{second}").exists(), "the trial has ended")


@pytest.mark.long
def test_a_migration_that_comes_while_a_version_is_tried(start_service: Any, code: Path) -> None:
    """The next reload runs it."""
    service = start_service(code=code, WEB_CONCURRENCY="2")
    before = service.workers()
    service.process.send_signal(signal.SIGHUP)
    trial_of(service)
    migration(code).write_text(NEXT_MIGRATION)
    wait_until(lambda: not set(service.workers()) & set(before), "the reload is done")
    service.hup()
    version(service)
    with Sql(service.database_url) as sql:
        assert sql.value("SELECT count(*) FROM pg_attribute WHERE attname = 'colour'") == 1
