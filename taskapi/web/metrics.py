"""Prometheus metrics at /metrics, where METRICS is on: the same figures whichever worker is asked."""

import os
from typing import Any

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

REQUESTS = Counter("taskapi_requests", "Answered requests.", ["method", "route", "status"])
DURATION = Histogram("taskapi_request_seconds", "From a request's head to its answer.", ["method", "route"])
DATABASE = Histogram("taskapi_database_seconds", "Of that, waiting for the database.", ["method", "route"])


def init_metrics(app: Flask) -> None:
    """Serve /metrics. Under gunicorn the workers share PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets."""

    @app.get("/metrics")
    def metrics() -> Response:
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def observe(fields: dict[str, Any]) -> None:
    """Count one request, by the fields of its log line. Labels come from our own routes, never from a client."""
    method = fields["method"] if fields["method"] in METHODS else "other"
    route = fields["route"] or "none"
    REQUESTS.labels(method, route, fields["status"]).inc()
    DURATION.labels(method, route).observe(fields["duration_ms"] / 1000)
    DATABASE.labels(method, route).observe(fields["database_ms"] / 1000)
