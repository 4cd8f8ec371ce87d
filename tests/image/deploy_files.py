"""What compose.yaml, deploy/kubernetes.yaml and Dockerfile say, for the tests that compare it, and those that do it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from taskapi.places import ROOT

VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """compose.yaml with the values of the variables. Raises KeyError, with its sentence, for one that must be set."""

    def value(found: re.Match[str]) -> str:
        name, sign, text = found.groups()
        if variables.get(name):
            return variables[name]
        if sign == "?":
            raise KeyError(f"{name}: {text}")
        return text or ""

    found: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, (ROOT / "compose.yaml").read_text()))
    return found


def kubernetes(kind: str) -> dict[str, Any]:
    """The only object of this kind."""
    (found,) = [
        each for each in yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text()) if each["kind"] == kind
    ]
    return found  # type: ignore[no-any-return]


def image_setting(name: str) -> str:
    """The value that Dockerfile gives an environment variable, or an instruction of this name."""
    found = re.search(rf"(?:^|\s){name}[= ]\"?([^\"\s]+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found, f"Dockerfile has no {name}"
    return found[1]
