"""GraphiQL from our own files: the page and its assets, read once per process. No other host is needed."""

import mimetypes
from functools import cache
from pathlib import Path

from schema.http.messages import HttpError, Response

_ROOT = Path(__file__).parent / "static" / "graphiql"
_YEAR = 31_536_000  # seconds


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Every file of the bundle by its relative name; nothing outside it can be named."""
    found = {}
    for path in _ROOT.rglob("*"):
        if path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            found[path.relative_to(_ROOT).as_posix()] = (path.read_bytes(), kind)
    return found


def page() -> Response:
    """The page, which may load nothing but its own files."""
    content, _ = _files()["index.html"]
    policy = _files()["csp.txt"][0].decode().strip()
    return Response(
        200,
        content,
        {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": policy,
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
            "vary": "Accept",
        },
    )


def static_file(name: str) -> Response:
    """An asset; its name carries the hash of its content, so it may be kept for a year.

    Raises:
        HttpError: 404.
    """
    if name not in _files():
        raise HttpError(404, "NOT_FOUND", "There is no such file.")
    content, kind = _files()[name]
    lasting = f"public, max-age={_YEAR}, immutable" if name.startswith("assets/") else "no-cache"
    return Response(200, content, {"content-type": kind, "cache-control": lasting})
