"""Serves many clients over streamable HTTP, without sessions, at /mcp; Host, Origin and token are checked."""

import logging
from ipaddress import ip_address
from typing import Any

import anyio
import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.access import CHALLENGE, Access, HostNames
from taskapi.addresses import netloc
from taskapi.callers import Caller
from taskapi.errors import ConfigurationError, KeysUnavailable, MustWait, NoAccess
from taskapi.mcp.connections import Connection
from taskapi.mcp.headers import plain
from taskapi.mcp.server import ORIGIN, OWNER_OF
from taskapi.repository.base import Origin
from taskapi.request_id import request_id_of
from taskapi.schemas.fields import CHANGE_SET_RULE, is_change_set
from taskapi.settings import Settings

log = logging.getLogger("taskapi.mcp")

PATH = "/mcp"

MAX_REQUESTS = 100
"""The most requests that are answered at the same time."""


class AccessMiddleware:
    """Lets POST requests through, with a valid token if the settings ask for one, and only so many at a time."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._trusted = HostNames(settings.trusted_hosts)
        self._access = Access(settings)
        self._body_seconds = settings.request_deadline
        self._serving = 0
        # Threads of their own: whoever waits for a key server keeps no tool waiting.
        self._waiting = anyio.CapacityLimiter(MAX_REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a 401, 405, 408, 422 or 503, or let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers.get("X-Request-Id", ""))
        send = _with_request_id(send, request_id)
        try:
            caller = await self._caller(headers.getlist("Authorization"))
        except NoAccess as error:
            await PlainTextResponse(str(error), 401, CHALLENGE)(scope, receive, send)
            return
        except KeysUnavailable as error:
            await PlainTextResponse(str(error), 503, {"Retry-After": str(error.retry_after)})(scope, receive, send)
            return
        if refusal := self._refusal(scope, headers):
            await refusal(scope, receive, send)
        else:
            origin = Origin(caller.name, request_id, headers.get("Change-Set"))
            self._serving += 1
            try:
                scope = {**self._plain(scope), ORIGIN: origin, OWNER_OF: caller.owner}
                await self._app(scope, _in_time(receive, self._body_seconds), send)
            except BodyLate:
                sentence = "The body did not arrive in time; send the request again."
                await PlainTextResponse(sentence, 408, {"Connection": "close"})(scope, receive, send)
            finally:
                self._serving -= 1

    async def _caller(self, given: list[str]) -> Caller:
        # Of several, a proxy may have added one: nobody knows which one counts.
        authorization = given[0] if len(given) == 1 else ""
        try:
            return self._access.caller(authorization, waits=False)
        except MustWait:
            return await anyio.to_thread.run_sync(self._access.caller, authorization, limiter=self._waiting)

    def _plain(self, scope: Scope) -> Scope:
        return plain(_with_one_path(scope), self._trusted)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if scope["method"] != "POST":
            # A GET would open a stream of events, and without sessions it would stay empty.
            return PlainTextResponse("Without sessions there is only POST.", 405, {"Allow": "POST"})
        if self._serving >= MAX_REQUESTS:
            return PlainTextResponse("Too many requests at once; send this one again.", 503, {"Retry-After": "1"})
        change_sets = headers.getlist("Change-Set")
        if len(change_sets) > 1 or not all(map(is_change_set, change_sets)):
            return PlainTextResponse(f"Change-Set: must be {CHANGE_SET_RULE}, once.", 422)
        return None


def _with_request_id(send: Send, request_id: str) -> Send:
    """`send`, but the answer tells the request's id."""

    async def send_with_request_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            message = {**message, "headers": headers}
        await send(message)

    return send_with_request_id


class BodyLate(Exception):
    """A request's body did not arrive in time."""


def _in_time(receive: Receive, seconds: float) -> Receive:
    """`receive`, but it raises BodyLate if the body takes longer than so many seconds from now."""
    deadline = anyio.current_time() + seconds
    complete = False

    async def receive_in_time() -> Message:
        nonlocal complete
        if complete:
            # After the body comes the end of the connection, which has no limit.
            return await receive()
        try:
            with anyio.fail_after(deadline - anyio.current_time()):
                message = await receive()
        except TimeoutError:
            raise BodyLate from None
        complete = not message.get("more_body", False)
        return message

    return receive_in_time


def _with_one_path(scope: Scope) -> Scope:
    """Treat `/mcp/` as `/mcp`. A redirect would be built from the Host header, and many clients follow none."""
    return {**scope, "path": PATH} if scope["path"] == f"{PATH}/" else scope


async def serve(server: Server[Any], settings: Settings, *, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigurationError if others could use it without a token."""
    if not (_is_loopback(host) or settings.api_tokens or settings.takes_jwts):
        raise ConfigurationError(
            f"--host {host} lets others in: set API_TOKENS or one of the JWT settings, or serve on 127.0.0.1."
        )
    config = uvicorn.Config(
        application(server, settings, host=host, port=port),
        host=host,
        port=port,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.ending_seconds,
    )
    log.info("MCP at http://%s%s", netloc(host, port), PATH)
    await uvicorn.Server(config).serve()


def application(server: Server[Any], settings: Settings, *, host: str, port: int) -> ASGIApp:
    """The ASGI application for this address.

    A Host must be one of this machine or of TRUSTED_HOSTS, so that no page gets here by a name of its own; an Origin
    must be one of CORS_ORIGINS or of this server. Clients other than browsers send none.
    """
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *settings.trusted_hosts}
    origins = [*(f"http://{name}:{port}" for name in names), *settings.cors_origins]
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.max_body_bytes,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[*names, *(f"{name}:{port}" for name in names)],
            allowed_origins=origins,
        ),
    )
    app.add_middleware(AccessMiddleware, settings=settings)
    # Last, because that sees a request first: a preflight has no token, and pages must be able to read a 401.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["POST"],
        # The protocol's headers change with its versions, and one may carry each argument of a tool.
        allow_headers=["*"],
        expose_headers=["MCP-Protocol-Version", "WWW-Authenticate", "Retry-After", "X-Request-Id"],
    )
    return app


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
