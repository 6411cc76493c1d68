"""A deterministic year of invented claims with known payer changes, written as claims CSV; nothing in it is real."""

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

DAYS = 365
DEFAULT_CLAIMS = 40_000

HEADER = (
    "claim_id",
    "line_no",
    "payer",
    "procedure_code",
    "procedure_group",
    "modifiers",
    "submitted_date",
    "decided_date",
    "payment_date",
    "outcome",
    "billed_amount",
    "allowed_amount",
    "paid_amount",
    "denial_code",
    "authorization_required",
    "authorization_present",
)

GROUPS = ("IMAGING", "THERAPY", "CARDIOLOGY", "ORTHOPEDICS", "LABORATORY", "BEHAVIORAL")
CODES_PER_GROUP = 5
_DENIAL_CODES = ("CO-16", "CO-50", "CO-96", "CO-97", "CO-29", "CO-11", "PI-204")
_WEEKDAY_WEIGHTS = (1.15, 1.1, 1.0, 1.0, 0.9, 0.12, 0.06)
_SATURDAY = 5


class _Payer(NamedTuple):
    name: str
    share: float
    denial: float  # share of decided claims denied for other reasons than authorization
    full: float  # share of non-denied claims paid in full
    auth_failure: float  # share of claims with authorization required that are denied for lack of it
    lag: float  # median days from submission to decision
    price: float  # against the code's base price


_PAYERS = (
    _Payer("Alder Example Health", 0.19, 0.080, 0.93, 0.025, 11, 1.00),
    _Payer("Birch Example Mutual", 0.17, 0.100, 0.91, 0.030, 14, 0.92),
    _Payer("Cedar Example Plan", 0.15, 0.070, 0.94, 0.020, 9, 1.08),
    _Payer("Dogwood Example Care", 0.13, 0.090, 0.90, 0.035, 16, 0.88),
    _Payer("Elm Example Assurance", 0.12, 0.110, 0.92, 0.030, 13, 0.97),
    _Payer("Fir Example Benefit", 0.10, 0.060, 0.95, 0.020, 8, 1.12),
    _Payer("Ginkgo Example Trust", 0.08, 0.085, 0.92, 0.025, 18, 0.95),
    _Payer("Hazel Example Cooperative", 0.06, 0.095, 0.93, 0.030, 12, 1.03),
)


@dataclass(frozen=True, slots=True)
class InjectedChange:
    """A change that the generator made, by decided date; `effect` is the signed change of the rate."""

    drift_type: str  # DENIAL_RATE | APPROVAL_RATE | AUTH_FAILURE_RATE
    payer: str
    group: str | None  # None: all groups of the payer
    direction: str  # UP | DOWN
    changed_on: date
    effect: float


class _Code(NamedTuple):
    code: str
    group: str
    weight: float
    price: float
    auth_share: float


class _Rates(NamedTuple):
    denial: float
    full: float
    auth_failure: float


def injected_changes(ends_on: date) -> list[InjectedChange]:
    """The changes in a year that ends on a day: three for the worse, one for the better."""

    def change(drift_type: str, payer: int, group: str | None, days_before: int, effect: float) -> InjectedChange:
        direction = "UP" if effect > 0 else "DOWN"
        day = ends_on - timedelta(days=days_before)
        return InjectedChange(drift_type, _PAYERS[payer].name, group, direction, day, effect)

    return [
        change("DENIAL_RATE", 1, "IMAGING", 62, 0.17),
        change("APPROVAL_RATE", 3, None, 97, -0.13),
        change("AUTH_FAILURE_RATE", 4, None, 48, 0.15),
        change("DENIAL_RATE", 2, "THERAPY", 131, -0.15),
    ]


def write_demo_claims(
    path: str | os.PathLike[str], *, ends_on: date, seed: int = 20250101, claims: int = DEFAULT_CLAIMS
) -> list[InjectedChange]:
    """The changes that were injected; writes about `claims` rows of the 365 days up to `ends_on`.

    Equal arguments give equal bytes. Claims whose decision would fall after `ends_on` are PENDING, and payments after
    it are not made yet.
    """
    changes = injected_changes(ends_on)
    with Path(path).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(_Generator(Random(seed), ends_on, changes).rows(claims))
    return changes


class _Generator:
    """Draws claims day by day; holds the state of the year: codes, changes and the weekly mood of each payer."""

    def __init__(self, random: Random, ends_on: date, changes: Sequence[InjectedChange]) -> None:
        self._random = random
        self._ends_on = ends_on
        self._changes = changes
        self._codes = _codes(random)
        self._code_steps = list(accumulate(code.weight for code in self._codes))
        self._payer_steps = list(accumulate(payer.share for payer in _PAYERS))
        weeks = DAYS // 7 + 2
        self._moods = {payer.name: [random.gauss(0.0, 0.12) for _ in range(weeks)] for payer in _PAYERS}
        self._starts_on = ends_on - timedelta(days=DAYS - 1)

    def rows(self, claims: int) -> Iterator[tuple[str, ...]]:
        days = [self._starts_on + timedelta(days=offset) for offset in range(DAYS)]
        weights = [_WEEKDAY_WEIGHTS[day.weekday()] * self._random.uniform(0.9, 1.1) for day in days]
        total = math.fsum(weights)
        number = 0
        due = 0.0
        for day, weight in zip(days, weights, strict=True):
            due += claims * weight / total
            while number < round(due):
                number += 1
                yield self._claim(number, day)

    def _claim(self, number: int, submitted: date) -> tuple[str, ...]:
        random = self._random
        payer = random.choices(_PAYERS, cum_weights=self._payer_steps)[0]
        code = random.choices(self._codes, cum_weights=self._code_steps)[0]
        lag = max(1, round(payer.lag * math.exp(random.gauss(0.0, 0.45))))
        decided = _working_day(submitted + timedelta(days=lag))
        needs_auth = random.random() < code.auth_share
        has_auth = needs_auth and random.random() < 0.96
        billed = round(code.price * math.exp(random.gauss(0.0, 0.25)) * 1.9 * 100)
        head = (
            f"DEMO-{number:07d}",
            "1",
            payer.name,
            code.code,
            code.group,
            random.choice(("25", "59", "26;59", "RT")) if random.random() < 0.12 else "",
            submitted.isoformat(),
        )
        tail = ("true", "true" if has_auth else "false") if needs_auth else ("false", "")
        verdict, denial = self._verdict(payer, code, decided, needs_auth=needs_auth)
        allowed = round(code.price * payer.price * math.exp(random.gauss(0.0, 0.04)) * 100)
        share = random.uniform(0.55, 0.85)
        payment = _working_day(decided + timedelta(days=random.randint(2, 7)))
        if decided > self._ends_on:
            return (*head, "", "", "PENDING", _dollars(billed), "", "", "", *tail)
        if verdict == "DENIED":
            return (*head, decided.isoformat(), "", verdict, _dollars(billed), "0.00", "", denial, *tail)
        paid = allowed if verdict == "PAID" else round(allowed * share)
        paid_on = payment.isoformat() if payment <= self._ends_on else ""
        amounts = (_dollars(max(billed, allowed)), _dollars(allowed), _dollars(paid))
        return (*head, decided.isoformat(), paid_on, verdict, *amounts, "", *tail)

    def _verdict(self, payer: _Payer, code: _Code, decided: date, *, needs_auth: bool) -> tuple[str, str]:
        """Outcome and denial code; the draws do not depend on the result, so one change leaves other claims alone."""
        draws = [self._random.random() for _ in range(5)]
        rates = self._rates(payer, code.group, decided)
        if needs_auth and draws[0] < rates.auth_failure:
            return "DENIED", "CO-197" if draws[1] < 0.8 else "CO-15"
        if draws[2] < rates.denial:
            # A few denials come without their reason, as they do in real exports.
            reason = _DENIAL_CODES[int(draws[3] * len(_DENIAL_CODES))]
            return "DENIED", reason if draws[1] > 0.01 else ""
        return ("PAID", "") if draws[4] < rates.full else ("PARTIAL", "")

    def _rates(self, payer: _Payer, group: str, decided: date) -> _Rates:
        mood = self._moods[payer.name][min((decided - self._starts_on).days // 7, DAYS // 7 + 1)]
        denial, full, auth_failure = payer.denial * math.exp(mood), payer.full, payer.auth_failure
        for change in self._changes:
            if change.payer != payer.name or change.group not in {None, group}:
                continue
            # An improvement starts from a bad state, so that rates stay those of the payer after it.
            improves = change.drift_type == "DENIAL_RATE" and change.effect < 0
            applies = (decided < change.changed_on) if improves else (decided >= change.changed_on)
            if not applies:
                continue
            if change.drift_type == "DENIAL_RATE":
                denial += abs(change.effect)
            elif change.drift_type == "APPROVAL_RATE":
                full += change.effect
            else:
                auth_failure += change.effect
        return _Rates(denial, full, auth_failure)


def _codes(random: Random) -> list[_Code]:
    """30 invented codes, X9901 to X9930: the shape of HCPCS level II in a range that is not assigned."""
    return [
        _Code(
            code=f"X99{number + 1:02d}",
            group=GROUPS[number // CODES_PER_GROUP],
            weight=random.uniform(0.5, 1.5),
            price=round(random.uniform(60, 900), 2),
            auth_share=random.uniform(0.25, 0.65),
        )
        for number in range(len(GROUPS) * CODES_PER_GROUP)
    ]


def _working_day(day: date) -> date:
    """The day itself, or the Monday after it."""
    weekday = day.weekday()
    return day + timedelta(days=7 - weekday) if weekday >= _SATURDAY else day


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
