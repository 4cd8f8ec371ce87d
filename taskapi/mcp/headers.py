"""Brings a request's headers into the form that the SDK compares. RFC 9110 allows several."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from taskapi.access import HostNames
from taskapi.addresses import host_name

JSON = "application/json"


def plain(scope: Scope, trusted: HostNames) -> Scope:
    """The request with its Host in lower case, without a final dot (section 7.2), and `localhost` for a trusted name.

    Where it does not say what it accepts, it accepts everything (section 12.5.1); the case of its Content-Type means
    nothing, and JSON has no parameters (section 8.3.1, RFC 8259).
    """
    headers = MutableHeaders(raw=Headers(scope=scope).raw)
    host = headers.get("Host", "")
    headers["Host"] = "localhost" if trusted.trusts(host) else _canonical(host)
    if not headers.get("Accept", "").strip():
        headers["Accept"] = "*/*"
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON:
        headers["Content-Type"] = JSON
    return {**scope, "headers": headers.raw}


def _canonical(host: str) -> str:
    try:
        name = host_name(host)
    except ValueError:
        return host
    _, colon, port = host.rpartition(":")
    return f"{name}:{port}" if colon and port.isdecimal() else name
