"""`/metrics` for Prometheus: what the process counts, and what the database says of the audit trail.

It is answered without the database too, and says then that there is none.
"""

import asyncio
import hmac
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

import orjson
from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from backend.core.errors import AppError, Forbidden, Unauthenticated
from backend.db.reads import Reads
from schema.http.asked import address_of
from schema.http.health import Readiness, readiness
from schema.http.messages import Headers, HttpError, Response, Scope

_SEVERAL_PROCESSES = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # as prometheus_client finds it, when it is imported
_FRESH_SECONDS = 5.0  # between two looks of a process at its pool, where another one may be asked for it
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_UNSEALED = "SELECT entries, coalesce(extract(epoch FROM clock_timestamp() - oldest), 0)::float8 FROM audit_unsealed()"
_POOL = {
    "pool_max": Gauge("driftgraph_read_pool_max", "Connections that reads may have.", multiprocess_mode="livesum"),
    "pool_size": Gauge("driftgraph_read_pool_size", "Connections that reads have.", multiprocess_mode="livesum"),
    "pool_available": Gauge("driftgraph_read_pool_free", "Those in no use.", multiprocess_mode="livesum"),
    "requests_waiting": Gauge("driftgraph_read_pool_waiting", "Reads that wait for one.", multiprocess_mode="livesum"),
}


class _Said(Collector):
    """Figures of one moment."""

    def __init__(self, figures: Iterable[Metric]) -> None:
        self._figures = tuple(figures)

    def collect(self) -> Iterable[Metric]:
        return self._figures


class Metrics:
    """The page of a process; where several answer at one address, it is that of all of them."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._refreshing: asyncio.Task[None] | None = None

    async def page(self, scope: Scope) -> Response:
        """200 in the format that Prometheus asks for; 401 or 403 for those whom it does not concern."""
        headers = Headers(scope["headers"])
        try:
            _refuse_others(address_of(scope), headers)
        except HttpError as error:
            body = orjson.dumps({"code": error.code, "reason": error.message})
            return Response(error.status, body, {"content-type": "application/json", **error.headers})
        self._refresh()
        registry = CollectorRegistry()
        registry.register(_Said(await self._of_database()))
        if _SEVERAL_PROCESSES:
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves its parameters untyped
        else:
            registry.register(REGISTRY)
        encode, media_type = choose_encoder(headers.get("accept"))
        body = await asyncio.to_thread(encode, registry)
        return Response(200, body, {"content-type": media_type, "cache-control": "no-store"})

    def start(self) -> None:
        """Nothing; where there are several processes, each of them keeps its part of the figures fresh."""
        if _SEVERAL_PROCESSES:
            self._refreshing = asyncio.create_task(self._keep_fresh())

    async def stop(self) -> None:
        """Nothing; what only a process that lives can have is not told of this one any more."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await self._refreshing
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # prometheus_client leaves its parameters untyped

    async def _keep_fresh(self) -> None:
        while True:
            self._refresh()
            await asyncio.sleep(_FRESH_SECONDS)

    def _refresh(self) -> None:
        found = self._reads.statistics()
        for name, gauge in _POOL.items():
            gauge.set(found.get(name, 0))

    async def _of_database(self) -> list[Metric]:
        try:
            async with self._reads.snapshot(None, seconds=2) as snapshot:
                found = await readiness(snapshot)
                [(entries, age)] = [(0, 0.0)] if found.pending else await snapshot.rows(_UNSEALED)
        except AppError:
            return [_database(up=False)]
        figures = [
            _database(up=True),
            GaugeMetricFamily("driftgraph_migrations_pending", "Migrations to be applied.", found.pending),
        ]
        return figures if found.pending else [*figures, *_trail(found, entries, age)]


def _database(*, up: bool) -> Metric:
    return GaugeMetricFamily("driftgraph_database_up", "1: the database answers in 2 seconds; 0: it does not.", up)


def _trail(found: Readiness, entries: int, age: float) -> Iterable[Metric]:
    yield GaugeMetricFamily("driftgraph_audit_unsealed_entries", "Entries without a seal, 10,000 at most.", entries)
    yield GaugeMetricFamily(
        "driftgraph_audit_unsealed_age_seconds", "Age of the oldest of them; 0 where there is none.", age
    )
    if (seal := found.seal) is None:
        return
    at = seal.sealed_at.timestamp()
    yield GaugeMetricFamily("driftgraph_audit_seal_sequence", "Number of the latest seal.", seal.seq)
    yield GaugeMetricFamily("driftgraph_audit_seal_timestamp_seconds", "When it was made, since 1970.", at)
    yield GaugeMetricFamily("driftgraph_audit_seal_age_seconds", "Its age.", max(0.0, time.time() - at))
    info = GaugeMetricFamily("driftgraph_audit_seal_info", "1; the label is its hash.", labels=["hash"])
    info.add_metric([seal.hash], 1)
    yield info


def _refuse_others(address: str, headers: Headers) -> None:
    """Nothing for who has the token; where none is set, for who is on this machine and speaks for nobody else.

    Raises: HttpError.
    """
    token = settings.ENVIRONMENT.metrics_token
    if token:
        scheme, _, said = headers.get("authorization").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(said.strip().encode(), token.encode()):
            message = "Send the token of DRIFTGRAPH_METRICS_TOKEN as a bearer token."
            raise HttpError(401, Unauthenticated.code, message, {"www-authenticate": "Bearer"})
    elif not _is_here(address) or any(headers.get(name) for name in _FORWARDED):
        message = "Metrics are for this machine alone where DRIFTGRAPH_METRICS_TOKEN is not set."
        raise HttpError(403, Forbidden.code, message)


def _is_here(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
