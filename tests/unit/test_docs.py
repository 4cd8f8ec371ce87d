"""The documents keep up with the code: settings, make targets, links, and the map of the repository."""

import re
from pathlib import Path

import pytest

from taskapi import __version__

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [
    ROOT / "README.md",
    CONTRIBUTING,
    ROOT / "examples/react/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

SETTINGS = {
    *re.findall(r'env\.(?!handed_down)\w+\(\s*"([A-Z_]+)"', (ROOT / "taskapi/settings.py").read_text()),
    "ENV_FILE",
}
"""Those of people: not what our processes hand down to each other."""


def test_readme_has_every_setting_and_no_other() -> None:
    table = README.split("## Settings")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == SETTINGS


def test_the_example_of_an_env_file_has_every_setting_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text()
    assert {*re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE), "APP_ENV", "ENV_FILE"} == SETTINGS
    assert "APP_ENV" in example
    assert "ENV_FILE" in example


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_what_the_walks_touch_is_there() -> None:
    paths = re.findall(r"`((?:[\w.]+/)+[\w.]*)`", CONTRIBUTING.read_text())
    assert len(paths) > 20
    assert [path for path in paths if path != ".venv/" and not (ROOT / path).exists()] == []


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog
    assert f"## [{__version__}] - " in changelog


def test_readme_maps_every_module() -> None:
    modules = {path.name for path in (ROOT / "taskapi").glob("*.py")} - {"__init__.py"}
    for module in modules:
        assert module in README, module


def test_decisions_are_numbered_and_say_where_they_stand() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    for number, page in enumerate(decisions, start=1):
        assert page.name.startswith(f"{number:04}-")
        assert page.read_text().startswith(f"# {number}. ")
        assert "**Status:**" in page.read_text()
