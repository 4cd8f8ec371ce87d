"""Flask, with an envelope for OPTIONS, and without the work for features that taskapi does not use."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, has_app_context, request
from flask.ctx import RequestContext
from flask.globals import app_ctx
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import Map, MapAdapter

from taskapi.web.envelope import success

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HOSTS = 64
"""How many Host headers to remember as checked."""


class NoSessions(SessionInterface):
    """No sessions. Flask would look for a secret key at each request."""

    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """A session that stores nothing."""
        return self._session


class Application(Flask):
    """The Flask class that serves taskapi."""

    session_interface = NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view as it is: none is asynchronous. Flask would check that at each call."""
        return func

    def full_dispatch_request(self) -> Response:
        """Answer a request. Flask would also send signals, which nobody receives, and look for functions to run.

        Those of `after_this_request` and of nested blueprints do not run: taskapi has none.
        """
        try:
            answer = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
        except Exception as error:  # noqa: BLE001  (as Flask does: the handlers decide)
            answer = self.handle_user_exception(error)
        if not isinstance(answer, Response):
            answer = self.make_response(answer)
        if self.after_request_funcs.keys() & {None, request.blueprint}:
            answer = self.process_response(answer)
        return answer

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Do nothing: there are no functions to run after a request is answered."""

    def request_context(self, environ: "WSGIEnvironment") -> RequestContext:
        """The context of a request. It has its own `flask.g`, even if the application's context exists already."""
        if has_app_context():
            app_ctx.g = self.app_ctx_globals_class()
        return super().request_context(environ)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """The matcher that finds the view. Flask would check the Host header again, which does not matter here."""
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
        """The methods that the path allows, in the envelope."""
        allowed = super().make_default_options_response().headers["Allow"]
        return success(b"null", headers={"Allow": allowed})


def _text(value: str) -> str:
    """A value of a WSGI environment: bytes decoded as latin-1 (PEP 3333)."""
    return value.encode("latin-1").decode("utf-8", "replace")


@lru_cache(HOSTS)
def _server_name(scheme: str, host: str | None, name: str, port: str) -> str:
    """The server name in a request, as Werkzeug reads it. Raises BadHost if the Host header is invalid."""
    environ = {"wsgi.url_scheme": scheme, "SERVER_NAME": name, "SERVER_PORT": port, "REQUEST_METHOD": "GET"}
    if host is not None:
        environ["HTTP_HOST"] = host
    return Map().bind_to_environ(environ, subdomain="").server_name
