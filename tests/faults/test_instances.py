"""Several instances on one database are one service, and one on a standby reads (docs/scale.md)."""

from pathlib import Path

from tests.conftest import StartService
from tests.support.folders import short_folder
from tests.support.server import Server
from tests.support.sql import Sql
from tests.support.standby import Standby
from tests.support.waiting import wait_until


def test_instances_share_what_clients_hold(database_url: str, start_service: StartService) -> None:
    """A key, a tag and a cursor of one instance are good at another."""
    here = start_service(database_url).client()
    there = start_service(database_url, AUTO_MIGRATE="false").client()
    keyed = {"Idempotency-Key": "one"}
    created = here.post("/api/v1/tasks", json={"title": "one"}, headers=keyed)
    again = there.post("/api/v1/tasks", json={"title": "one"}, headers=keyed)
    assert (created.status_code, again.json()) == (201, created.json())

    listed = here.get("/api/v1/tasks")
    assert there.get("/api/v1/tasks", headers={"If-None-Match": listed.headers["ETag"]}).status_code == 304
    there.patch(f"/api/v1/tasks/{created.json()['data']['id']}/complete")
    (change,) = here.get(listed.links["monitor"]["url"]).json()["data"]["items"]
    assert change["action_type"] == "COMPLETED"
    assert there.get(listed.links["monitor"]["url"]).json()["data"]["items"] == [change]


def test_an_instance_on_a_standby_reads(
    postgres: Server, database_url: str, start_service: StartService, tmp_path: Path
) -> None:
    with short_folder() as folder, Sql(database_url) as sql:
        server = Standby(folder / "standby", postgres)
        server.start()
        try:
            url = server.url(sql.database)
            client = start_service(DATABASE_URL=url, AUTO_MIGRATE="false", REQUEST_DEADLINE="5").client()
            writer = start_service(database_url).client()
            created = writer.post("/api/v1/tasks", json={"title": "read me"}).json()["data"]
            wait_until(lambda: client.get("/api/v1/tasks").json()["data"] == [created], "the standby has followed")
            assert client.get("/api/v1/history").json()["data"]["pagination"]["total_count"] == 1
            assert client.get("/api/v1/stats/weekly").json()["data"]["total_tasks"] == 1
            assert client.get("/api/v1/health").status_code == 200
            assert not {"ETag", "Link"} & set(client.get("/api/v1/tasks").headers)
            refused = [client.get("/api/v1/health/ready"), client.get("/api/v1/changes")]
            refused.append(client.post("/api/v1/tasks", json={"title": "not here"}))
            assert [answer.status_code for answer in refused] == [503, 503, 503]
        finally:
            server.stop()
