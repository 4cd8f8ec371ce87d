"""The format of log lines: JSON in production, readable text in development."""

import io
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from taskapi.environment import says_production
from taskapi.output import Output
from taskapi.settings import Settings


def _text_notice(count: int) -> str:
    return f"{datetime.now():%H:%M:%S} WARNING {count} log lines could not be written, and are lost\n"


def _json_notice(count: int) -> str:
    return json_line("WARNING", "taskapi.logs", f"{count} log lines could not be written, and are lost")


stdout = Output(1, _text_notice)
stderr = Output(2, _text_notice)
"""All output of this process, for people and machines, goes through these two."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line. An exception's traceback is in the field `exception`."""
        fields = {"exception": _printable(self.formatException(record.exc_info))} if record.exc_info else {}
        line = json_line(record.levelname, record.name, record.getMessage(), created=record.created, **fields)
        return line.removesuffix("\n")


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text. An exception's traceback follows on separate lines."""
        line = (
            f"{datetime.fromtimestamp(record.created):%H:%M:%S} {record.levelname:7} {_one_line(record.getMessage())}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def json_line(level: str, logger: str, message: str, created: float | None = None, **fields: Any) -> str:
    """The line with its line end. `created` is in seconds since 1970, by default now."""
    now = datetime.now(UTC) if created is None else datetime.fromtimestamp(created, UTC)
    time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": time, "level": level, "logger": logger, "message": _printable(message), **fields}
    return orjson.dumps(line).decode() + "\n"


class Printed(io.TextIOBase):
    """Replaces stdout or stderr in production: each printed line becomes a line of JSON."""

    def __init__(self, output: Output, level: str, name: str) -> None:
        self._output = output
        self._level = level
        self._name = name
        self._begun = ""

    def write(self, text: str) -> int:
        """Write the complete lines, and keep the rest."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                self._output.write(json_line(self._level, self._name, line))
        return len(text)

    def flush(self) -> None:
        """Write the incomplete line."""
        if self._begun:
            self.write("\n")

    def fileno(self) -> int:
        """The descriptor of the output."""
        return self._output.fileno()


def take_over_prints() -> None:
    """Make print() never wait or fail, whatever the encoding; in production, it writes JSON.

    Call this first, before the settings are checked.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It was closed at our start. Otherwise the next file would get its number, and then our lines.
            os.open(os.devnull, os.O_RDWR)
    if says_production():
        sys.stdout, sys.stderr = Printed(stdout, "INFO", "stdout"), Printed(stderr, "ERROR", "stderr")
    else:
        sys.stdout, sys.stderr = stdout, stderr


def config(settings: Settings) -> dict[str, Any]:
    """For logging.config.dictConfig, and gunicorn's `logconfig_dict`: everything goes to stderr."""
    formatter = JsonFormatter if settings.in_production else TextFormatter
    stdout.notice = stderr.notice = _json_notice if settings.in_production else _text_notice
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": stderr}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "taskapi": {"level": settings.log_level, "handlers": ["stderr"], "propagate": False},
            "gunicorn.error": {"level": settings.log_level, "handlers": ["stderr"], "propagate": False},
        },
    }


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _one_line(text: str) -> str:
    # A path may contain line ends, which would forge log lines.
    return _printable(text).replace("\n", "\\n").replace("\r", "\\r")
