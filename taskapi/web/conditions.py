"""Versions of answers and the conditions of requests: ETag, If-Match and If-None-Match (RFC 9110, section 13)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flask import request
from werkzeug.exceptions import UnprocessableEntity

TAG = r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
TAGS = re.compile(rf"[ \t]*(?:,[ \t]*)*{TAG}(?:[ \t]*,(?:[ \t]*{TAG})?)*[ \t]*")
ONE_TAG = re.compile(TAG)
"""An entity tag (RFC 9110, section 8.8.3), and a list of them, which may have empty elements (section 5.6.1). A weak
tag counts like a strong one: proxies that compress make tags weak."""

TAG_RULE = 'must be * or a list of tags such as "7"'
NOT_HERE = "If-Match: is only for the PUT, PATCH, DELETE, undo and restore of one task"

REVALIDATED = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Origin"}
"""A browser may keep the answer for its user, but asks each time whether it is still good."""


def tagged(tag: int | str) -> dict[str, str]:
    """The header that names the version of an answer."""
    return {"ETag": f'"{tag}"'}


def expected_tags() -> tuple[str, ...] | None:
    """The tags of If-Match, of which the task's version must be one; None where any version will do.

    Raises UnprocessableEntity if the header is malformed.
    """
    value: str | None = request.environ.get("HTTP_IF_MATCH")
    return None if value is None else _tags("If-Match", value)


@dataclass(frozen=True)
class Known:
    """The versions that the client has: the tags of If-None-Match, or None for `*`, which names every version."""

    tags: tuple[str, ...] | None

    def __contains__(self, tag: object) -> bool:
        return self.tags is None or str(tag) in self.tags


def known_versions() -> Known:
    """What If-None-Match names; nothing without it. Raises UnprocessableEntity if the header is malformed."""
    value: str | None = request.environ.get("HTTP_IF_NONE_MATCH")
    return Known(() if value is None else _tags("If-None-Match", value))


def refuse_if_match(environ: Mapping[str, object]) -> None:
    """Raise UnprocessableEntity if the request has an If-Match, which its path does not take."""
    if "HTTP_IF_MATCH" in environ:
        raise UnprocessableEntity(NOT_HERE)


def _tags(header: str, value: str) -> tuple[str, ...] | None:
    if value.strip() == "*":
        return None
    if not TAGS.fullmatch(value):
        raise UnprocessableEntity(f"{header}: {TAG_RULE}")
    return tuple(ONE_TAG.findall(value))
