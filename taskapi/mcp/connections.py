"""Limits HTTP connections so that none shuts out others: the time for a request, and how many may be idle."""

import asyncio
from itertools import count
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0
"""Seconds that a connection may take for the head of its next request, from its start or its last answer."""

MAX_WAITING = 500
"""The most connections without a request. One more closes the oldest of them."""

_numbers = count()


class Connection(H11Protocol):
    """uvicorn's protocol, which by itself waits for a request as long as the client likes."""

    # One event loop is one thread, and each process has one server.
    _waiting: ClassVar[dict["Connection", asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._number = next(_numbers)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._wait_no_more()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop waiting when a request's head is complete."""
        super().handle_events()
        if self._is_serving():
            self._wait_no_more()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request, which includes the rest of this one's body."""
        super().on_response_complete()
        if not self._is_serving() and not self.transport.is_closing():
            self._wait()

    def _is_serving(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._wait_no_more()
        # Not close(), which would wait for a client that reads nothing.
        self._waiting[self] = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        if len(self._waiting) > MAX_WAITING:
            # Not the one that has waited longest: clients that ask again and again would push out new ones.
            min(self._waiting, key=lambda connection: connection._number).transport.abort()

    def _wait_no_more(self) -> None:
        if timer := self._waiting.pop(self, None):
            timer.cancel()
