"""Flask, with an envelope for OPTIONS, and without what it does at each call for asynchronous views."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response

from taskapi.web.envelope import success


class Application(Flask):
    """The Flask that serves taskapi."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view here is asynchronous; Flask would look again at each call."""
        return func

    def make_default_options_response(self) -> Response:
        """What the path allows, in the envelope."""
        allowed = super().make_default_options_response().headers["Allow"]
        return success(b"null", headers={"Allow": allowed})
