"""Answers to GET that a browser may keep: for one principal of one organization, and asked about each time."""

import hashlib

from backend.core.actor import Actor
from schema.http.messages import Headers, Response

_NOT_MODIFIED = 304


def cacheable(actor: Actor | None, text: str, data: bytes, headers: Headers, media_type: str) -> Response:
    """The answer with its ETag, or 304 without a body where the client has it already.

    It does not vary by the consistency token: the browser asks each time, and what it may keep is told by the data.
    """
    body = b'{"data":' + data + b"}"
    tag = _tag(actor, text, data, media_type)
    shown = {"etag": tag, "cache-control": "private, no-cache", "vary": "Accept, Authorization, Cookie"}
    known = {one.strip().removeprefix("W/") for one in headers.get("if-none-match").split(",")}
    if tag in known or known == {"*"}:
        # A length here is that of the answer which is not sent.
        return Response(_NOT_MODIFIED, b"", {**shown, "content-length": str(len(body))})
    return Response(200, body, {**shown, "content-type": f"{media_type}; charset=utf-8"})


def _tag(actor: Actor | None, text: str, data: bytes, media_type: str) -> str:
    who = f"{actor.organization_id}/{actor.token_id}/{actor.user_id}" if actor else ""
    digest = hashlib.blake2b(digest_size=16)
    for part in (who, media_type, text):
        digest.update(part.encode() + b"\0")
    digest.update(data)
    return f'"{digest.hexdigest()}"'
