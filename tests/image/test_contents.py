"""What is in the image: what production needs, and nothing that it does not."""

import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from taskapi import __version__
from taskapi.places import ROOT
from tests.image.conftest import Start
from tests.image.image import SECRET, Image

OURS = {
    "LICENSE",
    "alembic",
    "alembic.ini",
    "gunicorn.conf.py",
    "healthcheck.py",
    "sbom.cdx.json",
    "sql",
    "taskapi",
    "wsgi.py",
}

UNWANTED = re.compile(r"(gcc|g\+\+|cc|c\+\+|clang|make|ld|as|pip[\d.]*|easy_install|curl|wget|git)")
"""Programs that nobody needs in production, other than who has broken in."""


def added(image: Image) -> Iterator[Path]:
    """All files, folders and links that the image has and its base has not."""
    for path in image.root.rglob("*"):
        if (
            not (image.base / path.relative_to(image.root)).is_symlink()
            and not (image.base / path.relative_to(image.root)).exists()
        ):
            yield path


def files(image: Image) -> list[Path]:
    return [path for path in added(image) if path.is_file() and not path.is_symlink()]


def test_it_adds_at_most_80_megabytes(image: Image, figure: Callable[[str], None]) -> None:
    size = sum(path.stat().st_size for path in files(image))
    figure(f"{size / 1e6:.1f} MB more than the base")
    assert size <= 80_000_000


def test_it_has_two_folders_more_than_its_base(image: Image) -> None:
    assert {path.relative_to(image.root).parts[0] for path in added(image)} == {"app", "venv"}
    assert {path.name for path in (image.root / "app").iterdir()} - {"__pycache__"} == OURS


def test_no_secret_of_the_checkout_and_none_of_its_history(image: Image) -> None:
    for path in files(image):
        assert SECRET.encode() not in path.read_bytes(), path
    names = {path.name for path in added(image)}
    assert not names & {".env", ".git", "id_rsa", ".data", "Makefile", "Dockerfile"}
    assert not {name for name in names if name.startswith(".env")}


def test_no_test_and_no_tool(image: Image) -> None:
    paths = [path.relative_to(image.root) for path in added(image)]
    assert [path for path in paths if {"tests", "testing"} & set(path.parts[:-1])] == []
    for folder in image.config["Env"][0].partition("=")[2].split(":"):
        found = [path.name for path in (image.root / folder.strip("/")).glob("*") if UNWANTED.fullmatch(path.name)]
        assert found == [], folder
    packages = image.root / "venv/lib/python3.13/site-packages"
    assert not [
        name for name in ("pip", "setuptools", "wheel", "pytest", "cyclonedx", "mcp") if (packages / name).exists()
    ]


def test_everybody_may_read_it_and_nobody_may_change_it(image: Image) -> None:
    """Though only its owner may read the checkout."""
    for path in added(image):
        mode, owner = path.lstat().st_mode, path.lstat().st_uid
        assert owner == 0, path
        if not stat.S_ISLNK(mode):
            assert mode & (stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)), path
            assert not mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID), path


def test_it_runs_as_a_user_with_a_number(image: Image) -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", image.config["User"])


def test_it_is_compiled(start: Start) -> None:
    """What it imports comes from no source: to compile that again at each start takes seconds."""
    imports = "import wsgi, gunicorn.app.wsgiapp, taskapi.server.worker, taskapi.migrations, alembic.command, jwt"
    container = start({"DATABASE_URL": "postgresql://u@h/d"}, "python", "-v", "-c", imports)
    assert container.wait() == 0, container.log
    loaded = re.findall(r"^# code object from '?([^'\n]+?)'?$", container.log, re.MULTILINE)
    ours = [path for path in loaded if path.startswith(("/app", "/venv"))]
    assert len(ours) > 300
    assert [path for path in ours if not path.endswith(".pyc")] == []


def test_the_bill_of_materials_has_every_package(image: Image) -> None:
    bill = json.loads((image.root / "app/sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    found = {(part["name"].lower().replace("_", "-").replace(".", "-"), part["version"]) for part in bill["components"]}
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found == {(name.lower().replace("_", "-"), version) for name, version in pinned}
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])


def test_its_labels(image: Image) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "taskapi"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.base.name"].endswith("python:3.13-slim-trixie")
