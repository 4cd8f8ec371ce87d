"""Serves many clients over streamable HTTP, without sessions, at /mcp; Host, Origin and token are checked."""

import logging
from ipaddress import ip_address
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.errors import ConfigurationError
from taskapi.settings import Settings
from taskapi.web.access import Gate

log = logging.getLogger("taskapi.mcp")

PATH = "/mcp"


class Door:
    """Lets POST requests through; where API_TOKENS is set, those with one of them."""

    def __init__(self, app: ASGIApp, tokens: tuple[str, ...]) -> None:
        self._app = app
        self._gate = Gate(tokens) if tokens else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a 401 or 405, or let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._gate and not self._gate.opens(Headers(scope=scope).get("Authorization", "")):
            challenge = {"WWW-Authenticate": 'Bearer realm="taskapi"'}
            sentence = "Send a valid token in the header: Authorization: Bearer …"
            await PlainTextResponse(sentence, 401, challenge)(scope, receive, send)
        elif scope["method"] != "POST":
            # A GET would open a stream of events, and without sessions nothing ever comes on it.
            await PlainTextResponse("Without sessions there is only POST.", 405, {"Allow": "POST"})(
                scope, receive, send
            )
        else:
            await self._app(scope, receive, send)


async def serve(server: Server[Any], settings: Settings, *, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigurationError where others could use it without a token."""
    if not _is_loopback(host) and not settings.api_tokens:
        raise ConfigurationError(f"--host {host} lets others in: set API_TOKENS, or serve on 127.0.0.1.")
    config = uvicorn.Config(
        application(server, settings, host=host, port=port),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=int(settings.request_deadline) + 5,
    )
    log.info("MCP at http://%s:%d%s", host, port, PATH)
    await uvicorn.Server(config).serve()


def application(server: Server[Any], settings: Settings, *, host: str, port: int) -> ASGIApp:
    """The ASGI application for this address.

    A Host must be one of this machine or of TRUSTED_HOSTS, so that no page gets here by a name of its own; an Origin
    must be one of CORS_ORIGINS or of this server. Who is no browser sends none.
    """
    names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *settings.trusted_hosts}
    own = [f"http://{name}:{port}" for name in names]
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.max_body_bytes,
        transport_security=TransportSecuritySettings(
            allowed_hosts=[*names, *(f"{name}:{port}" for name in names)],
            allowed_origins=[*own, *settings.cors_origins],
        ),
    )
    app.add_middleware(Door, tokens=settings.api_tokens)
    return app


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
