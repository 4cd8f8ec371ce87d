"""Serves many clients over streamable HTTP, without sessions, at /mcp; Host, Origin and token are checked."""

from ipaddress import ip_address
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from taskapi.errors import ConfigurationError
from taskapi.settings import Settings
from taskapi.web.access import Gate

PATH = "/mcp"


class TokenCheck:
    """Lets requests with one of API_TOKENS through."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the 401, or let the application answer."""
        if scope["type"] != "http" or self._gate.opens(Headers(scope=scope).get("Authorization", "")):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse(
            "Send a valid token in the header: Authorization: Bearer …",
            401,
            {"WWW-Authenticate": 'Bearer realm="taskapi"'},
        )
        await refusal(scope, receive, send)


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
    await uvicorn.Server(config).serve()


def application(server: Server[Any], settings: Settings, *, host: str, port: int) -> ASGIApp:
    """The ASGI application for this address.

    A Host must be one of this machine or of TRUSTED_HOSTS, so that no page gets here by a name of its own; an Origin
    must be one of CORS_ORIGINS or of this server. Who is no browser sends none.
    """
    names = ["127.0.0.1", "localhost", "[::1]", *settings.trusted_hosts]
    if host not in names and _is_specific(host):
        names.append(f"[{host}]" if ":" in host else host)
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
    if settings.api_tokens:
        app.user_middleware.append(Middleware(TokenCheck, gate=Gate(settings.api_tokens)))
    return app


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_specific(host: str) -> bool:
    return not (_is_address(host) and ip_address(host).is_unspecified)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
