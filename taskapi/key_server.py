"""The keys at JWT_JWKS_URL: fetched in the background, kept, and fetched again for a token with a new key.

Only a request whose token has an unknown key waits for the key server, which may be slow, down or hostile; and the
first ones after a long time without requests.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from io import BufferedReader, RawIOBase
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from taskapi import __version__
from taskapi.errors import KeysUnavailable, MustWait
from taskapi.jwt_keys import Key, UnknownKey, key_of_set

log = logging.getLogger("taskapi.access")

FRESH = 300.0
"""Seconds after which kept keys are fetched again, while they serve on: a key that its server has removed goes."""

PAUSE = 10.0
"""Seconds between two fetches, however many tokens with unknown keys there are."""

PATIENCE = 5.0
"""Seconds that a request waits for the keys."""

LARGEST = 256 * 1024
"""Bytes of an answer."""


class KeyServer:
    """The keys of one URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        # All that a log shows of it: the rest may be a secret.
        self._host = urlsplit(url).hostname
        self._keys: Mapping[str | None, Key] = {}
        self.generation = 0
        self._began = self._succeeded = float("-inf")
        self._last = _Fetch(is_first=True)
        self._last.is_over.set()
        self._lock = threading.Lock()

    def refresh(self, *, waits: bool) -> None:
        """Fetch the keys again if they are older than FRESH, in the background.

        After a time without requests they may be much older: then the first requests wait for what the server says, or
        for PATIENCE. Without `waits`, MustWait is raised then.
        """
        if not self._keys or time.monotonic() - self._succeeded <= FRESH:
            return
        fetch = self._fetch()
        if fetch.is_first and not fetch.is_over.is_set():
            if not waits:
                raise MustWait
            fetch.is_over.wait(PATIENCE)

    def find(self, name: str | None, *, waits: bool) -> Key:
        """The key of this name. Without a name, the only key that there is.

        Raises UnknownKey if the server has no such key, KeysUnavailable if it cannot be asked. Without `waits`, raises
        MustWait while it is being asked.
        """
        key = self._known(name)
        if key:
            return key
        fetch = self._fetch()
        if not waits and not fetch.is_over.is_set():
            raise MustWait
        if not fetch.is_over.wait(PATIENCE) or not fetch.succeeded:
            raise KeysUnavailable
        key = self._known(name)
        if not key:
            raise UnknownKey
        return key

    def _known(self, name: str | None) -> Key | None:
        keys = self._keys
        if name is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(name)

    def _fetch(self) -> "_Fetch":
        """A new fetch, unless one is under way or has just been."""
        with self._lock:
            now = time.monotonic()
            if self._last.is_over.is_set() and now - self._began >= PAUSE:
                fetch = _Fetch(is_first=now - self._began > 2 * FRESH)
                # Where no thread can be had, the next caller tries again.
                with suppress(RuntimeError):
                    threading.Thread(target=self._run, args=(fetch,), daemon=True).start()
                    self._began, self._last = now, fetch
            return self._last

    def _run(self, fetch: "_Fetch") -> None:
        try:
            keys = _read(self._url)
        except Exception as error:  # noqa: BLE001  # Whatever the server sends: its keys of before go on to count.
            log.warning("the keys at JWT_JWKS_URL cannot be fetched: %s: %s", self._host, _reason(error))
        else:
            if keys != self._keys:
                self._keys = keys
                self.generation += 1
            self._succeeded = time.monotonic()
            fetch.succeeded = True
        finally:
            fetch.is_over.set()


class _Fetch:
    """One fetch: whether it is the first one for long, whether it is over, and how it went."""

    def __init__(self, *, is_first: bool) -> None:
        self.is_first = is_first
        self.is_over = threading.Event()
        self.succeeded = False


class _NoRedirects(HTTPRedirectHandler):
    """Keys come from the address that the operator has named, and from nowhere else."""

    def redirect_request(self, *_: object) -> None:
        """None: a redirect is an error."""


class _InTime(RawIOBase):
    """What a socket brings within PATIENCE in all. Its own timeout is for each piece, and a server may drip."""

    def __init__(self, raw: RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock
        self._ends = time.monotonic() + PATIENCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer is too slow")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer whose head and body are there in time."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = BufferedReader(_InTime(self.fp.detach(), sock))


class _Connection(HTTPConnection):
    response_class = _Answer


class _SecureConnection(HTTPSConnection):
    response_class = _Answer


class _Http(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request)


def _read(url: str) -> Mapping[str | None, Key]:
    """Fetch the keys. Raises OSError, and ValueError if the answer is no set of keys.

    A set without a useful key counts, too: so an issuer takes back all that it has signed.
    """
    request = Request(url, headers={"Accept": "application/json", "User-Agent": f"taskapi/{__version__}"})  # noqa: S310
    body = b""
    with build_opener(_NoRedirects, _Http, _Https).open(request, timeout=PATIENCE) as answer:
        while piece := answer.read1(65536):
            body += piece
            if len(body) > LARGEST:
                raise ValueError("the answer is too large")
    answered = json.loads(body)
    listed = answered.get("keys") if isinstance(answered, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the answer is no set of keys")  # noqa: TRY004
    keys: dict[str | None, Key] = {}
    for fields in listed:
        # A set may have keys that are for something else, or newer than we are.
        with suppress(ValueError, TypeError):
            name, key = key_of_set(fields)
            keys[name] = key
    if not keys:
        log.warning("JWT_JWKS_URL has no key that tokens could be checked with: none is accepted")
    return keys


def _reason(error: Exception) -> str:
    """What went wrong, without what the server has sent."""
    if isinstance(error, HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, URLError):
        return ascii(str(error.reason))[1:-1][:200]
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "the answer is not JSON"
    return str(error)[:200] if isinstance(error, OSError | ValueError) else type(error).__name__
