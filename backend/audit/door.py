"""Entries of what happens at the door, beside any operation: sign-ins, accounts, tokens from new addresses."""

import uuid
from collections.abc import Collection

from django.db import connection, transaction

from backend.audit.addresses import account_hash, ip_hash
from backend.audit.models import TOKEN_ADDRESS, AuditEntry, Outcome
from backend.core.actor import Actor
from backend.core.tenancy import acting_for, write

SIGN_IN = "sign_in"
SIGN_OUT = "sign_out"
SIGN_IN_THROTTLED = "sign_in.throttled"
IDENTITY_LINK = "identity.link"
IDENTITY_UNLINK = "identity.unlink"
ACCOUNT_CHANGE = "account.change"
_NOWHERE = uuid.UUID(int=0)  # the trail of no organization


def sign_in_record(action: str, *, email: str, outcome: Outcome, address: str) -> None:
    """Writes an entry in each organization of the account; in the trail of no organization where there is none.

    That trail has the organization 00000000-0000-0000-0000-000000000000. Of an address that belongs to no account a
    keyed hash is kept. One statement whether the account exists or not: the time it takes must not tell.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT audit_sign_in(%s, %s, %s, %s, %s)",
            [action, email, account_hash(email), outcome.value, ip_hash(address)],
        )


def account_change_record(
    user_id: uuid.UUID,
    organizations: Collection[uuid.UUID],
    columns: Collection[str],
    *,
    by: uuid.UUID | None,
    operator: str,
) -> None:
    """Writes an entry in each organization of an account, in the trail of no organization where there is none.

    It says which columns change, never to what; and by whom: a person, or else an account of the operating system.

    SQL: BEGIN, 2 for each entry, COMMIT; savepoints inside a transaction.
    """
    with transaction.atomic():
        for organization_id in organizations or [_NOWHERE]:
            with acting_for(organization_id):
                AuditEntry.objects.create(
                    organization_id=organization_id,
                    actor_id=by,
                    action=ACCOUNT_CHANGE,
                    object_type="user_account",
                    object_ids=[user_id],
                    object_count=1,
                    fields=sorted(columns),
                    request_id="" if by or not operator else f"os:{operator}",
                )


def token_address_record(actor: Actor, address: str) -> bool:
    """Whether the address is new for the token, of which there is an entry now.

    SQL: BEGIN, 1 for the organization, 1, 1 more where it is new, COMMIT.
    """
    found = ip_hash(address)
    with write(actor):
        known = AuditEntry.objects.filter(token_id=actor.token_id, action=TOKEN_ADDRESS, ip_hash=found)
        if known.exists():
            return False
        AuditEntry.objects.create(
            organization_id=actor.organization_id,
            token_id=actor.token_id,
            actor_role=actor.role.value,
            action=TOKEN_ADDRESS,
            object_type="api_token",
            object_ids=[actor.token_id],
            object_count=1,
            request_id=actor.request_id,
            ip_hash=found,
        )
    return True
