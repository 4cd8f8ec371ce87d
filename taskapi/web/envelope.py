"""The four keys of every answer: success, data, popup, error."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import orjson
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

BIG = 64 * 1024
"""Bytes from which an answer is sent in pieces. A smaller one is copied, to be sent at once."""

STATUSES = {code: f"{code} {phrase.upper()}" for code, phrase in HTTP_STATUS_CODES.items()}


class Answer(Response):
    """A complete Response. Werkzeug would check each part of it in the constructor, and again when it is sent."""

    status: str = ""  # type: ignore[override]
    status_code: int = 0

    def __init__(self, pieces: list[bytes], status: int, headers: Mapping[str, str] | None) -> None:
        """`pieces` form one JSON text. The server checks that the headers are well formed."""
        self.status, self.status_code, self.response = STATUSES[status], status, pieces
        self._head = [("Content-Type", "application/json"), ("Content-Length", str(sum(map(len, pieces))))]
        if headers:
            self._head += headers.items()

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        """The headers, for code that adds to them."""
        return Headers(self._head)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Send the answer (PEP 3333)."""
        start_response(self.status, list(self.headers) if "headers" in self.__dict__ else self._head)
        return () if environ["REQUEST_METHOD"] == "HEAD" else self.response  # type: ignore[return-value]


def success(
    data: bytes, *, status: int = 200, popup: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """A success with `data`, which is JSON text already."""
    tail = b',"popup":"%s","error":null}' % popup.encode() if popup else b',"popup":null,"error":null}'
    pieces = [b'{"success":true,"data":', data, tail]
    return Answer([b"".join(pieces)] if len(data) < BIG else pieces, status, headers)


def not_modified(headers: Mapping[str, str]) -> Response:
    """A 304: the client has this answer already. It has the headers that tell so, and no body (RFC 9110, 15.4.5)."""
    answer = Answer([], 304, None)
    answer.headers = Headers(list(headers.items()))
    return answer


def failure(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """A failure with one sentence that says what is wrong."""
    # The sentence may quote the request, lone surrogates included.
    sentence = error.encode("utf-8", "replace").decode()
    return Answer([orjson.dumps({"success": False, "data": None, "popup": None, "error": sentence})], status, headers)
