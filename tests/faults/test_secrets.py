"""Secrets never reach a log or an answer: passwords, tokens and keys, whatever goes wrong with the database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support import backends, raw
from tests.support.backends import DurableServer
from tests.support.folders import short_folder
from tests.support.passwords import ask_for_passwords
from tests.support.proxy import before_database
from tests.support.service import Service, ServiceEnded, free_port
from tests.support.sql import Sql

PASSWORD = "geheim@7/%41:'\"ü pass"
NEW_PASSWORD = "neues-geheimnis"
TOKENS = ["first-secret-token", "zweites/Geheimnis+=="]
WRONG_TOKEN = "guessed-secret-token"
KEY = "secret-key-of-a-client"
TITLE = "a secret title"

SECRETS = [PASSWORD, quote(PASSWORD, safe=""), "geheim", NEW_PASSWORD, *TOKENS, WRONG_TOKEN, KEY, TITLE]


@pytest.fixture(scope="module")
def server() -> Iterator[DurableServer]:
    """A PostgreSQL that asks everybody but the tests' superuser for a password."""
    with short_folder() as folder:
        own = DurableServer(folder / "pg")
        own.start()
        ask_for_passwords(own)
        with Sql(own.embedded.url) as sql:
            sql.execute("CREATE ROLE app LOGIN PASSWORD %s", (PASSWORD,))
        yield own
        own.stop()


@pytest.fixture
def database_url(server: DurableServer) -> str:
    """The address of a new database, with the password."""
    with Sql(server.embedded.url) as sql:
        sql.execute("DROP DATABASE IF EXISTS secrets WITH (FORCE)")
        sql.execute("ALTER ROLE app PASSWORD %s", (PASSWORD,))
        sql.execute("CREATE DATABASE secrets OWNER app")
    return server.embedded.url.replace("//taskapi@/taskapi?", f"//app:{quote(PASSWORD, safe='')}@/secrets?")


@dataclass
class Client:
    """Asks with a token and a key, and keeps everything it receives."""

    service: Service
    received: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = self.service.client(base_url=f"{self.service.url}/api/v1")

    def ask(self, method: str, path: str, token: str = TOKENS[0], **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        answer = self._client.request(method, path, headers=headers, **options)
        self.received += [answer.text, *answer.headers.values()]
        return answer

    def close(self) -> None:
        """A connection that rests would hold the service's end up."""
        self._client.close()

    def everything(self, status: int | None = None) -> None:
        """Each kind of request; all of them have this status, where one is given."""
        key = {"Idempotency-Key": f"{KEY} {len(self.received)}"}
        answers = [
            self.ask("GET", "/history"),
            self.ask("GET", "/health/ready", TOKENS[1]),
            self.ask("POST", "/tasks", json={"title": "a task"}, headers=key),
        ]
        assert status is None or {answer.status_code for answer in answers} == {status}, answers


def assert_kept(text: str) -> None:
    found = [secret for secret in SECRETS if secret in text]
    assert not found, f"{found} in {[line for line in text.splitlines() if any(secret in line for secret in found)]}"


@pytest.mark.parametrize("form", ["development DEBUG", "production INFO"])
def test_while_it_runs(
    form: str,
    server: DurableServer,
    database_url: str,
    start_service: Any,
    figure: Callable[[str], None],
) -> None:
    environment, level = form.split()
    service = start_service(
        DATABASE_URL=database_url,
        APP_ENV=environment,
        LOG_LEVEL=level,
        API_TOKENS=",".join(TOKENS),
        DB_POOL_TIMEOUT="0.1",
    )
    client = Client(service)
    with Sql(server.embedded.url.replace("@/taskapi?", "@/secrets?")) as sql:
        # Requests that are served, and refused: by the service, and by what reads HTTP before it.
        assert client.ask("POST", "/tasks", json={"title": "a task"}, headers={"Idempotency-Key": KEY}).is_success
        assert client.ask("POST", "/tasks", json={"title": "a task"}, headers={"Idempotency-Key": KEY}).is_success
        assert client.ask("DELETE", "/tasks/nonsense", headers={"Idempotency-Key": KEY}).status_code == 422
        assert client.ask("POST", "/tasks", json={"title": 5}, headers={"Idempotency-Key": KEY}).status_code == 422
        assert client.ask("PUT", "/tasks/x", WRONG_TOKEN, headers={"Idempotency-Key": KEY}).status_code == 401
        for name, value in (("Authorization", f"Bearer {TOKENS[0]}"), ("Idempotency-Key", KEY)):
            for broken in (f"{value}\x00", f"{value}\x01", f"{value}\r{value}", value * 500):
                answer = raw.send(service.port, raw.request("GET", "/api/v1/tasks", {name: broken}))
                assert 400 <= answer.status_code < 500
                client.received.append(answer.text)
            answer = raw.send(service.port, raw.request("GET", "/api/v1/tasks", {f"{name}: {value}\r\n{value}": "x"}))
            client.received.append(answer.text)

        # What no constraint of ours says: for the service a defect, whose log must help, and tell nobody's text.
        sql.execute(f"ALTER TABLE task_history ADD CONSTRAINT another CHECK (description NOT LIKE '%%{TITLE}%%')")
        defect = client.ask("POST", "/tasks", json={"title": TITLE}, headers={"Idempotency-Key": KEY + "2"})
        assert defect.status_code == 500
        sql.execute("ALTER TABLE task_history DROP CONSTRAINT another")

        client.everything()
        sql.execute("ALTER ROLE app PASSWORD %s", (NEW_PASSWORD,))
        backends.end(sql)
        client.everything(503)
        assert "password authentication failed" in service.log
        sql.execute("ALTER ROLE app PASSWORD %s NOLOGIN", (PASSWORD,))
        client.everything(503)
        sql.execute("ALTER ROLE app LOGIN")
        client.everything()

    server.kill()
    client.everything(503)
    server.start()
    client.everything()
    assert "cannot connect to the database" in service.log
    client.close()
    assert service.stop() == 0
    assert_kept(service.log)
    assert_kept("\n".join(client.received))
    lines = len(service.log.splitlines())
    figure(f"{len(SECRETS)} secrets, {lines} lines of log at {level}, {len(client.received)} texts of answers: none")


FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "a wrong password": (lambda url: url.replace(quote(PASSWORD, safe=""), NEW_PASSWORD), "authentication failed"),
    "no server": (lambda url: f"{url.partition('?')[0]}?host=127.0.0.1&port={free_port()}", "refused"),
    "no socket": (lambda url: f"{url.partition('?')[0]}?host=/nowhere", "No such file"),
    "no TLS": (lambda url: f"{url}&sslmode=require", "does not support SSL"),
    "no channel binding": (lambda url: f"{url}&channel_binding=require", "channel binding"),
    "no database": (lambda url: url.replace("/secrets?", "/another?"), "does not exist"),
    "a colon too many": (lambda url: url.replace("//app", "//app:"), "authentication failed"),
    "an unencoded password": (lambda url: url.replace(quote(PASSWORD, safe=""), PASSWORD), "DATABASE_URL"),
    "the password as an option": (
        lambda url: f"{url}&password={quote(PASSWORD, safe='')}&options=-cnonsense%3D1",
        "nonsense",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_at_the_start(fault: str, database_url: str, start_service: Any, tmp_path: Path) -> None:
    change, words = FAULTS[fault]
    proxy, url = before_database(database_url)
    with proxy, pytest.raises(ServiceEnded) as ended:
        start_service(DATABASE_URL=change(url), APP_ENV="production", API_TOKENS=",".join(TOKENS))
    assert words in ended.value.log
    assert_kept(ended.value.log)
