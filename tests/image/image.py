"""The image, built of this code as `docker build .` builds it, and its files."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskapi.places import ROOT
from tests.image.store import BASE, OPTIONS, buildah

NAME = "localhost/taskapi"

SECRET = "hunter2-of-the-checkout"
"""What must not reach the image: it is in files of the checkout that a developer may have."""

LITTER = (".env", ".git/config", "id_rsa", "taskapi/.env", "taskapi/__pycache__/x.cpython-313.pyc", "tests/secret.py")

LARGE = (".git", ".venv", ".data", "build", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".hypothesis")

FROM_THE_MACHINE = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""How this machine reaches the package registry: mounted while the image is built, where they are there."""


@dataclass(frozen=True)
class Image:
    """Its configuration as Docker has it, where its files are mounted, and where the base's are."""

    config: dict[str, Any]
    root: Path
    base: Path


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """The image, from a copy of this checkout that has secrets, and that only its owner may read."""
    context = folder / "checkout"
    shutil.copytree(ROOT, context, ignore=shutil.ignore_patterns(*LARGE))
    for litter in LITTER:
        (context / litter).parent.mkdir(exist_ok=True)
        (context / litter).write_text(f"PASSWORD={SECRET}\n")
    subprocess.run(["chmod", "-R", "u=rwX,go=", context], check=True)
    volumes = [f"--volume={path}:{path}:ro" for path in FROM_THE_MACHINE if Path(path).exists()]
    # OCI's own format knows no HEALTHCHECK.
    buildah("build", "--format=docker", "--layers", f"--build-arg=BASE={BASE}", *volumes, f"--tag={NAME}", str(context))
    yield Image(_config(), Path(buildah("mount", buildah("from", NAME))), Path(buildah("mount", buildah("from", BASE))))


def _config() -> dict[str, Any]:
    done = subprocess.run(
        ["buildah", *OPTIONS, "inspect", "--type=image", NAME], capture_output=True, text=True, check=True
    )
    config: dict[str, Any] = json.loads(done.stdout)["Docker"]["config"]
    return config
