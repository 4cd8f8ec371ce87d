"""The WSGI layer around Flask: a request id, one log line for each request, and the headers that every answer has."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from taskapi import logs
from taskapi.deadline import deadline, seconds_spent
from taskapi.request_id import request_id_of
from taskapi.settings import Settings
from taskapi.web.metrics import Figures

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

REQUEST_ID = "taskapi.request_id"
"""Key in the WSGI environment: the request's id."""

NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
NO_STORE = ("Cache-Control", "no-store")


class Observation:
    """Wraps a WSGI application. It costs a few microseconds, where Flask's hooks and the logging module cost fifty."""

    def __init__(self, application: Wsgi, settings: Settings, figures: Figures | None) -> None:
        """`figures`: where to count each request; None: nowhere."""
        self._application = application
        self._logs = settings.log_level in ("DEBUG", "INFO")
        self._line = _json_line if settings.in_production else _text_line
        self._figures = figures
        self._seconds = settings.request_deadline

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request, and log it."""
        started = time.perf_counter()
        seconds_spent.set(0.0)
        request_id = request_id_of(environ.get("HTTP_X_REQUEST_ID", ""))
        answer_status, route = "", None

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal answer_status, route
            # Flask forgets its request object before it returns.
            answer_status, route = status, _route(environ)
            headers += (("X-Request-Id", request_id), NO_SNIFFING)
            if "Cache-Control" not in dict(headers):
                headers.append(NO_STORE)
            return start_response(status, headers, exc_info)

        environ[REQUEST_ID] = request_id
        # An absolute target needs no path (RFC 9112, section 3.2.2). Werkzeug would redirect, by the Host header.
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"
        # A server may ignore it (RFC 9110, section 7.8); Werkzeug would look for WebSockets instead of our paths.
        environ.pop("HTTP_UPGRADE", None)
        token = deadline.set(time.monotonic() + self._seconds)
        try:
            answer = self._application(environ, start)
        finally:
            deadline.reset(token)
        if self._logs or self._figures:
            fields = {
                "request_id": request_id,
                "method": environ["REQUEST_METHOD"],
                "route": route,
                "path": environ["PATH_INFO"],
                "status": int(answer_status[:3]),
                "duration_ms": round((time.perf_counter() - started) * 1000, 3),
                "database_ms": round(seconds_spent.get() * 1000, 3),
            }
            if self._figures:
                self._figures.observe(fields)
            if self._logs:
                logs.stderr.write(self._line(fields))
        return answer


def _route(environ: Environ) -> str | None:
    """The rule that the path matched, such as /api/v1/tasks/<task_id:task_id>; None when it matched none."""
    request = environ.get("werkzeug.request")
    return request.url_rule.rule if request is not None and request.url_rule else None


def _json_line(fields: dict[str, Any]) -> str:
    # WSGI's paths are bytes decoded as latin-1 (PEP 3333).
    fields["path"] = fields["path"].encode("latin-1").decode("utf-8", "replace")
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"time": now, "level": "INFO", "logger": "taskapi.request", **fields}).decode() + "\n"


def _text_line(fields: dict[str, Any]) -> str:
    # A path may contain line breaks, which would forge log lines.
    path = ascii(fields["path"])[1:-1]
    return (
        f"{datetime.now():%H:%M:%S} INFO    {fields['method'][:20]} {path} {fields['status']}"
        f"  {fields['duration_ms']:.1f} ms (database {fields['database_ms']:.1f})  {fields['request_id']}\n"
    )
