"""The JSON Schemas of arguments and results of the tools, made from the schemas that validate them."""

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from taskapi.schemas.fields import ACTION_TYPES
from taskapi.schemas.stats import WeeklyStatsSchema
from taskapi.schemas.tasks import TaskSchema


def _within(_: type[Schema]) -> str:
    """No name: each schema is written out in its place."""
    return ""


_plugin = MarshmallowPlugin(schema_name_resolver=_within)
APISpec("tools", "1", "3.1.0", plugins=[_plugin])


def json_schema(schema: Schema) -> dict[str, Any]:
    """The JSON Schema of the object that a marshmallow schema describes, nested objects included."""
    assert _plugin.converter is not None
    described = _plugin.converter.schema2jsonschema(schema)  # type: ignore[no-untyped-call]
    return {"type": "object", **_without_patterns(described)}


def _without_patterns(value: Any) -> Any:
    """Leave these out: they cost tokens, and the error messages say more."""
    if isinstance(value, dict):
        return {name: _without_patterns(part) for name, part in value.items() if name != "pattern"}
    return value


def record(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON Schema of an object with these properties."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def array(items: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an array."""
    return {"type": "array", "items": items}


STRING = {"type": "string"}
TRUE = {"type": "boolean", "const": True}
ACTION = {"enum": list(ACTION_TYPES)}
COUNT = {"type": "integer"}

TASK = json_schema(TaskSchema())
STATISTICS = json_schema(WeeklyStatsSchema())
LINE = record({"id": STRING, "title": STRING}, {"about": STRING, "completed": STRING})
ENTRY = record({"action": ACTION, "what": STRING, "at": STRING}, {"task_id": STRING})
