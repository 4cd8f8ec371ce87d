"""What compose.yaml and deploy/kubernetes.yaml do, done step by step: each command, with its variables and its rights.

Docker and Kubernetes are not here. What starts a step, and in which order, is what the files say.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.image.conftest import Start
from tests.image.container import Container
from tests.image.database import Passworded, passworded
from tests.image.deploy_files import compose, kubernetes
from tests.support.embedded import answers
from tests.support.load import Client
from tests.support.service import free_port
from tests.support.sql import Sql
from tests.support.waiting import wait_until

UNITS = {"Mi": 1024**2}


def ended(container: Container) -> str:
    """What a step has printed that was to succeed."""
    assert container.wait() == 0, container.log
    return container.log


# Compose


@pytest.fixture
def compose_server() -> Iterator[Passworded]:
    """With what the image of PostgreSQL makes of its variables."""
    made = compose({"OWNER_PASSWORD": "geheim", "APP_PASSWORD": "x"})["services"]["db"]["environment"]
    with passworded() as server, server.sql() as sql:
        sql.execute(f"CREATE ROLE {made['POSTGRES_USER']} SUPERUSER LOGIN PASSWORD '{made['POSTGRES_PASSWORD']}'")
        assert made["POSTGRES_DB"] == sql.database, "every embedded server has it"
        yield server


def in_order(services: dict[str, Any]) -> list[str]:
    """Our services as depends_on has them."""
    order = ["db"]
    while len(order) < len(services):
        order += [
            name for name, each in services.items() if name not in order and set(each["depends_on"]) <= set(order)
        ]
    return order[1:]


def test_compose(compose_server: Passworded, start: Start) -> None:
    """Up; and up again where all is there already, with another password of the service's role."""
    for password in ("first", "second"):
        services = compose({"OWNER_PASSWORD": "geheim", "APP_PASSWORD": password, "API_TOKENS": "token"})["services"]
        assert in_order(services) == ["migrate", "role", "api"]
        port = free_port()
        # In the network of this machine, the database's port and the service's are not the files'.
        place = {"PGPORT": str(compose_server.port), "PORT": str(port)}
        steps = {}
        for name in in_order(services):
            each = services[name]
            environment = {**each["environment"], **place}
            steps[name] = start(environment, *each.get("command", ()), tmpfs=each["tmpfs"])
            if name != "api":
                ended(steps[name])
        steps["api"].wait_until_ready()
        with Client(port) as client:
            assert client.request("GET", "/tasks").status == 401
            client.token = "token"
            assert client.create(f"with the {password} password").status == 201
            assert client.request("GET", "/health/ready").status == 200
        steps["api"].kill(signal.SIGTERM)
        assert steps["api"].wait(40) == 0
        printed = "".join(step.log for step in steps.values())
        assert not [secret for secret in ("geheim", "first", "second") if secret in printed.replace("with the", "")]
    assert not answers(compose_server.url("taskapi_app", "first"))
    with compose_server.sql() as sql:
        assert sql.value("SELECT count(*) FROM tasks") == 2
        assert sql.value("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'taskapi_app'") is False


# Kubernetes


class Pod:
    """Starts the containers of deploy/kubernetes.yaml, with the values of its Secrets."""

    def __init__(self, start: Start, secrets: dict[tuple[str, str], str]) -> None:
        self._start = start
        self._secrets = secrets

    def start(self, container: dict[str, Any], **environment: str) -> Container:
        """One of them, with its limit of memory."""
        values = {}
        for variable in container["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef", {})
            value = variable.get("value") or self._secrets.get((reference.get("name"), reference.get("key")))
            assert value or reference["optional"], variable
            values.update({variable["name"]: value} if value else {})
        folders = tuple(mount["mountPath"] for mount in container.get("volumeMounts", ()))
        memory = container["resources"]["limits"]["memory"]
        limit = int(memory[:-2]) * UNITS[memory[-2:]]
        command = container.get("command", ())
        return self._start({**values, **environment}, *command, tmpfs=folders, memory=limit)


@pytest.fixture(scope="module")
def pods(server: Passworded, owner_url: str, start: Start) -> Pod:
    """The Job has been done."""
    url = server.url("taskapi_app", "of-the-role", owner_url.rpartition("/")[2])
    secrets = {
        ("taskapi-owner", "DATABASE_URL"): owner_url,
        ("taskapi", "APP_PASSWORD"): "of-the-role",
        ("taskapi", "DATABASE_URL"): url,
    }
    pods = Pod(start, secrets)
    with server.sql() as sql:
        # As a managed database's owner is: no superuser, and it may make roles.
        sql.execute(f"ALTER ROLE {owner_url.split('/')[2].partition(':')[0]} CREATEROLE")
    job = kubernetes("Job")["spec"]["template"]["spec"]
    for step in (*job["initContainers"], *job["containers"]):
        ended(pods.start(step))
    return pods


@pytest.fixture(scope="module")
def deployed(pods: Pod) -> tuple[Container, int]:
    """A pod of the Deployment, and its port."""
    port = free_port()
    container = pods.start(api(), PORT=str(port))
    container.wait_until_ready()
    return container, port


def api() -> dict[str, Any]:
    (container,) = kubernetes("Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def probed(port: int, probe: str) -> int:
    """The status that Kubernetes gets, which names the pod's address as the host."""
    path = api()[probe]["httpGet"]["path"]
    return httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Host": "10.1.2.3:8000"}, trust_env=False).status_code


def test_kubernetes(deployed: tuple[Container, int], figure: Callable[[str], None]) -> None:
    container, port = deployed
    assert {probed(port, probe) for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {200}
    with Client(port) as client:
        assert client.create("in a pod").status == 201
    used = sum(memory(process) for process in container.processes())
    figure(f"a container with two workers uses {used / 1e6:.0f} MB")
    assert used < 256 * UNITS["Mi"], "what the Deployment requests"


def memory(process: int) -> int:
    """Bytes of a process that are its own, and its share of those that it has in common with others."""
    with open(f"/proc/{process}/smaps_rollup") as file:  # noqa: PTH123
        found = re.search(r"^Pss: +(\d+) kB", file.read(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def test_a_rollout_after_a_migration(deployed: tuple[Container, int], pods: Pod, owner_url: str) -> None:
    """Old pods serve, and are not ready. New pods of an old version refuse to start, and say why."""
    _, port = deployed
    with Sql(owner_url) as sql, Client(port) as client:
        (revision,) = sql.rows("SELECT version_num FROM taskapi_version")[0]
        sql.execute("UPDATE taskapi_version SET version_num = '9999'")
        try:
            wait_until(lambda: probed(port, "readinessProbe") == 503, "an old pod is not ready")
            assert probed(port, "livenessProbe") == 200
            assert client.create("while it is not ready").status == 201
            old = pods.start(api(), PORT=str(free_port()))
            assert old.wait() == 1
            assert "The database's schema is at 9999, which this version of taskapi does not know" in old.log
        finally:
            sql.execute("UPDATE taskapi_version SET version_num = %s", (revision,))
        wait_until(lambda: probed(port, "readinessProbe") == 200, "it is ready again")


def test_a_pod_ends_within_its_grace(deployed: tuple[Container, int]) -> None:
    container, _ = deployed
    spec = kubernetes("Deployment")["spec"]["template"]["spec"]
    grace = spec["terminationGracePeriodSeconds"] - api()["lifecycle"]["preStop"]["sleep"]["seconds"]
    started = time.monotonic()
    container.kill(signal.SIGTERM)
    assert container.wait(grace) == 0
    assert time.monotonic() - started < grace
