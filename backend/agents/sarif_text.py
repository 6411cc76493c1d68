"""Texts of SARIF documents made fit to store and show: bounded, free of control characters, placeholders filled in."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

# C0 and C1 but tab and line feed, and the marks that reorder what is shown after them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_LINE_END = re.compile("\r\n?|\u2028|\u2029")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(?P<index>[0-9]{1,4})\}")
_MAX_PLACEHOLDERS = 100  # filled in per message; a template is shared by many results, so its cost must be small
_SLACK = 4  # characters read per character kept, room for what is removed or folded


def without_controls(text: str) -> str:
    """The text without control characters and direction marks; tabs and line feeds stay."""
    return _CONTROLS.sub("", text)


def block_text(text: str, limit: int) -> str:
    """Text of several lines, at most `limit` characters, the last an ellipsis where more was there."""
    return _bounded(without_controls(_LINE_END.sub("\n", text[: limit * _SLACK])).strip(), limit)


def line_text(text: str, limit: int) -> str:
    """Text on one line, at most `limit` characters, each run of white space one space."""
    return _bounded(" ".join(without_controls(text[: limit * _SLACK].replace("\r", " ")).split()), limit)


def _bounded(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def filled(template: str, arguments: Sequence[str], limit: int) -> str:
    """A message template with its arguments, by section 3.11.5 of the standard, cut after `limit` characters.

    A placeholder without an argument stays as it is, and so does every one after the hundredth. The bounds are kept
    while filling: many placeholders times a long argument would not fit into memory.
    """
    pieces: list[str] = []
    length = end = 0
    for match in islice(_PLACEHOLDER.finditer(template), _MAX_PLACEHOLDERS):
        pieces.append(template[end : match.start()])
        end = match.end()
        pieces.append(_replacement(match, arguments)[:limit])
        length += len(pieces[-1]) + len(pieces[-2])
        if length > limit:
            return "".join(pieces)[: limit + 1]
    pieces.append(template[end : end + limit + 1])
    return "".join(pieces)


def _replacement(match: re.Match[str], arguments: Sequence[str]) -> str:
    if match["index"] is None:
        return match[0][0]
    index = int(match["index"])
    return arguments[index] if index < len(arguments) else match[0]


def message_text(message: Mapping[str, Any], strings: Sequence[Mapping[str, Any]], limit: int) -> str:
    """What a message says: its text, or the string of its id in the first of `strings` with it; arguments filled in.

    Braces mean something only where there are arguments or an id: scanners that write plain text do not
    double them.
    """
    arguments = message.get("arguments", ())
    text = message.get("text")
    identified = text is None
    if identified:
        key = message.get("id", "")
        template = next((names[key] for names in strings if key in names), message)
        text = template.get("text") or template.get("markdown") or ""
    text = text or message.get("markdown", "")
    room = limit * _SLACK
    return block_text(filled(text, arguments, room) if arguments or identified else text, limit)


def web_address(uri: str, limit: int) -> str | None:
    """An http or https address without credentials, short enough to store whole; None for anything else."""
    if not uri or len(uri) > limit or line_text(uri, limit) != uri or " " in uri:
        return None
    try:
        split = urlsplit(uri)
    except ValueError:
        return None
    return uri if split.scheme in {"http", "https"} and split.netloc and "@" not in split.netloc else None
