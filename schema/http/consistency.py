"""Consistency tokens: what a mutation answers, and the query sends that is to see what it wrote."""

import base64
import binascii
import struct

import psycopg

from backend.core.errors import AppError, BadUserInput
from backend.db.replicas import Position, position_after
from backend.db.snapshots import Snapshot
from schema.http.messages import Headers

HEADER = "driftgraph-consistency-token"
EXTENSION = "consistencyToken"
_TOKEN = struct.Struct(">2sQ")
_TAG = b"CT"


class BadConsistencyToken(BadUserInput):
    """The header {header} must be a consistency token that a mutation answered."""


def token_of(position: Position) -> str:
    """The token for a position in the write-ahead log; opaque text."""
    return base64.b64encode(_TOKEN.pack(_TAG, position)).decode()


def position_of(headers: Headers) -> Position | None:
    """What the answer is to show: all that was written up to there; None where the request does not say.

    Raises:
        BadConsistencyToken: it says something else.
    """
    text = headers.get(HEADER)
    if not text:
        return None
    try:
        tag, position = _TOKEN.unpack(base64.b64decode(text, validate=True))
    except (binascii.Error, struct.error, ValueError):
        tag, position = b"", 0
    if tag != _TAG:
        raise BadConsistencyToken(header=HEADER)
    return Position(position)


async def token_after(snapshot: Snapshot) -> dict[str, str]:
    """The extension with a token for all that was committed so far.

    None where the database does not say: what was changed is changed, and the answer must tell of it.

    SQL: 1.
    """
    try:
        return {EXTENSION: token_of(await position_after(snapshot))}
    except (AppError, psycopg.Error):
        return {}
