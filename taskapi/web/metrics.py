"""Prometheus metrics at /metrics, if METRICS is on: the same figures whichever worker answers."""

import logging
import os
import stat
import time
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    mmap_dict,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from taskapi.settings import Settings

log = logging.getLogger("taskapi.metrics")

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

PAUSE = 30.0
"""Seconds until counting is tried again after the disk was full."""


class AllocatedFile(mmap_dict.MmapedDict):
    """prometheus_client's file of figures. Its space is allocated on the disk before it is written to.

    The original's is not, and where the disk is full then, a write to the mapped memory ends the process (SIGBUS).
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode and not Path(filename).exists():
            # A worker that answers /metrics in the meantime cannot read an empty file.
            unfinished = Path(f"{filename}.new")
            try:
                _allocate(unfinished, mmap_dict._INITIAL_MMAP_SIZE)
                unfinished.rename(filename)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        # Each key takes its length, padding and two numbers. The original doubles the file until it fits.
        size = self._capacity
        while size < self._used + len(key.encode()) + 64:
            size *= 2
        if size > self._capacity:
            _allocate(Path(self._fname), size)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _allocate(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


class Figures:
    """What this process counts, and what all that share its folder have counted."""

    def __init__(self, folder: str | None) -> None:
        """`folder`: where the workers share their figures, in files; None if this process counts alone."""
        self._folder = folder
        self._beginnings = 0
        self._idle_until = 0.0
        self._look_again = 0.0
        if folder:
            values.MmapedDict = AllocatedFile  # type: ignore[attr-defined]
            values.ValueClass = values.MultiProcessValue(self._name)  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        labels = ["method", "route"]
        histogram = partial(Histogram, labelnames=labels, registry=self._registry)
        self._requests = Counter("taskapi_requests", "Answered requests.", [*labels, "status"], registry=self._registry)
        self._duration = histogram("taskapi_request_seconds", "From a request's head to its answer.")
        self._database = histogram("taskapi_database_seconds", "Of that, waiting for the database.")

    def observe(self, fields: dict[str, Any]) -> None:
        """Count one request, by the fields of its log line. Labels come from our own routes, never from a client.

        Where there is no room for the figures, nothing is counted for PAUSE seconds: they are never worth a request.
        """
        now = time.monotonic()
        if now < self._idle_until:
            return
        method = fields["method"] if fields["method"] in METHODS else "other"
        route = fields["route"] or "none"
        try:
            if now >= self._look_again:
                self._look_again = now + 1.0
                self._heal()
            self._requests.labels(method, route, fields["status"]).inc()
            self._duration.labels(method, route).observe(fields["duration_ms"] / 1000)
            self._database.labels(method, route).observe(fields["database_ms"] / 1000)
        except OSError as error:
            log.warning("requests are not counted for the next %d seconds: %s", PAUSE, error)
            self._idle_until = now + PAUSE
            self._beginnings += 1

    def text(self) -> bytes:
        """The figures of all processes, in Prometheus' format. Raises OSError if those of others cannot be read."""
        registry = self._registry
        if self._folder:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, _made(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _heal(self) -> None:
        """Start again if the shared folder, or our files in it, were removed."""
        if self._folder and not Path(_made(self._folder), f"counter_{self._name()}.db").exists():
            self._beginnings += 1

    def _name(self) -> str:
        # With a new name, prometheus_client takes us for another process, which counts from 0 in new files.
        return f"{os.getpid()}.{self._beginnings}"


def init_metrics(app: Flask, settings: Settings) -> Figures | None:
    """Serve /metrics, and return the figures to count with; None if METRICS is off."""
    if not settings.metrics:
        return None
    figures = Figures(settings.metrics_folder)

    @app.get("/metrics")
    def metrics() -> Response:
        try:
            return Response(figures.text(), content_type=CONTENT_TYPE_LATEST)
        except OSError as error:
            log.warning("the metrics cannot be read: %s", error)
            return Response("The metrics cannot be read now.\n", 503, {"Retry-After": "10"}, "text/plain")

    return figures


def _made(folder: str) -> str:
    """The folder, created if it is missing. Raises OSError if that fails."""
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder
