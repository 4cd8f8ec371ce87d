"""A client in TypeScript, generated from the OpenAPI document: it compiles strictly, and every operation works."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from marshmallow import ValidationError

from taskapi.schemas.fields import DESCRIPTION_LENGTH, TITLE_LENGTH, Text
from taskapi.web.samples import SERVER
from tests.support.service import Service

SOURCES = Path(__file__).with_name("typescript")

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Call it with a program and its arguments for what it prints, in a folder with the sources and what they need."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.fail(f"{program} is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    # What the lock file names, and no program of theirs is run.
    call("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
    return call


def test_a_generated_client_compiles_and_every_operation_works(run: Run, service: Service) -> None:
    with service.client() as client:
        paths = client.get("/api/openapi.json").json()["paths"]
    wanted = {part["operationId"] for path in paths.values() for method, part in path.items() if method != "parameters"}
    run("node_modules/.bin/openapi-typescript", f"{service.url}/api/openapi.json", "--output", "api.d.ts")
    run("node_modules/.bin/tsc", "--project", ".")
    assert set(run("node", "client.js", service.url).split()) == wanted


def test_redocly_and_spectral_find_nothing(run: Run, service: Service) -> None:
    assert run("node", "lint.mjs", f"{service.url}/api/openapi.json") == ""


def test_the_samples_for_fetch_work(run: Run, service: Service) -> None:
    answers = [json.loads(line) for line in run("node", "samples.mjs", SERVER, service.url).splitlines()]
    assert len(answers) >= 11
    for operation, status, success, error in answers:
        # The task of the examples is not there.
        is_about_it = "{task_id}" in operation or operation == "post /api/v1/undo"
        wanted = 404 if is_about_it else 201 if operation.startswith("post ") else 200
        assert (status, success) == (wanted, wanted < 400), f"{operation}: {error}"


def test_javascript_reads_the_patterns_as_the_service_does(run: Run, service: Service) -> None:
    """Of every character alone, but for surrogates, which are no characters."""
    title = Text(longest=TITLE_LENGTH, blank=False)
    description = Text(longest=DESCRIPTION_LENGTH)
    characters = [chr(number) for number in range(0x110000) if not 0xD800 <= number < 0xE000]
    expected = {
        "title": [ord(character) for character in characters if _refuses(title, character)],
        "description": [ord(character) for character in characters if _refuses(description, character)],
    }
    found = json.loads(run("node", "patterns.mjs", service.url))
    assert len(found) == 4
    for name, refused in found.items():
        assert refused == expected[name.split(" ")[0]], name


def _refuses(field: Text, value: str) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return True
    return False
