"""Load from wrk: as many requests as a number of connections gets through, one after the other on each."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("operations.lua")


@dataclass(frozen=True)
class Load:
    """What wrk has measured. Latencies are in milliseconds; errors are answers from 400 on, and none at all."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def require_wrk() -> None:
    """End the program, with the way out, where wrk is missing."""
    if not shutil.which("wrk"):
        sys.exit("The benchmarks need wrk: apt-get install wrk")


def load(url: str, operation: str, ids: Path, *, connections: int, seconds: float) -> Load:
    """Ask for an operation of operations.lua on the tasks whose ids are in a file, for `seconds` (whole ones)."""
    done = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            "--timeout=30s",
            f"-s{SCRIPT}",
            url,
            "--",
            operation,
            str(ids),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return Load(**json.loads(done.stdout.splitlines()[-1]))
