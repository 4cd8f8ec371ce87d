"""Shortens answers: what an agent reads costs tokens. The items of a page share a budget."""

import json
import string
from collections.abc import Mapping
from typing import Any

TITLES = 3500
DESCRIPTIONS = 2000
ENTRIES = 8000
"""The budget of one page for titles, descriptions and the texts of history entries, in letters."""

PLAIN = frozenset(string.ascii_letters + " ")


def line(task: Mapping[str, Any], items: int) -> dict[str, str]:
    """A task in short, on a page of so many items: no nulls, long texts cut, `completed` (a date) if it is complete."""
    short = {"id": task["id"], "title": cut(task["title"], TITLES // items)}
    if task["description"]:
        short["about"] = cut(task["description"], DESCRIPTIONS // items)
    if task["completed_at"]:
        short["completed"] = task["completed_at"][:10]
    return short


def entry(item: Mapping[str, Any], items: int) -> dict[str, Any]:
    """A history entry in short, on a page of so many items: its time is to the second, and `by` is who is known to
    have made the change."""
    short = {
        "task_id": item["task_id"],
        "version": item["version"],
        "action": item["action_type"],
        "what": cut(item["description"], ENTRIES // items),
        "at": item["timestamp"][:19] + "Z",
    }
    return {**short, "by": item["actor"]} if item["actor"] else short


def undone(change: Mapping[str, Any], items: int) -> dict[str, Any]:
    """What an undo has changed, or would change, in short."""
    return {
        "task_id": change["task_id"],
        "version": change["version"],
        "what": cut(change["description"], ENTRIES // items),
    }


def cut(text: str, room: int) -> str:
    """The text, or as much of its start as fits into `room`, and an ellipsis.

    A letter or a space costs 1, and what tokenizers split up more finely costs 3 a byte of JSON.
    """
    for place, character in enumerate(text):
        room -= 1 if character in PLAIN else 3 * len(json.dumps(character, ensure_ascii=False).encode()[1:-1])
        if room < 0:
            return text[:place] + "…"
    return text
