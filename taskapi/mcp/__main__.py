"""The command `python -m taskapi.mcp`: prepares the database, then serves one client on stdio, or many with --http."""

import argparse
import logging
import logging.config
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import anyio

from taskapi.database.database import Database
from taskapi.database.database_url import libpq_url
from taskapi.embedded import LESSER_ROLE, EmbeddedError, EmbeddedPostgres
from taskapi.errors import ConfigurationError
from taskapi.logs import config as logging_config
from taskapi.mcp import http, stdio
from taskapi.mcp.server import create_server
from taskapi.migrations import MigrationError, prepare_schema
from taskapi.repository import Repository
from taskapi.role import Refused, settings_as, warning
from taskapi.settings import Settings
from taskapi.signals import ENDING, held_back

CONNECTIONS = 2
"""The most database connections: agents make few calls."""

log = logging.getLogger("taskapi.mcp")


def main() -> int:
    """Serve with the settings of the environment. Return the exit code; print errors as one sentence to stderr."""
    options = _options()
    try:
        if sys.flags.optimize > 1:
            raise ConfigurationError(
                "Python's -OO (PYTHONOPTIMIZE=2) removes the docstrings, which tell agents what each tool does: leave"
                " it out."
            )
        settings = Settings.from_environment()
        logging.config.dictConfig(logging_config(settings))
        is_embedded = not settings.database_url
        with _database(settings) as url:
            settings = replace(
                settings, database_url=url, workers=1, db_connections=min(settings.db_connections, CONNECTIONS)
            )
            libpq_url(settings)
            try:
                log.info(prepare_schema(settings))
                if is_embedded and settings.takes_jwts:
                    # As in production: row-level security does not hold for the role that owns the tables.
                    settings = settings_as(settings, LESSER_ROLE)
                elif told := warning(settings):
                    log.error(told)
            except MigrationError as error:
                # Until the database is in order, each call says so. That is better than a client without its tools.
                log.error("%s", error)  # noqa: TRY400
            server = create_server(Repository(Database(settings)), settings)
            if options.http:
                anyio.run(partial(http.serve, server, settings, host=options.host, port=options.port))
            else:
                anyio.run(partial(stdio.serve, server, patience=settings.request_deadline))
    except (ConfigurationError, EmbeddedError, Refused) as error:
        sys.stderr.write(f"taskapi: {error}\n")
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m taskapi.mcp", description="The task list for AI agents, over MCP.")
    parser.add_argument("--http", action="store_true", help="serve streamable HTTP at /mcp, instead of stdio")
    parser.add_argument("--host", default="127.0.0.1", help="address for --http (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8001, help="port for --http (default: %(default)s)")
    return parser.parse_args()


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """DATABASE_URL, or else the URL of the development database, which a running service may share."""
    if settings.database_url:
        yield settings.database_url
        return
    embedded = EmbeddedPostgres(settings.data_dir)

    def end(number: int, _: object) -> None:
        # At once: nothing else ends the thread that reads stdin.
        embedded.stop()
        os._exit(128 + number)

    for ending in ENDING:
        signal.signal(ending, end)
    # Half started, it could not be stopped.
    with held_back():
        embedded.start()
    try:
        yield embedded.url
    finally:
        embedded.stop()


if __name__ == "__main__":
    sys.exit(main())
