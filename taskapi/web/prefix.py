"""The WSGI layer for SCRIPT_NAME: the prefix of each path behind a proxy that passes on the whole path."""

from collections.abc import Callable, Iterable
from typing import Any

from taskapi.web.envelope import failure

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Prefix:
    """Moves the prefix of each path from PATH_INFO to SCRIPT_NAME (PEP 3333). A path without the prefix gets 404."""

    def __init__(self, application: Wsgi, prefix: str) -> None:
        self._application = application
        self._prefix = prefix

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        path: str = environ["PATH_INFO"]
        if path != self._prefix and not path.startswith(f"{self._prefix}/"):
            outside = failure(404, f"There is no such path; {self._prefix}/api/docs lists those that there are.")
            return outside(environ, start_response)
        environ["SCRIPT_NAME"] = self._prefix
        environ["PATH_INFO"] = path.removeprefix(self._prefix) or "/"
        return self._application(environ, start_response)
