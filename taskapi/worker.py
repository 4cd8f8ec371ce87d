"""gunicorn's gevent worker, which no slow client holds up, and which hands its database connections on when it ends."""

import os
from typing import Any

import gevent
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

CLIENT_TIMEOUT = 20.0
"""Seconds without a byte from or to a client, in a body or an answer, after which its connection is closed."""


class Worker(GeventWorker):
    """One process of the service: a greenlet for each connection."""

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection. The gevent worker's own method would take the timeout away again."""
        client.settimeout(CLIENT_TIMEOUT)
        AsyncWorker.handle(self, listener, client, addr)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """On TERM: finish what has begun, and free the database connections for the worker that follows."""
        super().handle_exit(sig, frame)
        gevent.spawn(self.wsgi.extensions["taskapi.database"].drain)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """On INT or QUIT: end at once. What has begun is rolled back by Postgres, and a client sees its connection end."""
        os._exit(0)
