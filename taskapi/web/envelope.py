"""The four keys of every answer: success, data, popup, error."""

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response
from werkzeug.datastructures import Headers

BIG = 64 * 1024
"""Bytes from which on an answer is sent in pieces, rather than copied to be sent in one."""


class Answer(Response):
    """A Response whose headers are complete: Werkzeug would look through a copy of them for what ours never need."""

    def get_wsgi_headers(self, environ: Any) -> Headers:
        """The headers as they stand."""
        return self.headers


def success(
    data: bytes, *, status: int = 200, popup: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with `data`, which is JSON text already."""
    tail = b',"popup":"%s","error":null}' % popup.encode() if popup else b',"popup":null,"error":null}'
    pieces = [b'{"success":true,"data":', data, tail]
    if len(data) < BIG:
        return Answer(b"".join(pieces), status, headers, content_type="application/json")
    answer = Answer(pieces, status, headers, content_type="application/json")
    answer.content_length = sum(map(len, pieces))
    return answer


def failure(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with one sentence about what is wrong."""
    # What came in may stand in the sentence, lone surrogates and all.
    sentence = error.encode("utf-8", "replace").decode()
    body = orjson.dumps({"success": False, "data": None, "popup": None, "error": sentence})
    return Answer(body, status, headers, content_type="application/json")
