"""Figures are never worth a process: a full disk, and a folder that somebody removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskapi.places import ROOT
from tests.support.environment import environment_of
from tests.support.small_disk import MISSING

COUNTING = """
import os, sys
from pathlib import Path

disk = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
from flask import Flask
from taskapi.settings import Settings
from taskapi.web import metrics

app = Flask("test")
figures = metrics.init_metrics(app, Settings(metrics=True, metrics_folder=str(disk)))
metrics.PAUSE = 0.0

def observe(number):
    figures.observe({"method": "GET", "route": f"/{number}", "status": 200, "duration_ms": 1.0, "database_ms": 1.0})

def counted():
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200, answer.status
    return answer.text.count("taskapi_requests_total{")

filler = (disk / "filler").open("wb", buffering=0)
try:
    while filler.write(bytes(4096)):
        pass
except OSError:
    pass
observe(0)
print(counted())
filler.truncate(0)
for number in range(2000):
    observe(number)
print(counted())
(disk / "filler").unlink()
# More than there is room for: those that there was none for are missing.
assert 20 < counted() < 2000
"""


def test_a_full_disk(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=512k,mode=700 none "$PROMETHEUS_MULTIPROC_DIR" && exec "$@"'
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*namespace, "sh", "-c", mount, "sh", sys.executable, "-c", COUNTING],
        cwd=ROOT,
        env=environment_of(PROMETHEUS_MULTIPROC_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.fail(f"{MISSING}: {done.stderr}")
    assert done.returncode == 0, done.stderr
    full, later = map(int, done.stdout.split())
    assert full == 0
    assert later > 20
    assert "requests are not counted for the next" in done.stderr
