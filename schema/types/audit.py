"""Object type of audit entries."""

import datetime
import uuid

import strawberry
import strawberry_django

from backend.audit import models
from backend.audit.models import Outcome
from backend.core.actor import Right, Role
from schema.declarations import Conversion
from schema.declare import column, global_id, hexadecimal, orders
from schema.relay.ids import encode_id
from schema.relay.keyset import Order
from schema.relay.node import Node
from schema.relay.pages import ListSource


def _opaque(tag: str) -> Conversion:
    def opaque(key: uuid.UUID) -> str:
        return encode_id(tag, key)

    return Conversion(opaque, lambda key: f"encode('{tag}'::bytea || uuid_send({key}), 'base64')")


_texts = Conversion(lambda keys: [str(key) for key in keys], lambda keys: f"{keys}::text[]")


@strawberry_django.type(
    models.AuditEntry,
    name="AuditEntry",
    description="One act: a statement that changed rows, a read of protected rows, or what a service did. Holds names,"
    " ids and counts, never a value. Entries cannot be changed; reading them makes one more.",
)
class AuditEntry(Node):
    id: strawberry.ID = global_id("AE", models.AuditEntry, "AuditEntry", right=Right.AUDIT_READ)
    at: datetime.datetime = column("When it was done.", "at")
    actor: strawberry.ID | None = column(
        "Opaque id of the person; null: a program or the product itself.", "actor_id", _opaque("US")
    )
    token: strawberry.ID | None = column(
        "Opaque id of the API token that was used; null without one.", "token_id", _opaque("TK")
    )
    role: Role | None = column(
        "The role in which it was done; the product itself acts as OWNER. Null: by the database's administrators, or by"
        " somebody who could not sign in.",
        "actor_role",
    )
    action: str = column(
        "What was done: read, insert, update, delete; refuse, where a right was missing; sign_in, sign_in.throttled,"
        " sign_out; token.address, the first use of an API token from an address; or an act such as claims.import.",
        "action",
    )
    object_type: str = column("The table of the objects, such as claim; empty of a refusal.", "object_type")
    object_keys: list[str] = column(
        "Keys of the objects, sorted, as UUIDs; empty if there are more than 100.", "object_ids", _texts
    )
    object_count: int = column("How many objects.", "object_count")
    objects_digest: str | None = column(
        "Of more than 100 objects the SHA-256 of their sorted keys, 16 bytes each, in hexadecimal digits; else null.",
        "objects_digest",
        hexadecimal,
    )
    field_names: list[str] = column(
        "Of a read the fields with PHI, as Type.field; of a refusal what was refused, as Type.field; of an update of up"
        " to 100 rows the columns, as table.column.",
        "fields",
    )
    claim_level: bool = column("Whether claim lines were shown or asked for.", "fields_phi")
    operation_name: str = column(
        'Name of the GraphQL operation; empty without one, "other" if it could identify a person.', "operation_name"
    )
    document_hash: str | None = column(
        "SHA-256 of the GraphQL document of a read, in hexadecimal digits; null of everything else.",
        "document_hash",
        hexadecimal,
    )
    outcome: Outcome = column("How it ended.", "outcome")
    purpose: str = column(
        "What it was for, as the header Driftgraph-Purpose or the job says; empty if unsaid.", "purpose"
    )
    ip_hash: str | None = column(
        "Keyed hash of the network whence somebody signed in or used a token (an IPv4 address, or 64 bits of an IPv6"
        " one), in hexadecimal digits: equal where that is equal. Null of everything else.",
        "ip_hash",
        hexadecimal,
    )
    request_id: str = column("The request, as in the header X-Request-Id; empty outside of one.", "request_id")


AuditEntryOrder = orders(
    "AuditEntryOrder", Order("NEWEST_FIRST", ("at",), descending=True, description="Newest first.")
)
ENTRIES = ListSource(
    "auditEntries", models.AuditEntry, models.AuditEntry.objects.all, AuditEntryOrder, AuditEntryOrder.NEWEST_FIRST
)
