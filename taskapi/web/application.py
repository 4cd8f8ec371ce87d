"""Flask, with an envelope for OPTIONS, and without the work for features that taskapi does not use."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, has_app_context
from flask.ctx import RequestContext
from flask.globals import app_ctx
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import Map, MapAdapter

from taskapi.web.envelope import success

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HOSTS = 64
"""Host headers whose check is remembered."""


class NoSessions(SessionInterface):
    """No sessions. Flask would look for a secret key at each request to find that out."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """The one that takes nothing."""
        return self._session


class Application(Flask):
    """The Flask that serves taskapi."""

    session_interface = NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view here is asynchronous; Flask would look again at each call."""
        return func

    def request_context(self, environ: "WSGIEnvironment") -> RequestContext:
        """The context of a request. It has a `flask.g` of its own also where the application's context is there."""
        if has_app_context():
            app_ctx.g = self.app_ctx_globals_class()
        return super().request_context(environ)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds the view. Flask would check the Host header twice, which has no part in it here."""
        if request is None:
            return None
        environ = request.environ
        scheme = environ["wsgi.url_scheme"]
        return MapAdapter(
            self.url_map,
            server_name=_server_name(scheme, environ.get("HTTP_HOST"), environ["SERVER_NAME"], environ["SERVER_PORT"]),
            script_name=_text(environ.get("SCRIPT_NAME", "")),
            subdomain="",
            url_scheme=scheme,
            path_info=_text(environ["PATH_INFO"]),
            default_method=environ["REQUEST_METHOD"],
            query_args=_text(environ.get("QUERY_STRING", "")),
        )

    def make_default_options_response(self) -> Response:
        """What the path allows, in the envelope."""
        allowed = super().make_default_options_response().headers["Allow"]
        return success(b"null", headers={"Allow": allowed})


def _text(value: str) -> str:
    """A value of a WSGI environment, which is bytes in latin-1's clothes (PEP 3333)."""
    return value.encode("latin-1").decode("utf-8", "replace")


@lru_cache(HOSTS)
def _server_name(scheme: str, host: str | None, name: str, port: str) -> str:
    """The name of the server in a request, as Werkzeug has it. Raises BadHost where the Host header is no name."""
    environ = {"wsgi.url_scheme": scheme, "SERVER_NAME": name, "SERVER_PORT": port, "REQUEST_METHOD": "GET"}
    if host is not None:
        environ["HTTP_HOST"] = host
    return Map().bind_to_environ(environ, subdomain="").server_name
