"""Budgets: what a principal and an organization may spend in a minute, kept in this process or in Redis or Valkey."""

import asyncio
import logging
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool

from backend.audit.addresses import network_of
from backend.core.actor import Actor
from backend.core.errors import AppError
from backend.core.shared_counters import redis_address
from schema.execution.turns import Party

log = logging.getLogger("driftgraph.cost")
_WINDOW = 60  # seconds
_CONNECTIONS = 16  # to Redis or Valkey
_PATIENCE = 2.0  # seconds for each of: a free connection, connecting, an answer
PAUSE = 5.0  # seconds without a question to a ledger that did not answer
_KEPT = 2 * _WINDOW  # so that what is given back finds its window
NOBODY = "nobody"


class CostExceeded(AppError):
    """The operation costs {actual}, more than {limit} ({setting}). Ask for smaller pages or fewer fields."""

    code = "COST_EXCEEDED"


def most_of(*, by_reference: bool) -> tuple[int, str]:
    """What an operation may cost, and the setting that says so; less where graphql-core executes it: it is slower."""
    limits = settings.ENVIRONMENT
    if by_reference and limits.max_reference_cost < limits.max_cost:
        return limits.max_reference_cost, "DRIFTGRAPH_MAX_REFERENCE_COST"
    return limits.max_cost, "DRIFTGRAPH_MAX_COST"


class RateLimited(AppError):
    """The budget of {whose} is spent ({limit} a minute, {setting}). Try again in {seconds} seconds."""

    code = "RATE_LIMITED"
    retryable = True


class Ledger(Protocol):
    """Where it is kept how much was spent."""

    async def add(self, key: str, window: int, amount: int) -> int:
        """How much the key has in all in a window, after the amount, which may be negative."""

    async def close(self) -> None:
        """Nothing; gives back what it holds."""


class ProcessLedger:
    """Kept in this process: for a server that is one process.

    The storage of `limits` in memory starts a thread every 10 ms to forget, which costs more than all else of a budget.
    """

    def __init__(self) -> None:
        self._spent: dict[int, Counter[str]] = {}

    async def add(self, key: str, window: int, amount: int) -> int:
        """How much the key has in all; nothing is waited for."""
        if window not in self._spent:
            # What is given back late belongs to the window before.
            self._spent = {kept: spent for kept, spent in self._spent.items() if kept >= window - 1}
            self._spent[window] = Counter()
        self._spent[window][key] += amount
        return self._spent[window][key]

    async def close(self) -> None:
        """Nothing; there is nothing to close."""


class SharedLedger:
    """Kept in Redis or Valkey: for a server of several processes."""

    def __init__(self, url: str) -> None:
        address = redis_address(url)
        self._pool = BlockingConnectionPool.from_url(
            address,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE,
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
        )
        self._storage = RedisStorage(
            f"async+{address}",
            wrap_exceptions=True,
            implementation="redispy",
            connection_pool=self._pool,  # type: ignore[arg-type]  # typed as if options were plain values
        )

    async def add(self, key: str, window: int, amount: int) -> int:
        """How much the key has in all.

        Raises:
            StorageError: it cannot be reached.
        """
        return await self._storage.incr(f"cost/{key}/{window}", _KEPT, amount)

    async def close(self) -> None:
        """Nothing; ends the connections."""
        await self._pool.disconnect()


@dataclass(frozen=True, slots=True)
class Account:
    """Whose budget it is, and how much a minute it has."""

    whose: str
    key: str
    limit: int
    setting: str


@dataclass(frozen=True, slots=True)
class Charge:
    """What was taken for an operation, to be given back in part."""

    accounts: tuple[Account, ...]
    window: int
    amount: int
    remaining: int | None  # of what is left least of; None where the ledger cannot be reached

    @property
    def reset_at(self) -> int:
        """When the budget is whole again, in seconds since 1970."""
        return (self.window + 1) * _WINDOW


class Budgets:
    """Takes what operations cost from the budgets of who asks."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._failing = False
        self._asked_again_at = 0.0  # by the monotonic clock, where it did not answer

    async def charge(self, actor: Actor | None, address: str, amount: int) -> Charge:
        """What was taken; where the ledger cannot be reached the operation is let through, and the log says so.

        Raises:
            CostExceeded: no budget ever has so much; nothing is taken.
            RateLimited: a budget does not have so much any more; nothing is taken.
        """
        accounts, window = accounts_of(actor, address), int(time.time()) // _WINDOW
        least = min(accounts, key=lambda account: account.limit)
        if amount > least.limit:
            raise CostExceeded(actual=amount, limit=least.limit, setting=least.setting)
        spent = await self._add(accounts, window, amount)
        if spent is None:
            return Charge(accounts, window, amount, None)
        left = [account.limit - found for account, found in zip(accounts, spent, strict=True)]
        charge = Charge(accounts, window, amount, max(0, min(left)))
        for account, remaining in zip(accounts, left, strict=True):
            if remaining < 0:
                await self._add(accounts, window, -amount)
                seconds = max(1, charge.reset_at - int(time.time()))
                raise RateLimited(
                    whose=account.whose, limit=f"{account.limit:,}", setting=account.setting, seconds=seconds
                )
        return charge

    async def give_back(self, charge: Charge, actual: int) -> int | None:
        """What is left after an operation that cost less than was taken for it."""
        unused = charge.amount - actual
        if unused <= 0 or charge.remaining is None:
            return charge.remaining
        spent = await self._add(charge.accounts, charge.window, -unused)
        if spent is None:
            return charge.remaining + unused
        return max(0, min(account.limit - found for account, found in zip(charge.accounts, spent, strict=True)))

    async def close(self) -> None:
        """Nothing; the ledger is not asked again."""
        await self._ledger.close()

    async def _add(self, accounts: tuple[Account, ...], window: int, amount: int) -> list[int] | None:
        if time.monotonic() < self._asked_again_at:
            return None
        try:
            found = [self._ledger.add(account.key, window, amount) for account in accounts]
            if isinstance(self._ledger, ProcessLedger):
                spent = [await one for one in found]
            else:
                spent = await asyncio.gather(*found)
        except StorageError as error:
            if not self._failing:
                log.warning("DRIFTGRAPH_BUDGET_URL cannot be reached: %s. Budgets are not kept.", type(error).__name__)
            # One that hangs takes its time to fail: not each request is to wait for that.
            self._failing, self._asked_again_at = True, time.monotonic() + PAUSE
            return None
        if self._failing:
            log.warning("DRIFTGRAPH_BUDGET_URL can be reached again.")
        self._failing = False
        return list(spent)


def accounts_of(actor: Actor | None, address: str) -> tuple[Account, ...]:
    """The budgets that an operation is charged to: that of the principal first.

    Who is not signed in has that of the address, of IPv6 the first 64 bits.
    """
    limits = settings.ENVIRONMENT
    setting = "DRIFTGRAPH_COST_PER_MINUTE"
    if actor is None:
        return (Account("your address", f"{NOBODY}/{network_of(address)}", limits.cost_per_minute, setting),)
    principal: uuid.UUID | None = actor.token_id or actor.user_id
    return (
        Account(
            "your token or session",
            f"{actor.organization_id.hex}/{principal.hex if principal else ''}",
            limits.cost_per_minute,
            setting,
        ),
        Account(
            "your organization",
            actor.organization_id.hex,
            limits.organization_cost_per_minute,
            "DRIFTGRAPH_ORGANIZATION_COST_PER_MINUTE",
        ),
    )


def party_of(actor: Actor | None, address: str) -> Party:
    """Who has a turn: whoever has a budget."""
    return Party(accounts_of(actor, address)[0].key, is_known=actor is not None)


def process_budgets() -> Budgets:
    """The budgets of this process, kept where DRIFTGRAPH_BUDGET_URL says."""
    url = settings.ENVIRONMENT.budget_url
    return Budgets(SharedLedger(url) if url else ProcessLedger())
