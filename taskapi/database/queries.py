"""Loads the statements of sql/. The header `-- name(parameter, …)`, on one line or several, names each one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from taskapi.places import ROOT

SQL_FOLDER = ROOT / "sql"

HEADER = re.compile(r"^-- (?P<name>[a-z_]+)\((?P<parameters>[a-z_, ]*(?:,\n--[a-z_, ]+)*)\)$", re.MULTILINE)
PARAMETER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True)
class Statement:
    """One SQL statement with its name and parameters, in the two forms that are sent."""

    name: str
    parameters: tuple[str, ...]
    text: str
    prepare: str = field(init=False)
    execute: str = field(init=False)

    def __post_init__(self) -> None:
        placeholders = {name: f"${number}" for number, name in enumerate(self.parameters, start=1)}
        body = PARAMETER.sub(lambda match: placeholders[match[1]], self.text).replace("%%", "%")
        values = ", ".join(f"%({name})s" for name in self.parameters)
        object.__setattr__(self, "prepare", f"PREPARE {self.name} AS {body}")
        object.__setattr__(self, "execute", f"EXECUTE {self.name}" + (f"({values})" if values else ""))


def load(folder: Path = SQL_FOLDER) -> Mapping[str, Statement]:
    """Read every statement of the folder's .sql files, by name.

    Raises ValueError when two statements have the same name, or a header's parameters are not its statement's.
    """
    statements: dict[str, Statement] = {}
    for path in sorted(folder.glob("*.sql")):
        for statement in _statements(path):
            if statement.name in statements:
                raise ValueError(f"{path.name}: the name {statement.name} is used twice")
            statements[statement.name] = statement
    return statements


def _statements(path: Path) -> Iterator[Statement]:
    source = path.read_text(encoding="utf-8")
    headers = list(HEADER.finditer(source))
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        text = source[header.end() : following.start() if following else None]
        # Comments are for people; the server need not read them for each call.
        text = re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE).strip().removesuffix(";")
        parameters = tuple(re.findall("[a-z_]+", header["parameters"]))
        if set(parameters) != set(PARAMETER.findall(text)):
            raise ValueError(f"{path.name}: the parameters in the header of {header['name']} are not its statement's")
        yield Statement(header["name"], parameters, text)
