"""gunicorn's own log: without its access log, and without what it quotes of requests."""

import re
from typing import Any

from gunicorn.glogging import Logger


def without_quotes(message: str) -> str:
    """gunicorn's message about a malformed request, up to what it quotes of the request: that may be a secret."""
    return re.split(r":? b?['\"]", message)[0]


class QuietLogger(Logger):
    """gunicorn's logger without its access log: the service writes its own line for each request."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing."""

    def warning(self, msg: str, *arguments: Any, **options: Any) -> None:
        """A warning; where it is about a malformed request, without quotes from that."""
        if msg.startswith("Invalid request from ip="):
            msg = without_quotes(msg)
        super().warning(msg, *arguments, **options)
