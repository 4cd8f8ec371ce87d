"""How log lines look: a line of JSON each in production, readable text in development."""

import logging
import re
from datetime import UTC, datetime
from typing import Any

import orjson
from gunicorn.glogging import Logger

from taskapi.settings import Settings


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message."""

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
        if record.exc_info:
            line["exception"] = _printable(self.formatException(record.exc_info))
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """A line for a person's eyes."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; an exception's traceback follows on lines of its own."""
        line = (
            f"{datetime.fromtimestamp(record.created):%H:%M:%S} {record.levelname:7} {_one_line(record.getMessage())}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def without_quotes(message: str) -> str:
    """gunicorn's message about a malformed request, up to what it quotes of the request: that may be a secret."""
    return re.split(r":? b?['\"]", message)[0]


class QuietLogger(Logger):
    """gunicorn's logger without its access log: the service writes its own line for each request."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing."""

    def warning(self, msg: str, *arguments: Any, **options: Any) -> None:
        """A warning; where it is about a malformed request, without quotes from that."""
        if msg.startswith("Invalid request from ip="):
            msg = without_quotes(msg)
        super().warning(msg, *arguments, **options)


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
