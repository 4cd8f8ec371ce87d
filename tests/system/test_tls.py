"""TLS to the database with a private CA, as docs/backups.md has it: with the right server it works, with no other."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from taskapi import identity
from taskapi.role import make_role
from tests.support import backends
from tests.support.certificates import Authority
from tests.support.documented import recipe
from tests.support.folders import short_folder
from tests.support.ledger import NOTHING
from tests.support.load import Client
from tests.support.migrating import migrate
from tests.support.other_postgres import OtherPostgres
from tests.support.postgres17 import unpack
from tests.support.service import Service, free_port
from tests.support.sql import Sql
from tests.support.waiting import wait_until

ROLE, CERTIFIED, PASSWORD = "taskapi_app", "certified", "s3cret-of-the-role"

RULES = f"""
local   all all                     trust
hostssl all {CERTIFIED} 127.0.0.1/32 cert
host    all all         127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class Place:
    """A server that speaks TLS as `localhost`, and the authorities: of the operator, and of somebody else."""

    cluster: OtherPostgres
    ours: Authority
    theirs: Authority

    def url(self, role: str = ROLE, host: str = "localhost", **parameters: str | Path) -> str:
        """By the network. Of `parameters`, the page has `sslmode` and `sslrootcert`."""
        line = recipe("TLS to the database", 0, _etc_taskapi_ca_pem=self.ours.root)
        url = line.partition("=")[2].strip().strip("'")
        login = f"//{role}@" if role == CERTIFIED else f"//{role}:{PASSWORD}@"
        url = url.replace("//taskapi_app@db.example.com/taskapi", f"{login}{host}:{self.cluster.port}/postgres")
        base, _, query = url.partition("?")
        options = dict(part.split("=", 1) for part in query.split("&")) | parameters
        return base + "?" + "&".join(f"{name}={value}" for name, value in options.items() if value)

    def put(self, files: tuple[Path, Path]) -> None:
        """The certificate that the server shows from its next reload on, and its key."""
        for file, name in zip(files, ("server.crt", "server.key"), strict=True):
            target = self.cluster.data / name
            shutil.copy(file, target)
            target.chmod(0o600)
            self.cluster.user.own(target)

    def reload(self, setting: str = "") -> None:
        """Let the server read its files and settings anew."""
        with Sql(self.cluster.url()) as sql:
            if setting:
                sql.execute(f"ALTER SYSTEM SET {setting}")
            before = sql.value("SELECT pg_conf_load_time()")
            sql.execute("SELECT pg_reload_conf()")
            wait_until(lambda: sql.value("SELECT pg_conf_load_time()") > before, "the server has read them")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A server with the newest schema, and the roles of a service: one with a password, one with a certificate."""
    with short_folder() as folder:
        programs = unpack(folder)
        user = identity.choose(programs / "initdb", folder, folder / "none")
        cluster = OtherPostgres(programs, folder / "server", run=folder / "run", user=user, port=free_port())
        place = Place(cluster, Authority(folder / "ours"), Authority(folder / "theirs"))
        cluster.create()
        (cluster.data / "pg_hba.conf").write_text(RULES)
        shutil.copy(place.ours.root, cluster.data / "root.crt")
        user.own(cluster.data / "root.crt")
        place.put(place.ours.issue("localhost"))
        cluster.start({"ssl": "on", "ssl_ca_file": "root.crt", "listen_addresses": "127.0.0.1"})
        try:
            with Sql(cluster.url()) as sql:
                sql.execute(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
                # Migrations go through TLS, too.
                done = migrate(place.url("postgres"))
                assert done.returncode == 0, done.stderr
                for role in (ROLE, CERTIFIED):
                    with closing(psycopg2.connect(cluster.url())) as connection:
                        make_role(connection, role)
                    sql.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
            yield place
        finally:
            cluster.stop()


@pytest.fixture
def good(place: Place) -> Iterator[None]:
    """Afterwards the server is the right one again."""
    yield
    place.put(place.ours.issue("localhost"))
    place.reload("ssl = on")


@pytest.fixture(scope="module")
def service(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with the URL of the page."""
    running = Service(
        {
            "DATABASE_URL": place.url(channel_binding="require"),
            "APP_ENV": "production",
            "AUTO_MIGRATE": "false",
            "WEB_CONCURRENCY": "1",
            "DB_POOL_TIMEOUT": "1",
        },
        folder=tmp_path_factory.mktemp("service"),
    )
    yield running
    running.kill()


def refusal(place: Place, role: str = ROLE, host: str = "localhost", **parameters: str | Path) -> str:
    """Why the service does not start with this URL."""
    done = migrate(place.url(role, host, **parameters), AUTO_MIGRATE="false")
    assert (done.returncode, done.stdout) == (1, "")
    assert PASSWORD not in done.stderr
    return done.stderr


def test_all_connections_are_encrypted(place: Place, service: Service) -> None:
    with Client(service.port) as client:
        assert client.create("by TLS").status == 201
    with Sql(place.cluster.url()) as sql:
        encrypted = "SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = %s"
        assert sql.rows(encrypted, (ROLE,)) == [(True, "TLSv1.3")]
    # What the page gives to see it. It asks by TLS itself, with libpq of this Python: the wheel's psql has none.
    command = recipe("TLS to the database", 1)
    statement = command.partition('--command="')[2].rpartition('"')[0]
    with Sql(place.url()) as sql:
        assert {row[1] for row in sql.rows(statement) if row[0] == ROLE} == {True}


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("another authority", "certificate verify failed"),
        ("expired", "certificate verify failed"),
        ("another name", 'does not match host name "localhost"'),
        ("no TLS", "server does not support SSL, but SSL was required"),
    ],
)
def test_another_server_is_refused_and_the_log_says_why(place: Place, service: Service, server: str, said: str) -> None:
    """By the service as it runs: when the right server is back, it serves again, without a restart."""
    if server != "no TLS":
        authority = place.theirs if server == "another authority" else place.ours
        name = "db.example.com" if server == "another name" else "localhost"
        place.put(authority.issue(name, days=-2 if server == "expired" else 10))
    place.reload(f"ssl = {'off' if server == 'no TLS' else 'on'}")
    with Sql(place.cluster.url()) as sql, Client(service.port) as client:
        lines = len(service.log.splitlines())
        backends.end(sql)
        refused = client.create("to whom?")
        assert (refused.status, NOTHING in refused.envelope["error"]) == (503, True)
        log = "\n".join(service.log.splitlines()[lines:]).replace('\\"', '"')
        assert "cannot connect to the database: " in log
        assert said in log
        assert PASSWORD not in log
        place.put(place.ours.issue("localhost"))
        place.reload("ssl = on")
        assert client.create("to the right one").status == 201


def test_what_the_url_may_get_wrong(place: Place) -> None:
    assert "certificate verify failed" in refusal(place, sslrootcert=place.theirs.root)
    assert f'root certificate file "{place.ours.root}x" does not exist' in refusal(
        place, sslrootcert=f"{place.ours.root}x"
    )
    assert 'does not match host name "127.0.0.1"' in refusal(place, host="127.0.0.1")


def test_the_modes_that_do_not_verify(place: Place) -> None:
    """`require` alone takes any server that speaks TLS; with a root certificate, it verifies all but the name."""
    anybody = place.url(sslmode="require", sslrootcert="")
    with Sql(anybody) as sql:
        assert sql.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert "certificate verify failed" in refusal(place, sslmode="require", sslrootcert=place.theirs.root)
    for mode in ("verify-ca", "require"):
        assert migrate(place.url(sslmode=mode, host="127.0.0.1"), AUTO_MIGRATE="false").returncode == 0
    with Sql(place.url(sslmode="disable", sslrootcert="")) as sql:
        assert not sql.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


def test_the_operating_systems_authorities(place: Place) -> None:
    """psycopg2-binary has an OpenSSL of its own, which looks elsewhere."""
    url = place.url(sslrootcert="system")
    assert "certificate verify failed" in migrate(url, AUTO_MIGRATE="false").stderr
    assert migrate(url, AUTO_MIGRATE="false", SSL_CERT_FILE=str(place.ours.root)).returncode == 0


def test_a_client_certificate(place: Place, tmp_path: Path) -> None:
    certificate, key = place.ours.issue(CERTIFIED)
    url = place.url(CERTIFIED, sslcert=certificate, sslkey=key)
    service = Service({"DATABASE_URL": url, "AUTO_MIGRATE": "false", "WEB_CONCURRENCY": "1"}, folder=tmp_path)
    try:
        with Client(service.port) as client:
            assert client.create("by certificate").status == 201
    finally:
        service.kill()
    assert "client certificate" in refusal(place, role=CERTIFIED)
    forged = place.theirs.issue(CERTIFIED)
    assert refusal(place, role=CERTIFIED, sslcert=forged[0], sslkey=forged[1])
    key.chmod(0o644)
    assert f'private key file "{key}" has group or world access' in refusal(
        place, role=CERTIFIED, sslcert=certificate, sslkey=key
    )
