"""The OpenAPI document, made once at the start: what flask-smorest derives from views and schemas, and the rest."""

from pathlib import Path
from typing import Any

import flask_smorest
import orjson
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask
from marshmallow.fields import Field

from taskapi import __version__
from taskapi.schemas.bulk import Element
from taskapi.schemas.fields import CODES, Code, Query
from taskapi.schemas.undo import WAYS
from taskapi.settings import Settings
from taskapi.web import examples
from taskapi.web.access import needs_token
from taskapi.web.samples import samples

INFO = {
    "summary": "The backend of a task manager.",
    "description": (Path(__file__).parent / "docs/introduction.md").read_text(encoding="utf-8"),
    "contact": {"name": "The operators of this service"},
    "license": {"name": "MIT", "identifier": "MIT"},
}

METHODS = {"get", "post", "put", "patch", "delete"}

IN_PATHS = {"task_id": {"description": "The task's id.", "example": examples.TASK_ID}}
"""What flask-smorest cannot know about path parameters."""


def configure(app: Flask, settings: Settings) -> dict[str, Any]:
    """Set what flask-smorest reads from the configuration; return what its Api takes as `spec_kwargs`."""
    app.config.update(API_TITLE="taskapi", API_VERSION=__version__, OPENAPI_VERSION="3.1.0")
    return {"info": INFO, "servers": [{"url": settings.script_name or "/"}], "marshmallow_plugin": Plugin()}


def render(api: flask_smorest.Api) -> bytes:
    """The document as JSON, with every registered blueprint."""
    api.spec.components.security_scheme(
        "bearer",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "Only where the service has API_TOKENS or sign-in by JWT.",
        },
    )
    for name, (words, description) in CODES.items():
        api.spec.components.schema(name, {"type": "string", "enum": list(words), "description": description})
    spec: dict[str, Any] = api.spec.to_dict()
    schemas = spec["components"]["schemas"]
    # Part of flask-smorest's pagination, which we do not use.
    del schemas["PaginationMetadata"]
    # marshmallow cannot express "at least one of them".
    schemas["TaskUpdate"]["minProperties"] = 1
    # Nor "one of these ways, and nothing of the others".
    schemas["Undo"]["oneOf"] = [{"required": sorted(way)} for way in WAYS]
    schemas["Undo"]["dependentRequired"] = {
        "until": ["since"],
        **{name: sorted(way - {name}) for way in WAYS for name in sorted(way) if len(way) > 1},
    }
    schemas["TaskChange"]["anyOf"] = [{"required": ["title"]}, {"required": ["description"]}]
    schemas["BulkWrite"].update(minProperties=1, maxProperties=1)
    for path, operations in spec["paths"].items():
        shared = operations.get("parameters", [])
        for parameter in shared:
            parameter.update(IN_PATHS[parameter["name"]])
        for method in operations.keys() & METHODS:
            operation = operations[method]
            parameters = [*shared, *operation.get("parameters", [])]
            if needs_token(path):
                operation["security"] = [{}, {"bearer": []}]
            else:
                operation["security"] = [{}]
                del operation["responses"]["401"]
            operation["x-codeSamples"] = samples(method, path, {**operation, "parameters": parameters})
    return orjson.dumps(spec)


class Converter(OpenAPIConverter):
    """Converts marshmallow's fields to JSON Schema, also what apispec does not support."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_attribute_function(_constant)  # type: ignore[no-untyped-call]
        self.add_attribute_function(_code)  # type: ignore[no-untyped-call]
        self.add_attribute_function(_element)  # type: ignore[no-untyped-call]
        self.add_parameter_attribute_function(_empty_value)


class Plugin(MarshmallowPlugin):
    """apispec's marshmallow plugin, with our converter."""

    Converter = Converter


def _constant(converter: Any, field: Field[Any], **_: Any) -> dict[str, Any]:
    """Use `const`, which apispec does not support."""
    return {"const": field.metadata["const"]} if "const" in field.metadata else {}


def _code(converter: Any, field: Field[Any], *, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """An enumeration is a component. A field that allows only one of its values also has `const`."""
    if not isinstance(field, Code):
        return {}
    component = {"$ref": f"#/components/schemas/{field.component}"}
    if field.only:
        # allOf, because client generators ignore keywords beside a $ref.
        only = {"allOf": [component], "const": field.only}
        if not field.allow_none:
            return only
        ret.clear()
        return {"anyOf": [only, {"type": "null"}]}
    description = {name: ret[name] for name in ("description",) if name in ret}
    ret.clear()
    return {**component, **description}


def _element(converter: Any, field: Field[Any], *, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """An element is an id or an object."""
    if not isinstance(field, Element):
        return {}
    component = {"$ref": ret.pop("$ref")}
    return {"anyOf": [{"type": "string", "format": "uuid"}, component]}


def _empty_value(converter: Any, field: Field[Any], *, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    if isinstance(field.parent, Query) and ret["name"] in field.parent.EMPTY_IS_ABSENT:
        return {"allowEmptyValue": True, "description": f"{ret['description']} Empty counts as absent."}
    return {}
