"""Opaque global ids: two letters for the type and the UUID, in base64. Nothing is looked up here."""

import base64
import binascii
import uuid
from collections.abc import Callable
from functools import cache

from backend.core.errors import BadUserInput, within

_TAG = 2  # bytes; with the 16 of a UUID the text has 24 characters and no padding
_LENGTH = _TAG + 16


class MalformedId(BadUserInput):
    """The id is not one that this API gave out."""


class WrongIdType(BadUserInput):
    """The id belongs to another type than {expected}."""


def encode_id(tag: str, key: uuid.UUID) -> str:
    """The global id of a row; `tag` is the two-letter code of its type."""
    return id_encoder(tag)(key)


@cache
def id_encoder(tag: str) -> Callable[[uuid.UUID], str]:
    """What makes global ids of a type, of which an answer can have very many."""
    start = int.from_bytes(tag.encode()) << 128

    def encode(key: uuid.UUID) -> str:
        return binascii.b2a_base64((start | key.int).to_bytes(_LENGTH), newline=False).decode()

    return encode


def decode_id(text: str) -> tuple[str, uuid.UUID]:
    """The type's code and the row's key.

    Raises:
        MalformedId: not an id of this API.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        tag = raw[:_TAG].decode("ascii")
    except (binascii.Error, ValueError):
        raise MalformedId from None
    if len(raw) != _LENGTH:
        raise MalformedId
    return tag, uuid.UUID(bytes=raw[_TAG:])


def decode_id_of(text: str, tag: str, *, expected: str, path: tuple[str, ...] = ()) -> uuid.UUID:
    """The key of a row whose type is known; `path` leads to the id, for errors.

    Raises:
        MalformedId: not an id of this API.
        WrongIdType: an id of another type.
    """
    with within(*path):
        found, key = decode_id(text)
        if found != tag:
            raise WrongIdType(expected=expected)
    return key
