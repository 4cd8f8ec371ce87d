"""Host names, origins and path prefixes, each in the form used for comparison."""

import re
from ipaddress import AddressValueError, IPv6Address

DEFAULT_PORTS = {"http": 80, "https": 443}

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-][A-Za-z0-9._-]*)(?::([0-9]*))?")
ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+?)/?")
PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")


def host_name(text: str) -> str:
    """The host of `host` or `host:port` (RFC 9110, section 7.2), in lower case and without a final dot.

    An IPv6 address is in brackets, in its short form. Raises ValueError if there is no host.
    """
    return _host_and_port(text)[0]


def origin(text: str) -> str:
    """An origin as browsers send it (RFC 6454, section 6.1): in lower case, without a slash or a default port.

    Raises ValueError if it is not exactly one origin, for instance with a path or a wildcard.
    """
    match = ORIGIN.fullmatch(text)
    if not match:
        raise ValueError("no origin")
    scheme = match[1].lower()
    host, port = _host_and_port(match[2])
    return f"{scheme}://{host}" if port in (None, DEFAULT_PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


def path_prefix(text: str) -> str:
    """The first segments of a path, as `/one/two`, or ''. Raises ValueError if it has characters that a URL may not."""
    prefix = f"/{text.strip('/')}" if text.strip("/") else ""
    if prefix and not PREFIX.fullmatch(prefix):
        raise ValueError("no path")
    return prefix


def netloc(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(text: str) -> tuple[str, int | None]:
    match = HOST.fullmatch(text)
    if not match or len(match[2] or "") > 5 or int(match[2] or 0) > 65535:
        raise ValueError("no host")
    return _canonical(match[1]), int(match[2]) if match[2] else None


def _canonical(host: str) -> str:
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1]).compressed}]"
        except AddressValueError:
            raise ValueError("no IPv6 address") from None
    return host.lower().removesuffix(".")
