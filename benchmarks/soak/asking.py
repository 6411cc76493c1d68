"""Clients that ask, leave early, show false tokens and write, each on a connection of its own."""

import asyncio
import json
import random
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.peers.servers import Request
from benchmarks.soak.faults import Faults
from benchmarks.soak.judging import QUIET, Judge, Tally, Verdict

_LEAVING, _FALSE, _WRITING = 0.1, 0.02, 0.03  # shares of the requests
_LEAVES_AFTER = (0.0005, 0.03)  # seconds
_PATIENCE = 30.0  # seconds for one answer
_RETRIES, _PAUSE = 60, 0.5  # of a write whose answer was not heard, and seconds between them
_WRITE = """mutation($input: AgentRunStartInput!) { agentRunStart(input: $input) { agentRun { id commit branch } } }"""


@dataclass(slots=True)
class Writes:
    """Runs that were begun: which the server said it had, and which nobody knows about."""

    token: str
    branch: str = field(default_factory=lambda: f"soak-{uuid.uuid4()}")
    acknowledged: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def request(self, commit: str) -> Request:
        """Begins a run for a commit; sent twice it is one run."""
        given = {
            "kind": "CODE_QUALITY",
            "agent": "soak",
            "commit": commit,
            "branch": self.branch,
            "idempotencyKey": commit,
        }
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        return Request(json.dumps({"query": _WRITE, "variables": {"input": given}}).encode(), headers)


@dataclass(slots=True)
class Crowd:
    """So many clients until a moment."""

    url: str
    questions: Mapping[tuple[int, str], Request]
    judge: Judge
    faults: Faults
    writes: Writes
    tally: Tally
    most: int  # requests of all clients together
    ends_at: float = 0.0

    async def ask(self, clients: int, seconds: float) -> None:
        """Asks until the time or the number of requests is over."""
        self.ends_at = time.monotonic() + seconds
        await asyncio.gather(*(self._client(number) for number in range(clients)))

    def _left(self) -> Iterator[None]:
        while time.monotonic() < self.ends_at and self.tally.verdicts.total() < self.most:
            yield

    async def _client(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - a choice of questions
        keys = list(self.questions)
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits, timeout=_PATIENCE) as client:
            for _ in self._left():
                kind = chance.random()
                tenant, question = chance.choice(keys)
                if kind < _LEAVING:
                    await self._leave(client, tenant, question, chance.uniform(*_LEAVES_AFTER))
                elif kind < _LEAVING + _FALSE:
                    await self._show_false_token(client, tenant, question)
                elif kind < _LEAVING + _FALSE + _WRITING:
                    await self._write(client, f"{chance.getrandbits(160):040x}")
                else:
                    await self._ask(client, tenant, question)

    async def _ask(self, client: httpx.AsyncClient, tenant: int, question: str) -> None:
        before = self.faults.now()
        body, error = await self._send(client, self.questions[tenant, question])
        if error:
            await self._failed(before, error, body)
            return
        verdict = self.judge.verdict(tenant, question, body)
        self.tally.note(verdict, example=f"tenant {tenant}, {question}: {body[:300]!r}")

    async def _leave(self, client: httpx.AsyncClient, tenant: int, question: str, after: float) -> None:
        request, address = self.questions[tenant, question], httpx.URL(self.url)
        whole = client.build_request("POST", address, content=request.body, headers=request.headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in whole.headers.items())
        with suppress(OSError):
            _, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(f"POST {address.path} HTTP/1.1\r\n{head}\r\n".encode() + request.body)
            await asyncio.sleep(after)
            writer.close()
        self.tally.note(Verdict.LEFT)

    async def _show_false_token(self, client: httpx.AsyncClient, tenant: int, question: str) -> None:
        before = self.faults.now()
        asked = self.questions[tenant, question]
        false = {**asked.headers, "authorization": f"Bearer dg_{secrets.token_urlsafe(32)}"}
        body, error = await self._send(client, Request(asked.body, false))
        if error == "HTTP 401":
            self.tally.note(Verdict.RIGHT)
        elif error:
            await self._failed(before, error, body)
        else:
            self.tally.note(Verdict.FOREIGN, example=f"a false token was answered: {body[:300]!r}")

    async def _write(self, client: httpx.AsyncClient, commit: str) -> None:
        for _ in range(_RETRIES):
            before = self.faults.now()
            body, error = await self._send(client, self.writes.request(commit))
            if not error:
                self.writes.unknown.discard(commit)
                self.writes.acknowledged.add(commit)
                right = json.loads(body)["data"]["agentRunStart"]["agentRun"]["commit"] == commit
                self.tally.note(Verdict.RIGHT if right else Verdict.WRONG, example=body[:300].decode())
                return
            self.writes.unknown.add(commit)
            await self._failed(before, error, body)
            await asyncio.sleep(_PAUSE)

    async def _send(self, client: httpx.AsyncClient, request: Request) -> tuple[bytes, str]:
        """The body, and the kind of error where it is no answer."""
        try:
            answer = await client.post(self.url, content=request.body, headers=request.headers)
        except httpx.HTTPError as error:
            return b"", type(error).__name__
        body = answer.content
        if answer.status_code != httpx.codes.OK:
            return body, f"HTTP {answer.status_code}"
        if body.startswith(b'{"errors"'):
            return body, _code(json.loads(body))
        return body, ""

    async def _failed(self, before: str, error: str, body: bytes) -> None:
        """Counts an error, among those of a fault where one was there before or after; then waits a little."""
        after = self.faults.now()
        when = before if after == QUIET else after
        self.tally.note(Verdict.ERROR, error=f"{when}: {error}", example=body[:300].decode(errors="replace"))
        await asyncio.sleep(0.05)


def _code(answer: Any) -> str:
    return str(answer["errors"][0].get("extensions", {}).get("code", "error without code"))
