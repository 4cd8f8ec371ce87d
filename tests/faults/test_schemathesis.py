"""No input causes a 500: schemathesis makes requests from the OpenAPI document, with every one of its checks."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taskapi.places import ROOT
from tests.support.environment import environment_of
from tests.support.load import Client
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql


def test_schemathesis_finds_nothing(
    start_service: Any, tmp_path: Path, sized: Callable[[Any, Any], Any], figure: Callable[[str], None]
) -> None:
    """All checks and all phases are on. What it is told besides is in schemathesis_hooks.py and schemathesis.toml."""
    seeds, examples = sized([1], [1, 2, 3]), sized(5, 200)
    service = start_service()
    cases = operations = 0
    for seed in seeds:
        report = tmp_path / f"seed-{seed}.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", ROOT / "tests/support/schemathesis.toml"),
                *("run", f"{service.url}/api/openapi.json"),
                *("--phases", "examples,coverage,fuzzing,stateful", "--mode", "all"),
                *("--seed", str(seed), "--max-examples", str(examples), "--request-timeout", "30"),
                *("--report", "json", "--report-json-path", str(report)),
            ],
            cwd=tmp_path,
            env=environment_of(
                HOME=str(tmp_path), PYTHONPATH=str(ROOT), SCHEMATHESIS_HOOKS="tests.support.schemathesis_hooks"
            ),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"seed {seed}:\n{done.stdout}\n{done.stderr}"
        found = json.loads(report.read_text())
        assert found["complete"]
        assert not found["failures"]
        assert not found["errors"]
        assert found["operations"]["tested"] == found["operations"]["total"] >= 11
        assert {phase["status"] for phase in found["phases"].values()} == {"success"}, found["phases"]
        cases += found["test_cases"]["generated"]
        operations = found["operations"]["tested"]
    assert cases >= sized(150, 3000)
    with Sql(service.database_url) as sql, Client(service.port) as client:
        assert client.request("GET", "/tasks").status == 200
        assert_replay_equals_tasks(sql)
    assert "Traceback" not in service.log
    figure(f"{cases:,} cases of {operations} operations, seeds {seeds}: 0 failures of any check")
