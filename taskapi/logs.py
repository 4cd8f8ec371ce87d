"""How log lines look: a line of JSON each in production, readable text in development."""

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from taskapi.settings import Settings

REQUEST_FIELDS = ("request_id", "method", "route", "path", "status", "duration_ms", "database_ms")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and a request's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line; an exception's traceback is in its field `exception`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _printable(record.getMessage()),
        }
        for name in REQUEST_FIELDS:
            if name in record.__dict__:
                value = record.__dict__[name]
                line[name] = _printable(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = _printable(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """A line for a person's eyes, with a request's times behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; an exception's traceback follows on lines of its own."""
        line = (
            f"{datetime.fromtimestamp(record.created):%H:%M:%S} {record.levelname:7} {_one_line(record.getMessage())}"
        )
        if "duration_ms" in record.__dict__:
            fields = record.__dict__
            line += f"  {fields['duration_ms']:.1f} ms (database {fields['database_ms']:.1f})  {fields['request_id']}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def config(settings: Settings) -> dict[str, Any]:
    """For logging.config.dictConfig, and gunicorn's `logconfig_dict`: everything goes to stderr."""
    formatter = JsonFormatter if settings.in_production else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "taskapi": {"level": settings.log_level, "handlers": ["stderr"], "propagate": False},
            "gunicorn.error": {"level": settings.log_level, "handlers": ["stderr"], "propagate": False},
        },
    }


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _one_line(text: str) -> str:
    # A path may hold line ends, which would forge log lines.
    return _printable(text).replace("\n", "\\n").replace("\r", "\\r")
