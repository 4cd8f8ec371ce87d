"""The four keys of every answer, and what they say about each other."""

from typing import Any

import httpx

KEYS = {"success", "data", "popup", "error"}


def envelope_of(answer: httpx.Response) -> dict[str, Any]:
    """The answer's envelope, which fits its status."""
    assert answer.headers["Content-Type"] == "application/json", answer.text
    envelope: dict[str, Any] = answer.json()
    assert set(envelope) == KEYS
    if answer.status_code < 400:
        assert envelope["success"] is True
        assert envelope["error"] is None
    else:
        assert envelope["success"] is False
        assert envelope["data"] is None
        assert envelope["popup"] is None
        assert isinstance(envelope["error"], str)
        assert envelope["error"].strip()
        assert "\n" not in envelope["error"]
    return envelope


def data_of(answer: httpx.Response, status: int = 200, popup: str | None = None) -> Any:
    """The data of a success of this status and popup."""
    assert answer.status_code == status, answer.text
    envelope = envelope_of(answer)
    assert envelope["popup"] == popup
    return envelope["data"]


def error_of(answer: httpx.Response, status: int) -> str:
    """The sentence of a failure of this status."""
    assert answer.status_code == status, answer.text
    error: str = envelope_of(answer)["error"]
    return error


def fields_of(error: str) -> set[str]:
    """The fields that an error about invalid input names: `field: message`, joined by `; `."""
    parts = error.split("; ")
    assert all(": " in part for part in parts), error
    return {part.partition(": ")[0] for part in parts}
