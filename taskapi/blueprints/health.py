"""Health: whether the process answers, and whether the database behind it can serve."""

import orjson
from flask import Response, current_app

from taskapi import __version__
from taskapi.errors import NotSecured, SchemaMismatch
from taskapi.revision import COMMAND, head
from taskapi.schemas.health import HealthAnswerSchema, ReadyAnswerSchema
from taskapi.web import examples
from taskapi.web.access import TAKES_JWTS
from taskapi.web.blueprint import Blueprint, everybodys
from taskapi.web.envelope import success

health = Blueprint("Health", __name__, url_prefix="/api/v1/health", description="For load balancers and monitors.")

HEALTHY = {"status": "healthy", "service": "taskapi", "version": __version__}
HEALTHY_JSON = orjson.dumps(HEALTHY)
HEAD = head()


@health.get("")
@health.answers(200, HealthAnswerSchema, example=examples.success(HEALTHY), needs_database=False)
def get_health() -> Response:
    """Tell that the service is up

    Never asks the database, and never needs a token.
    """
    return success(HEALTHY_JSON)


@health.get("/ready")
@health.answers(200, ReadyAnswerSchema, example=examples.success({"status": "ready", "schema": HEAD}))
def get_readiness() -> Response:
    """Tell whether the service can serve

    Ready means that the database answers, takes writes, has this version's tables and schema, and was not loaded into a
    younger cluster. With sign-in by JWT, row-level security must hold for the service's role, too. Otherwise 503, with
    the reason. Never needs a token.
    """
    current, is_secured = everybodys().schema_version()
    if current != HEAD:
        raise SchemaMismatch(
            f"The database's schema is at {current}, and this version of taskapi needs {HEAD}: run `{COMMAND}`, or"
            " deploy the version that knows it."
        )
    if current_app.config[TAKES_JWTS] and not is_secured:
        raise NotSecured
    everybodys().check_transactions()
    return success(orjson.dumps({"status": "ready", "schema": current}))
