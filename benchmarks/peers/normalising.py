"""One form for answers that say the same in different spellings: opaque ids, enum names, number text, list shapes."""

import base64
import binascii
import hashlib
import json
import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TAGGED = 18  # bytes: a type's two letters, then the UUID
_SEVERITIES = {"INFO": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4}
_POSITIONS = ("startCursor", "endCursor", "cursor")  # opaque; that they lead to the same rows is seen on deep pages
_IN_DOLLARS, _IN_CENTS = "Dollars", "Cents"


class Refused(Exception):
    """A server answered with errors, or with nothing."""


def canonical(body: bytes) -> Any:
    """What an answer says, in the one form.

    Raises:
        Refused: the answer has errors or no data.
    """
    try:
        answer = json.loads(body, parse_float=float)
    except ValueError:
        raise Refused(body[:500].decode(errors="replace")) from None
    if answer.get("errors") or not answer.get("data"):
        raise Refused(json.dumps(answer.get("errors") or answer)[:500])
    return _value("data", answer["data"])


def digest(answer: Any) -> str:
    """The hash of an answer in the one form."""
    return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()


def first_difference(left: Any, right: Any, path: str = "data") -> str | None:
    """Where two answers in the one form first differ, with both values; None where they are equal."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right:
                return f"{path}.{key} is only in the {'first' if key in left else 'second'}"
            if found := first_difference(left[key], right[key], f"{path}.{key}"):
                return found
        return None
    if isinstance(left, list) and isinstance(right, list):
        for index, (one, other) in enumerate(zip(left, right, strict=False)):
            if found := first_difference(one, other, f"{path}[{index}]"):
                return found
        return None if len(left) == len(right) else f"{path} has {len(left)} and {len(right)} items"
    return None if left == right else f"{path}: {left!r} and {right!r}"


def _value(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, list):
        return [_value(name, item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return _leaf(name, value)


def _leaf(name: str, value: Any) -> Any:
    if name == "id":
        return row_key(value)
    if name == "severity":
        return _SEVERITIES.get(value, value)
    if name == "durationMs":
        return int(value)
    if name.endswith("At"):
        return datetime.fromisoformat(value).astimezone(UTC).isoformat()
    # A number of the database is one number, whether it is written 1 or 1.0.
    return float(value) if isinstance(value, int) else value


def _object(value: dict[str, Any]) -> Any:
    if "edges" in value or "nodes" in value:
        rows = value["nodes"] if "nodes" in value else [edge["node"] for edge in value["edges"]]
        page = value.get("pageInfo") or {}
        return {"rows": [_value("node", row) for row in rows], "more": page.get("hasNextPage")}
    found = {}
    for name, item in value.items():
        if name in _POSITIONS:
            continue
        if name.endswith(_IN_DOLLARS):
            found[name.removesuffix(_IN_DOLLARS) + _IN_CENTS] = int(Decimal(item) * 100)
        elif name.endswith(_IN_CENTS):
            found[name] = int(item)
        else:
            found[name] = _value(name, item)
    return found


def row_key(text: str) -> str:
    """The UUID in a global id of any of the servers.

    Raises:
        Refused: there is none.
    """
    if _UUID.fullmatch(text):
        return text
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) == _TAGGED:
        return str(uuid.UUID(bytes=raw[2:]))
    found = _UUID.search(raw.decode(errors="replace"))
    if found is None:
        raise Refused(f"an id without a UUID: {text}")
    return found.group()
