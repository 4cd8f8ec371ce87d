"""The JSON Schemas of arguments and results of the tools, made from the schemas that validate them."""

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from taskapi.schemas.stats import WeeklyStatsSchema
from taskapi.schemas.tasks import TaskSchema


def _within(_: type[Schema]) -> str:
    """No name: each schema is written out in its place."""
    return ""


_plugin = MarshmallowPlugin(schema_name_resolver=_within)
APISpec("tools", "1", "3.1.0", plugins=[_plugin])


def json_schema(schema: Schema, *, without: frozenset[str] = frozenset({"pattern", "format"})) -> dict[str, Any]:
    """The JSON Schema of the object that a marshmallow schema describes, nested objects included, `without` these
    keywords. Patterns and formats cost tokens, and the error messages say more."""
    assert _plugin.converter is not None
    described = _plugin.converter.schema2jsonschema(schema)  # type: ignore[no-untyped-call]
    return {"type": "object", **_without(described, without)}


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(part, names) for name, part in value.items() if name not in names}
    return value


def record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON Schema of an object with these properties."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def array(items: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an array."""
    return {"type": "array", "items": items}


STRING = {"type": "string"}
TRUE = {"type": "boolean", "const": True}
COUNT = {"type": "integer"}

WORDS = frozenset({"description", "format"})
"""What the names of an answer's fields say, too."""

TASK = json_schema(TaskSchema(), without=WORDS)
STATISTICS = json_schema(WeeklyStatsSchema(), without=WORDS)
LINE = record({"id": STRING, "title": STRING}, {"about": STRING, "completed": STRING})
SHORT = {"type": "object"}
"""An object whose fields are not spelled out: they cost tokens. Of a task, they are those of a LINE."""
ENTRY = record({"action": STRING, "what": STRING, "at": STRING, "version": COUNT}, {"task_id": STRING, "by": STRING})
