"""From PostgreSQL 17 to 18 by pg_upgrade, with the commands of docs/backups.md, while the service goes on running."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from taskapi import identity
from taskapi.database.database import Database
from taskapi.embedded import find_binaries
from taskapi.repository import Repository
from taskapi.role import make_role
from taskapi.settings import Settings
from tests.support.documented import follow, recipe
from tests.support.envelope import data_of
from tests.support.folders import short_folder
from tests.support.ledger import NOTHING
from tests.support.migrating import migrate, run
from tests.support.other_postgres import OtherPostgres
from tests.support.owners import LESSER, SECRET, bearer
from tests.support.postgres17 import unpack
from tests.support.replay import assert_replay_equals_tasks
from tests.support.service import Service
from tests.support.sql import Sql
from tests.support.tasks import id_of
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Upgrade:
    """The old cluster, and where the new one is to be. Both have the same address."""

    old: OtherPostgres
    new: OtherPostgres
    folder: Path

    def commands(self) -> str:
        """What the page says."""
        return recipe(
            "Major upgrades",
            0,
            _usr_lib_postgresql_17_bin=self.old.programs,
            _usr_lib_postgresql_18_bin=self.new.programs,
            _var_lib_postgresql_17_main=self.old.data,
            _var_lib_postgresql_18_main=self.new.data,
        )


@pytest.fixture(scope="module")
def programs() -> Iterator[Path]:
    """The old version's."""
    with short_folder() as folder:
        yield unpack(folder)


@pytest.fixture
def upgrade(programs: Path) -> Iterator[Upgrade]:
    with short_folder() as folder:
        user = identity.choose(find_binaries() / "initdb", folder, folder / "none")
        user.own(folder)
        old = OtherPostgres(programs, folder / "old", run=folder / "run", user=user)
        new = OtherPostgres(find_binaries(), folder / "new", run=folder / "run", user=user)
        old.create()
        old.start()
        try:
            yield Upgrade(old, new, folder)
        finally:
            old.stop()
            new.stop()


def test_everything_goes_on(upgrade: Upgrade, tmp_path: Path) -> None:
    url = upgrade.old.url()
    assert migrate(url).returncode == 0
    with closing(psycopg2.connect(url)) as connection:
        make_role(connection, LESSER)
    service = Service(
        {
            "DATABASE_URL": upgrade.old.url(LESSER),
            "APP_ENV": "production",
            "AUTO_MIGRATE": "false",
            "JWT_SECRET": SECRET,
            "WEB_CONCURRENCY": "1",
        },
        folder=tmp_path,
    )
    try:
        with service.client(base_url=f"{service.url}/api/v1", headers=bearer("ann")) as client:
            tasks = [
                data_of(client.post("/tasks", json={"title": f"Task {n}"}), 201, "TASK_CREATED") for n in range(30)
            ]
            path = f"/tasks/{tasks[0]['id']}"
            cursor = data_of(client.get("/changes", params={"limit": 30}))["cursor"]
            keyed = {"headers": {"Idempotency-Key": "key"}, "json": {"title": "before"}}
            data_of(client.put(path, **keyed), 200, "TASK_UPDATED")  # type: ignore[arg-type]
            client.post(f"{path}/undo", json={"version": 2})
            client.delete(f"/tasks/{tasks[1]['id']}")
            tag = client.get("/tasks").headers["ETag"]
            history = data_of(client.get("/history", params={"limit": 100}))
            assert history["pagination"]["total_count"] == 33
            with Sql(url) as sql:
                xmax = sql.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            make, stop, replace = upgrade.commands().splitlines()
            follow(f"{make}\n{stop}", cwd=upgrade.folder, user=upgrade.old.user)
            refused = client.post("/tasks", json={"title": "meanwhile"})
            assert (refused.status_code, NOTHING in refused.text) == (503, True)
            follow(replace, cwd=upgrade.folder, user=upgrade.old.user)
            upgrade.new.start()
            wait_until(lambda: client.get("/health/ready").status_code == 200, "the service is ready again")

            assert client.get("/tasks", headers={"If-None-Match": tag}).status_code == 304
            assert data_of(client.get("/history", params={"limit": 100})) == history
            again = client.put(path, **keyed)  # type: ignore[arg-type]
            assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
            data_of(client.post("/tasks", json={"title": "after"}), 201, "TASK_CREATED")
            changes = data_of(client.get("/changes", params={"after": cursor}))
            old = [entry["history_id"] for entry in reversed(history["items"][:3])]
            assert [item["history_id"] for item in changes["items"][:-1]] == old
            assert changes["items"][-1]["task"]["title"] == "after"
            assert data_of(client.get("/history"))["pagination"]["total_count"] == 34
        with Sql(url) as sql:
            assert sql.value("SHOW server_version").startswith("18.")
            assert sql.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint") >= xmax
            assert_replay_equals_tasks(sql)
        done = follow(recipe("Major upgrades", 1), DATABASE_URL=url, PGHOST=str(upgrade.new.run))
        assert "The history and the totals are right." in done
        with Sql(url) as sql:
            statistics = "SELECT count(*) FROM pg_stats WHERE tablename = 'task_history'"
            assert sql.value(statistics) > 5
        assert "Row-level security holds" in run("taskapi.role", url=upgrade.new.url(LESSER)).stdout
    finally:
        service.kill()


def test_a_dump_of_the_old_version_is_restored_into_the_new_one(
    upgrade: Upgrade, empty_database_url: str, tmp_path: Path
) -> None:
    """The other way, with the programs of the new version."""
    assert migrate(upgrade.old.url()).returncode == 0
    old, new = (Repository(Database(Settings(database_url=url))) for url in (upgrade.old.url(), empty_database_url))
    task_id = id_of(old.create_task(title="Old", description=None))
    old.set_task_completed(task_id=task_id, is_completed=True)
    dump = tmp_path / "dump"
    follow(recipe("Dump and restore", 0, _backup_taskapi=dump), DATABASE_URL=upgrade.old.url())
    restoring = recipe("Dump and restore", 1, _backup_taskapi=dump, pg_restore="pg_restore --no-owner")
    follow(restoring.partition("\n")[2], DATABASE_URL=empty_database_url)
    assert migrate(empty_database_url, AUTO_MIGRATE="false").returncode == 0
    assert new.get_task(task_id=task_id) == old.get_task(task_id=task_id)


def test_checksums_must_be_those_of_the_old_server(upgrade: Upgrade) -> None:
    """The trap that the page names: initdb of 18 turns them on, 17 did not."""
    make, _, replace = upgrade.commands().splitlines()
    follow(make.replace(" --no-data-checksums", ""), cwd=upgrade.folder, user=upgrade.old.user)
    with pytest.raises(AssertionError, match="checksum"):
        follow(f"{replace} --check", cwd=upgrade.folder, user=upgrade.old.user)
