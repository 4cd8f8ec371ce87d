"""The image's files keep the rules of their makers: hadolint's, the Compose Specification's and Kubernetes' schemas."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskapi.places import ROOT

TOOLS = Path(sys.prefix, "image", "bin")

KUBERNETES = ("1.30", "1.37")
"""The oldest version that the page promises, and the newest that the tool knows."""


def run(tool: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    if not (TOOLS / tool).exists():
        pytest.fail(f"{tool} is not in {TOOLS}: `make image-test` installs it")
    return subprocess.run([TOOLS / tool, *map(str, arguments)], capture_output=True, text=True)


def broken(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A copy of the file with a fault in it."""
    text = (ROOT / name).read_text()
    assert old in text
    copy = tmp_path / Path(name).name
    copy.write_text(text.replace(old, new, 1))
    return copy


def test_the_dockerfile(tmp_path: Path) -> None:
    done = run("hadolint", "--failure-threshold=style", ROOT / "Dockerfile")
    assert done.returncode == 0, done.stdout
    done = run("hadolint", broken(tmp_path, "Dockerfile", 'CMD ["gunicorn", "wsgi:app"]', "CMD gunicorn wsgi:app"))
    assert "DL3025" in done.stdout


def test_it_installs_pinned_versions_alone() -> None:
    """hadolint does not know pip by this path."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"/tools/bin/pip .*", dockerfile)
    assert len(installs) == 2
    for line in installs:
        files = re.search(r" install --no-cache-dir --only-binary=:all: -r (\S+)(?: \\)?$", line)
        assert files, line
        (copied,) = re.findall(rf"^COPY (\S*{files[1]}) \./$", dockerfile, re.MULTILINE)
        for package in (ROOT / copied).read_text().splitlines():
            assert re.fullmatch(r"(#.*|[\w.-]+==[\w.]+|)", package), package


def test_the_compose_file(tmp_path: Path) -> None:
    done = run("check-jsonschema", "--builtin-schema=vendor.compose-spec", ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = broken(tmp_path, "compose.yaml", "read_only:", "readonly:")
    assert run("check-jsonschema", "--builtin-schema=vendor.compose-spec", wrong).returncode == 1


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_kubernetes_file(version: str, tmp_path: Path) -> None:
    done = run("kubernetes-validate", "--strict", f"--kubernetes-version={version}", ROOT / "deploy/kubernetes.yaml")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed for resource ") == 4
    wrong = broken(tmp_path, "deploy/kubernetes.yaml", "readOnlyRootFilesystem:", "readOnlyRootFileSystem:")
    assert run("kubernetes-validate", "--strict", f"--kubernetes-version={version}", wrong).returncode == 1
