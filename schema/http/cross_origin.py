"""Front ends of other origins (the CORS protocol of the Fetch standard): those of DRIFTGRAPH_CORS_ORIGINS, by token.

A browser lets a page of another origin send JSON and read the answer only where this says so. Credentials are never
allowed, so the session's cookie stays where it is; a token is the page's own to send.
"""

from django.conf import settings

from schema.http.messages import Headers, Response, Scope

_METHODS = "GET, HEAD, POST"
_SENT = (
    "authorization, content-type, idempotency-key, driftgraph-purpose, driftgraph-deadline-ms,"
    " driftgraph-consistency-token, graphql-client-name, graphql-client-version, apollographql-client-name,"
    " apollographql-client-version, graphql-require-preflight, x-requested-with, last-event-id"
)
_READ = "driftgraph-consistency-token, etag, retry-after, x-request-id"
_REMEMBERED_SECONDS = "600"  # how long a browser need not ask again


def preflight(scope: Scope, headers: Headers) -> Response | None:
    """The answer to a browser that asks whether a page of another origin may send a request; None where nobody does."""
    is_asked = scope["method"] == "OPTIONS" and headers.get("access-control-request-method")
    if not is_asked or not _is_allowed(headers.get("origin")):
        return None
    return Response(
        204,
        headers={
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": _SENT,
            "access-control-max-age": _REMEMBERED_SECONDS,
        },
    )


def share(answer: dict[str, str], headers: Headers) -> None:
    """Nothing; adds to the headers of an answer that the page that asked may read it."""
    if not settings.ENVIRONMENT.cors_origins:
        return
    answer["vary"] = ", ".join(filter(None, (answer.get("vary"), "Origin")))
    if _is_allowed(origin := headers.get("origin")):
        answer |= {"access-control-allow-origin": origin, "access-control-expose-headers": _READ}


def _is_allowed(origin: str) -> bool:
    return bool(origin) and origin in settings.ENVIRONMENT.cors_origins.split()
