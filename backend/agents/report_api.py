"""A report's way to the GraphQL API, which may be on another machine: one request, one token, no redirect followed."""

import json
import uuid
from http.client import HTTPException
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from django.conf import settings

from backend.agents.errors import (
    NoReportAddress,
    ReportRefused,
    ReportTokenRefused,
    ReportUnanswered,
    ReportUnstored,
)

SECONDS = 10  # of silence, after which a server counts as not there
_SHOWN = 300  # characters of an answer in a message
_TOKEN_REFUSED = (401, 403)
_IMPORT = """mutation AgentRunReport($input: AgentRunImportSarifInput!) { agentRunImportSarif(input: $input) {
  agentRuns { id conclusion } userErrors { message path } } }"""


class _NoRedirect(HTTPRedirectHandler):
    """Answers 3xx with an error: a token goes nowhere but to the address that it was set for."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """No request."""


def report_send(document: bytes, *, kind: str, agent: str) -> list[str]:
    """The conclusions of the runs that the API made of a SARIF document; the same document makes the same runs.

    Raises:
        NoReportAddress: the settings name no API or no token.
        ReportUnanswered, ReportUnstored: there is no server, or it cannot write; later it may.
        ReportTokenRefused: the token is not good for this.
        ReportRefused: the API does not take this document.
    """
    environment = settings.ENVIRONMENT
    if not environment.report_url or not environment.report_token:
        raise NoReportAddress
    body, kind_of_body = _form(document, {"kind": kind, "agent": agent, "file": None})
    request = Request(  # noqa: S310 - the setting is checked to be http or https
        environment.report_url,
        data=body,
        headers={"Authorization": f"Bearer {environment.report_token}", "Content-Type": kind_of_body},
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=SECONDS) as answer:
            status, text = answer.status, answer.read()
    except HTTPError as error:
        status, text = error.code, error.read()
    except (OSError, HTTPException):
        raise ReportUnanswered from None
    return _conclusions(status, text)


def _conclusions(status: int, text: bytes) -> list[str]:
    try:
        answer = json.loads(text)
        payload = (answer.get("data") or {}).get("agentRunImportSarif")
        if payload is None:
            _refuse(status, answer["errors"][0])
        if payload["userErrors"]:
            raise ReportRefused(reason=_short(payload["userErrors"][0]["message"]))
        return [run["conclusion"] for run in payload["agentRuns"]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ReportUnstored(reason=f"it answered with status {status} and nothing that can be read") from None


def _refuse(status: int, error: dict[str, Any]) -> NoReturn:
    reason = _short(error["message"])
    code = error.get("extensions", {}).get("code")
    if status in _TOKEN_REFUSED or code in ("UNAUTHENTICATED", "FORBIDDEN"):
        raise ReportTokenRefused(reason=reason)
    if code == "INTERNAL" or error.get("extensions", {}).get("retryable"):
        raise ReportUnstored(reason=reason)
    raise ReportRefused(reason=reason)


def _short(message: str) -> str:
    return " ".join(message.split())[:_SHOWN].rstrip(".")


def _form(document: bytes, values: dict[str, Any]) -> tuple[bytes, str]:
    """Body and content type of a multipart request."""
    boundary = uuid.uuid4().hex
    operations = json.dumps({"query": _IMPORT, "variables": {"input": values}}).encode()
    parts = [
        (b'name="operations"', operations),
        (b'name="map"', b'{"0": ["variables.input.file"]}'),
        (b'name="0"; filename="report.sarif"', document),
    ]
    mark = b"--" + boundary.encode()
    lines = [mark + b"\r\nContent-Disposition: form-data; " + name + b"\r\n\r\n" + part for name, part in parts]
    return b"\r\n".join([*lines, mark + b"--\r\n"]), f"multipart/form-data; boundary={boundary}"
