"""The chain of keys of an organization: which ones hash the references of its claims, and in which order."""

import uuid
from dataclasses import dataclass

from django.utils import timezone

from backend.claims.keys import first_key_id, newest_key_id, organization_key
from backend.claims.models import Claim, HashKey
from backend.ingestion.keys import ClaimHasher, KeyOver


@dataclass(frozen=True, slots=True)
class KeyChain:
    """The keys as they were when they were read."""

    organization_id: uuid.UUID
    key_ids: tuple[str, ...]  # in the order in which they are laid over one another
    finished: int  # how many of them all stored claims are under; one less than there are while a rotation is under way

    def hasher(self) -> ClaimHasher:
        """What makes references of identifiers, under the first key.

        Raises: KeyMissing.
        """
        return ClaimHasher(organization_key(self.organization_id, self.key_ids[0]))

    def key_over(self, number: int) -> KeyOver:
        """The key of a number, 2 or more.

        Raises: KeyMissing.
        """
        return KeyOver(organization_key(self.organization_id, self.key_ids[number - 1]))


def chain_ensure(organization_id: uuid.UUID) -> KeyChain:
    """The chain; an organization without one begins it, as chain_presumed says.

    SQL: 1; 4 where there is none.
    """
    chain = chain_of(organization_id)
    if not chain.key_ids:
        [first] = chain_presumed(organization_id).key_ids
        begun = HashKey(organization_id=organization_id, ordinal=1, key_id=first, finished_at=timezone.now())
        # Another import may begin it too: then the one that commits first has chosen.
        HashKey.objects.bulk_create([begun], ignore_conflicts=True)
        chain = chain_of(organization_id)
    return chain


def chain_presumed(organization_id: uuid.UUID) -> KeyChain:
    """The chain; where there is none yet, of the newest key, or of the first where there are claims already.

    SQL: 1 or 2.
    """
    chain = chain_of(organization_id)
    if chain.key_ids:
        return chain
    has_claims = Claim.objects.filter(organization_id=organization_id).exists()
    return KeyChain(organization_id, (first_key_id() if has_claims else newest_key_id(),), 1)


def chain_of(organization_id: uuid.UUID) -> KeyChain:
    """The chain, which may have no key yet.

    SQL: 1.
    """
    found = list(
        HashKey.objects.filter(organization_id=organization_id).order_by("ordinal").values_list("key_id", "finished_at")
    )
    finished = sum(moment is not None for _, moment in found)
    return KeyChain(organization_id, tuple(key_id for key_id, _ in found), finished)
