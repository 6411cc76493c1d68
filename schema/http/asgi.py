"""The composition root: GraphQL beside Django in one ASGI application, with the pools of the process."""

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from granian.utils.proxies import wrap_asgi_with_proxy_headers

# What is imported stays: looking for garbage among it would only delay the first answer.
gc.disable()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backend.config.settings")
django_application = get_asgi_application()

from backend.audit.addresses import plain_address
from backend.core.errors import AppError
from backend.db.reads import process_reads
from backend.db.writes import WriteThreads
from schema.execution.documents import warm
from schema.execution.trusted import trusted_documents
from schema.http.app import PATH, GraphQLApp
from schema.http.health import health
from schema.http.messages import Receive, Response, Scope, Send
from schema.http.metrics import Metrics
from schema.http.parent import ENDS_WITH_PARENT, end_with_parent
from schema.http.requests import upload_folder
from schema.http.upload import remove_leftovers

gc.enable()
_YOUNG = 10_000  # objects that are new; looking through them takes few milliseconds


class Application:
    """Routes by path: `/graphql` to GraphQL, `/healthz` and `/readyz` to health, `/metrics`, the rest to Django."""

    def __init__(self) -> None:
        self._reads = process_reads()
        self._writes = WriteThreads()
        self._graphql = GraphQLApp(self._reads, self._writes)
        self._metrics = Metrics(self._reads)
        self._ending: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Takes one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket" and scope["path"].rstrip("/") != PATH:
            await receive()
            await send({"type": "websocket.close", "code": 4404})
        elif scope["path"] == PATH or scope["path"].startswith(f"{PATH}/"):
            await self._graphql(scope, receive, send)
        elif scope["path"] in ("/healthz", "/readyz"):
            await (await health(scope["path"], self._reads)).send(send)
        elif scope["path"] == "/metrics":
            await (await self._metrics.page(scope)).send(send)
        elif scope["path"] == "/":
            await Response(302, b"", {"location": PATH}).send(send)
        else:
            await django_application(scope, receive, send)  # type: ignore[arg-type]  # ASGI dictionaries

    def _end_streams_first(self) -> None:
        """Nothing; the signal that stops the server first ends its streams.

        The servers would cut WebSockets off, and wait for event streams. What they do on SIGINT, they do after that.
        """

        async def end() -> None:
            await self._graphql.streams.end()
            signal.raise_signal(signal.SIGINT)

        def begin() -> None:
            self._ending = asyncio.create_task(end())

        with suppress(NotImplementedError, RuntimeError, ValueError):  # on Windows, or in a thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, begin)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if ENDS_WITH_PARENT in os.environ:
                    # A master that is killed cannot stop its workers, and they would keep the port.
                    end_with_parent(signal.SIGKILL)
                try:
                    remove_leftovers(upload_folder())
                    await self._reads.open()
                    self._end_streams_first()
                    trusted_documents()  # a manifest that cannot be read is told at the start
                    warm()
                    self._graphql.usage.start()
                    self._metrics.start()
                    # A long document is looked at in a thread: the event loop gets its turn after 0.5 ms, not 5.
                    sys.setswitchinterval(0.000_5)
                    # What lives as long as the process need not be looked at by every collection of garbage.
                    gc.freeze()
                    # Garbage of a large document dies young, where finding it is cheap: by the usual (700, 10, 10) most
                    # is left to collections of everything. Seldom ones of those would find much at once.
                    gc.set_threshold(_YOUNG, 5, 2)
                except AppError as error:
                    await send({"type": "lifespan.startup.failed", "message": error.message})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._metrics.stop()
                await self._graphql.close()
                await self._reads.close()
                self._writes.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def behind_proxies(application: Any) -> Any:
    """The application, told whence a request comes by the proxies of DRIFTGRAPH_TRUSTED_PROXIES, and by no one else."""
    proxies = settings.ENVIRONMENT.trusted_proxies
    if not proxies:
        return application
    told = wrap_asgi_with_proxy_headers(application, proxies)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        # Each connection has a port of its own: with it, one who tries passwords would be somebody else each time.
        if scope["type"] != "lifespan":
            scope = {**scope, "headers": [(name, _without_ports(name, value)) for name, value in scope["headers"]]}
            if client := scope.get("client"):
                scope["client"] = (plain_address(client[0]), client[1])
        await told(scope, receive, send)

    return wrapped


def _without_ports(name: bytes, value: bytes) -> bytes:
    if name != b"x-forwarded-for":
        return value
    return ", ".join(plain_address(one.strip()) for one in value.decode("latin1").split(",")).encode("latin1")


app = behind_proxies(Application())
