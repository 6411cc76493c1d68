"""How often may be tried what only guessing tries often: passwords, and tokens that are no good."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from django.conf import settings
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage

from backend.audit.addresses import account_hash, network_of
from backend.core.errors import AppError
from backend.core.shared_counters import redis_address

log = logging.getLogger("driftgraph.accounts")
_PATIENCE = 2.0  # seconds for each of: connecting, an answer
PAUSE = 5.0  # seconds without a question to a service that did not answer
_MINUTE = 60  # seconds
T = TypeVar("T")


class TooManyAttempts(AppError):
    """Too many {what}: more than {limit} in {minutes} minutes ({setting}). Try again in {seconds} seconds."""

    code = "RATE_LIMITED"
    retryable = True


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often something may be tried; the minutes begin with the first time."""

    what: str
    key: str
    limit: int
    minutes: int
    setting: str


class Attempts:
    """Counts in this process, or in Redis or Valkey; while that is away, in this process again."""

    def __init__(self, url: str) -> None:
        """With an empty `url` in this process alone."""
        self._own = MemoryStorage()
        self._shared = _shared(url) if url else None
        self._failing = False
        self._asked_again_at = 0.0  # by the monotonic clock, where it did not answer

    def take(self, allowance: Allowance) -> None:
        """Counts one more.

        Raises:
            TooManyAttempts: its detail `is_first` says whether it is the first that is too many.
        """
        count = self._ask(lambda storage: storage.incr(allowance.key, allowance.minutes * _MINUTE))
        if count > allowance.limit:
            raise self._refusal(allowance, is_first=count == allowance.limit + 1)

    def check(self, allowance: Allowance) -> None:
        """Counts nothing; lets pass who has something left.

        Raises: TooManyAttempts.
        """
        if self._ask(lambda storage: storage.get(allowance.key)) >= allowance.limit:
            raise self._refusal(allowance, is_first=False)

    def give_back(self, allowance: Allowance) -> None:
        """Counts one less: it was no guess."""
        self._ask(lambda storage: storage.incr(allowance.key, allowance.minutes * _MINUTE, -1))

    def forget(self, allowance: Allowance) -> None:
        """Counts anew."""
        self._ask(lambda storage: storage.clear(allowance.key))

    def _refusal(self, allowance: Allowance, *, is_first: bool) -> TooManyAttempts:
        until = self._ask(lambda storage: storage.get_expiry(allowance.key))
        return TooManyAttempts(
            what=allowance.what,
            limit=allowance.limit,
            minutes=allowance.minutes,
            setting=allowance.setting,
            seconds=max(1, math.ceil(until - time.time())),
            is_first=is_first,
        )

    def _ask(self, question: Callable[[Storage], T]) -> T:
        if self._shared is None or time.monotonic() < self._asked_again_at:
            return question(self._own)
        try:
            found = question(self._shared)
        except StorageError as error:
            if not self._failing:
                log.warning(
                    "DRIFTGRAPH_BUDGET_URL cannot be reached: %s. Each process counts attempts for itself.",
                    type(error).__name__,
                )
            # One that hangs takes its time to fail: not each attempt is to wait for that.
            self._failing, self._asked_again_at = True, time.monotonic() + PAUSE
            return question(self._own)
        self._failing = False
        return found


def _shared(url: str) -> RedisStorage:
    return RedisStorage(
        redis_address(url), wrap_exceptions=True, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
    )


@cache
def process_attempts() -> Attempts:
    """The counts of this process, kept where DRIFTGRAPH_BUDGET_URL says."""
    return Attempts(settings.ENVIRONMENT.budget_url)


def sign_in_allowances(address: str, email: str) -> tuple[Allowance, Allowance]:
    """What an address on the network has, and what an account has, whether it exists or not."""
    limits = settings.ENVIRONMENT
    return (
        Allowance(
            "failed log-ins from your address",
            f"sign-in/address/{network_of(address)}",
            limits.sign_in_failures_per_address,
            limits.sign_in_window_minutes,
            "DRIFTGRAPH_SIGN_IN_FAILURES_PER_ADDRESS",
        ),
        Allowance(
            "failed log-ins with this account",
            f"sign-in/account/{account_hash(email).hex()}",
            limits.sign_in_failures_per_account,
            limits.sign_in_window_minutes,
            "DRIFTGRAPH_SIGN_IN_FAILURES_PER_ACCOUNT",
        ),
    )


def token_allowance(address: str) -> Allowance:
    """What an address on the network has of tokens that are no good."""
    limit = settings.ENVIRONMENT.bad_tokens_per_address
    minutes, setting = settings.ENVIRONMENT.bad_token_window_minutes, "DRIFTGRAPH_BAD_TOKENS_PER_ADDRESS"
    return Allowance("bad tokens from your address", f"token/{network_of(address)}", limit, minutes, setting)
