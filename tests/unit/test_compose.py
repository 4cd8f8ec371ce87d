"""compose.yaml agrees with the image, the service and itself."""

import subprocess

import pytest

from taskapi.database.database_url import libpq_url
from taskapi.embedded import find_binaries
from taskapi.settings import Settings
from tests.image.deploy_files import compose, image_setting

VARIABLES = {"OWNER_PASSWORD": "of the owner", "APP_PASSWORD": "of the role"}

OURS = ("migrate", "role", "api")


def test_passwords_must_be_given() -> None:
    assert compose(VARIABLES)
    for name in VARIABLES:
        with pytest.raises(KeyError, match=f"{name}: set it as docs/deployment.md says"):
            compose({**VARIABLES, name: ""})


def test_each_step_waits_for_the_one_before() -> None:
    services = compose(VARIABLES)["services"]
    assert {name: service.get("depends_on") for name, service in services.items()} == {
        "db": None,
        "migrate": {"db": {"condition": "service_healthy"}},
        "role": {"migrate": {"condition": "service_completed_successfully"}},
        "api": {"role": {"condition": "service_completed_successfully"}},
    }


def test_ours_have_no_rights() -> None:
    services = compose(VARIABLES)["services"]
    for name in OURS:
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service, "the image's own user is an ordinary one"
        assert not service.keys() & {"privileged", "cap_add", "volumes", "network_mode", "pid"}


def test_the_service_does_not_know_the_owner() -> None:
    environment = compose(VARIABLES)["services"]["api"]["environment"]
    assert VARIABLES["OWNER_PASSWORD"] not in str(environment)
    assert environment["AUTO_MIGRATE"] == "false"


def test_the_steps_speak_of_the_same_database_and_role() -> None:
    services = compose({"OWNER_PASSWORD": "a", "APP_PASSWORD": "b"})["services"]
    server = services["db"]["environment"]
    user, database = server["POSTGRES_USER"], server["POSTGRES_DB"]
    for name in ("migrate", "role"):
        assert services[name]["environment"]["DATABASE_URL"] == f"postgresql://{user}:a@db/{database}"
    role = services["role"]["command"][3]
    url = services["api"]["environment"]["DATABASE_URL"]
    assert url == f"postgresql://{role}:b@db/{database}"
    assert libpq_url(Settings(database_url=url)) == url


def test_running_requests_may_end() -> None:
    grace = int(compose(VARIABLES)["services"]["api"]["stop_grace_period"].removesuffix("s"))
    assert grace >= Settings().ending_seconds + 5


def test_only_this_machine_reaches_it() -> None:
    services = compose(VARIABLES)["services"]
    port = image_setting("PORT")
    assert services["api"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert [name for name, service in services.items() if "ports" in service] == ["api"]


def test_the_server_is_the_one_that_the_tests_ran_with() -> None:
    said = subprocess.run([find_binaries() / "postgres", "--version"], capture_output=True, text=True).stdout
    server = compose(VARIABLES)["services"]["db"]
    assert server["image"] == f"postgres:{said.split()[-1]}"
    # From version 18 on, the image has its data below this folder.
    assert server["volumes"] == ["data:/var/lib/postgresql"]
