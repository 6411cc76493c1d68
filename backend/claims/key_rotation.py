"""Rotates the key of an organization: the stored references of its claims go over to the newest one, batch by batch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from django.utils import timezone

from backend.audit.services import record
from backend.claims.key_chain import chain_ensure, chain_presumed
from backend.claims.keys import newest_key_id
from backend.claims.models import Claim, HashKey
from backend.claims.rekeying import FIRST_ID, claims_rekey, next_claim_keys
from backend.core.actor import Actor, Right
from backend.core.errors import Conflict
from backend.core.tenancy import acting_for, write
from backend.payers.services import organization_lock

Progress = Callable[[int], None]  # rows done so far
ROWS_AT_ONCE = 500


class RotationAction(StrEnum):
    """What audit entries call the acts; their fields name the keys, by id."""

    BEGIN = "claims.keys_rotate"
    END = "claims.keys_rotated"


class KeyUsedBefore(Conflict):
    """The key {key_id} was replaced before for this organization. Put a new one at the end of DRIFTGRAPH_CLAIM_KEYS."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is to be done, or was done."""

    former_id: str
    key_id: str
    number: int  # of the key in the chain
    rows: int  # claim rows that are not under it yet
    resumed: bool  # begun before, and not finished


def rotation_plan(*, actor: Actor) -> Rotation | None:
    """What a rotation would do now; None where all claims are under the newest key. Changes nothing.

    Raises:
        Forbidden: the actor does not own the organization.
        KeyUsedBefore: the newest key is one that this organization had before its present one.
        KeyMissing: a key of the chain is not among those of this process.

    SQL: 2 to 4.
    """
    actor.require(Right.ORGANIZATION)
    with acting_for(actor.organization_id, actor):
        return _plan(actor)


def _plan(actor: Actor) -> Rotation | None:
    chain = chain_presumed(actor.organization_id)
    keys, newest = chain.key_ids, newest_key_id()
    resumed = chain.finished < len(keys)
    if not resumed:
        if newest == keys[-1]:
            return None
        if newest in keys:
            raise KeyUsedBefore(key_id=newest)
        keys = (*keys, newest)
    left = Claim.objects.filter(organization_id=actor.organization_id, key_no__lt=len(keys)).count()
    return Rotation(keys[-2], keys[-1], len(keys), left, resumed)


def keys_rotate(
    *, actor: Actor, progress: Progress = lambda _done: None, rows_at_once: int = ROWS_AT_ONCE
) -> Rotation | None:
    """What was done: all claims are under the newest key when this returns; None where they were before.

    Imports, rollbacks and reads go on meanwhile: a batch holds the organization's lock for as long as some hundred rows
    take, and rests as long. Whatever ends it, another call goes on where it was. Several at once share the work.

    Raises: as rotation_plan.
    SQL: 12, and 6 per batch.
    """
    actor.require(Right.ORGANIZATION)
    with write(actor):
        organization_lock(actor.organization_id)
        rotation = _plan(actor)
        if rotation is None:
            return None
        chain = chain_ensure(actor.organization_id)
        if not rotation.resumed:
            HashKey.objects.create(
                organization_id=actor.organization_id, ordinal=rotation.number, key_id=rotation.key_id
            )
            _record(actor, RotationAction.BEGIN, rotation, rotation.rows)
            chain = chain_ensure(actor.organization_id)
        key = chain.key_over(rotation.number)
    done, last = 0, FIRST_ID
    while True:
        begin = time.monotonic()
        with write(actor):
            organization_lock(actor.organization_id)
            last, claim_keys = next_claim_keys(actor.organization_id, last, rotation.number, rows_at_once)
            done += claims_rekey(actor.organization_id, claim_keys, key, rotation.number)
            if not claim_keys:
                _finish(actor, rotation, done)
                return rotation
        progress(done)
        time.sleep(time.monotonic() - begin)


def _finish(actor: Actor, rotation: Rotation, done: int) -> None:
    unfinished = HashKey.objects.filter(
        organization_id=actor.organization_id, ordinal=rotation.number, finished_at=None
    )
    if unfinished.update(finished_at=timezone.now()):  # several may come here
        _record(actor, RotationAction.END, rotation, done)


def _record(actor: Actor, action: RotationAction, rotation: Rotation, rows: int) -> None:
    names = [f"hash_key.{key_id}" for key_id in (rotation.former_id, rotation.key_id)]
    record(actor=actor, action=action, object_type="claim", object_count=rows, fields=names)
