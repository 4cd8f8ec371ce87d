"""Links to other pages, in the header Link (RFC 8288)."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from flask import request


def link(relation: str, path: str, parameters: Mapping[str, str]) -> str:
    """A value of the header: `path` is one of ours, and begins with /."""
    prefix = quote(request.script_root, safe="/%:@!$&'()*+,;=~")
    return f'<{prefix}{path}?{urlencode(parameters, quote_via=quote)}>; rel="{relation}"'


def next_page(path: str, cursor: str, *, without: frozenset[str] = frozenset()) -> str:
    """The link to the next page of this request: its own parameters with this cursor, and `without` some."""
    kept = {name: text for name, text in request.args.items() if text and name not in without}
    return link("next", path, {**kept, "cursor": cursor})
