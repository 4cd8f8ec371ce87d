"""The code samples in the documentation: each operation's example as a call with curl and with fetch."""

import json
import shlex
from typing import Any
from urllib.parse import urlencode

SERVER = "http://localhost:8000"
"""The address of `make run`. The docs page replaces it by its own."""


def samples(method: str, path: str, operation: dict[str, Any]) -> list[dict[str, str]]:
    """The operation's `x-codeSamples`, an extension that ReDoc shows.

    `path` is filled with the examples of its parameters, the query string with those that have one.
    """
    parameters = operation.get("parameters", [])
    places = {parameter["name"]: parameter["example"] for parameter in parameters if parameter["in"] == "path"}
    query = {p["name"]: p["schema"]["example"] for p in parameters if p["in"] == "query" and "example" in p["schema"]}
    url = SERVER + path.format(**places) + (f"?{urlencode(query)}" if query else "")
    body = _example(operation.get("requestBody", {}).get("content", {}).get("application/json", {}))
    keyed = any(parameter["name"] == "Idempotency-Key" for parameter in parameters)
    return [
        {"lang": "Shell", "label": "curl", "source": _curl(method.upper(), url, body)},
        {"lang": "JavaScript", "label": "fetch", "source": _fetch(method.upper(), url, body, keyed)},
    ]


def _example(content: dict[str, Any]) -> Any:
    """The example of a body; the first one, if it has several."""
    several = content.get("examples", {}).values()
    return content.get("example", next((example["value"] for example in several), None))


def _curl(method: str, url: str, body: Any) -> str:
    parts = [f"curl {shlex.quote(url)}" if method == "GET" else f"curl -X {method} {shlex.quote(url)}"]
    if body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(body, ensure_ascii=False))}"]
    return " \\\n  ".join(parts)


def _fetch(method: str, url: str, body: Any, keyed: bool) -> str:
    headers = ['"Content-Type": "application/json"'] if body is not None else []
    headers += ['"Idempotency-Key": key'] if keyed else []
    options = [f'method: "{method}"'] if method != "GET" else []
    options += [f"headers: {{ {', '.join(headers)} }}"] if headers else []
    options += [f"body: JSON.stringify({json.dumps(body, ensure_ascii=False)})"] if body is not None else []
    key = "// A retry sends the same key.\nconst key = crypto.randomUUID();\n" if keyed else ""
    passed = ", {\n" + "".join(f"  {option},\n" for option in options) + "}" if options else ""
    return (
        f"{key}const response = await fetch({json.dumps(url)}{passed});\n"
        "const { success, data, popup, error } = await response.json();"
    )
