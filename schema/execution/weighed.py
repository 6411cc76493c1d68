"""The JSON text of an answer, made in pieces: one that is too large is given up before it is in memory."""

from typing import Any

import orjson

from backend.db.pipeline import Room

_LEVELS = 3  # the data, a root field and its list, whose items are made whole


def json_within(value: Any, room: Room, levels: int = _LEVELS) -> bytes:
    """The JSON text of a value that has plain keys.

    Raises:
        AnswerTooLarge: it is longer than there is room for; at most one item of a root field's list was made in vain.
    """
    if levels and value and isinstance(value, dict):
        parts = [orjson.dumps(key) + b":" + json_within(one, room, levels - 1) for key, one in value.items()]
        return b"{" + b",".join(parts) + b"}"
    if levels and value and isinstance(value, list):
        return b"[" + b",".join([json_within(one, room, levels - 1) for one in value]) + b"]"
    text = orjson.dumps(value)
    room.take(len(text))
    return text
