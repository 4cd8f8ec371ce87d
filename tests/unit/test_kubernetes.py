"""deploy/kubernetes.yaml agrees with the image, the service and itself."""

from typing import Any

import pytest

from taskapi import __version__
from taskapi.settings import Settings
from tests.image.deploy_files import compose, image_setting, kubernetes

KINDS = ("Job", "Deployment", "Service", "PodDisruptionBudget")


def pod(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = kubernetes(kind)["spec"]["template"]["spec"]
    return found


def containers() -> list[dict[str, Any]]:
    return [
        each
        for kind in ("Job", "Deployment")
        for part in ("initContainers", "containers")
        for each in pod(kind).get(part, [])
    ]


def test_all_run_the_same_image_of_this_version() -> None:
    (image,) = {container["image"] for container in containers()}
    assert image.endswith(f"/taskapi:{__version__}")


@pytest.mark.parametrize("kind", ["Job", "Deployment"])
def test_pods_have_no_rights(kind: str) -> None:
    user, _, group = image_setting("USER").partition(":")
    spec = pod(kind)
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(group),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}


def test_containers_have_no_rights() -> None:
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"memory"}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_secrets_are_named_and_not_told() -> None:
    for container in containers():
        for variable in container["env"]:
            assert ("value" in variable) == (variable["name"] == "AUTO_MIGRATE"), variable


def test_the_service_does_not_know_the_owner() -> None:
    assert "taskapi-owner" not in str(kubernetes("Deployment"))
    assert "taskapi-owner" in str(kubernetes("Job"))


def test_the_steps_are_those_of_compose() -> None:
    services = compose({"OWNER_PASSWORD": "a", "APP_PASSWORD": "b"})["services"]
    migrate, role = containers()[:2]
    assert (migrate["name"], migrate["command"]) == ("migrate", services["migrate"]["command"])
    assert (role["name"], role["command"]) == ("role", services["role"]["command"])
    for name, container in zip(("migrate", "role", "api"), containers(), strict=True):
        ours = services[name]["environment"]
        assert {variable["name"] for variable in container["env"]} == ours.keys()
        for variable in container["env"]:
            assert variable.get("value", ours[variable["name"]]) == ours[variable["name"]]


def test_labels_select_the_pods_of_the_service_alone() -> None:
    labels = kubernetes("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert kubernetes("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes("Service")["spec"]["selector"] == labels
    assert kubernetes("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    (spread,) = pod("Deployment")["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels
    assert kubernetes("Job")["spec"]["template"]["metadata"]["labels"] != labels
    # What the page applies one after the other.
    components = {kind: kubernetes(kind)["metadata"]["labels"]["app.kubernetes.io/component"] for kind in KINDS}
    assert components == {"Job": "migration", "Deployment": "api", "Service": "api", "PodDisruptionBudget": "api"}


def test_ports() -> None:
    (api,) = pod("Deployment")["containers"]
    assert api["ports"] == [{"name": "http", "containerPort": int(image_setting("PORT"))}]
    assert [port["targetPort"] for port in kubernetes("Service")["spec"]["ports"]] == ["http"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert api[probe]["httpGet"]["port"] == "http"


def test_probes() -> None:
    (api,) = pod("Deployment")["containers"]
    assert api["startupProbe"]["httpGet"]["path"] == api["livenessProbe"]["httpGet"]["path"] == "/api/v1/health"
    readiness = api["readinessProbe"]
    assert readiness["httpGet"]["path"] == "/api/v1/health/ready"
    assert readiness["periodSeconds"] * readiness["failureThreshold"] == 120, "the two minutes of the page"


def test_running_requests_may_end() -> None:
    spec = pod("Deployment")
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= pause + Settings().ending_seconds + 5


def test_no_pod_ends_before_another_is_ready() -> None:
    spec = kubernetes("Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["replicas"] > kubernetes("PodDisruptionBudget")["spec"]["minAvailable"] >= 1
    # The default max_connections of PostgreSQL, less those that it keeps for superusers.
    assert (spec["replicas"] + 1) * Settings().db_connections <= 97
