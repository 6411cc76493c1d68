"""The table of audit entries: append-only, also for the server's own role."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.functions import Now

from backend.core.actor import Role
from backend.core.constraints import OrderIndex, one_of
from backend.core.tenant_models import OrganizationKey, TenantModel

TOKEN_ADDRESS = "token.address"  # noqa: S105 - an action: the first use of a token from an address


class TransactionId(models.Field):  # type: ignore[type-arg]  # not subscriptable at run time
    """PostgreSQL's 64-bit transaction id."""

    def db_type(self, connection: object) -> str:  # noqa: ARG002 - Django's signature
        """The column type."""
        return "xid8"


class CurrentTransaction(Func):
    """The id of the transaction that writes the row."""

    function = "pg_current_xact_id"
    template = "%(function)s()"


class Outcome(models.TextChoices):
    """How the audited act ended."""

    OK = "OK"
    DENIED = "DENIED"
    ERROR = "ERROR"


class AuditEntry(TenantModel):
    """One act by one principal: a statement that changed rows, a read that is to be accounted for, an act of a service.

    Holds names of columns and fields, ids and counts; never a value. The database itself sets `at`, `created_at`, `xid`
    and `epoch`, whatever is sent.
    """

    change_audit = False

    organization = OrganizationKey(db_constraint=False)  # the trail outlives the organization
    at = models.DateTimeField(db_default=Now())
    actor_id = models.UUIDField(null=True)  # user; null: a token or the product itself
    token_id = models.UUIDField(null=True)
    actor_role = models.TextField(null=True)  # null: a role of the database, outside of the product
    action = models.TextField()
    object_type = models.TextField()  # the table
    object_ids = ArrayField(models.UUIDField(), default=list)  # sorted; up to 100, none if there are more
    object_count = models.IntegerField(default=0)
    objects_digest = models.BinaryField(null=True)  # of more than 100: SHA-256 of the sorted ids, 16 bytes each
    fields = ArrayField(models.TextField(), default=list, db_default=Value("{}"))  # changed columns, or fields read
    operation_name = models.TextField(default="")
    document_hash = models.BinaryField(null=True)  # SHA-256 of the GraphQL document
    fields_phi = models.BooleanField(default=False)
    outcome = models.TextField(choices=Outcome.choices, default=Outcome.OK)
    purpose = models.TextField(default="")
    request_id = models.TextField(default="")
    ip_hash = models.BinaryField(null=True)  # whence, of what happens at the door: backend.audit.addresses
    xid = TransactionId(db_default=CurrentTransaction())
    epoch = models.BigIntegerField(default=0, db_default=0)  # the system identifier of the cluster that gave the xid

    class Meta:
        db_table = "audit_entry"
        constraints = [one_of("audit_entry", "outcome", Outcome), one_of("audit_entry", "actor_role", Role)]
        indexes = [
            OrderIndex(fields=["organization", "-at", "-id"], name="audit_entry_at_desc_idx"),
            OrderIndex(fields=["organization", "actor_id", "-at", "-id"], name="audit_entry_actor_idx"),
            models.Index(fields=["epoch", "xid"], name="audit_entry_sealing_idx"),
            models.Index(
                fields=["organization", "token_id", "ip_hash"],
                condition=Q(action=TOKEN_ADDRESS),
                name="audit_entry_address_idx",
            ),
        ]


class AuditSeal(models.Model):
    """A link of the chain that makes a change of sealed entries show: all entries of some transactions.

    Belongs to no organization; holds hashes, counts and the ids of organizations.
    """

    seq = models.BigIntegerField(primary_key=True)
    epoch = models.BigIntegerField()
    xid_from = TransactionId()  # inclusive
    xid_to = TransactionId()  # exclusive
    entries = models.IntegerField()
    organization_roots = models.JSONField()  # organization -> [entries, root in hexadecimal digits]
    root = models.BinaryField()
    prev_hash = models.BinaryField()
    hash = models.BinaryField()
    sealed_at = models.DateTimeField()

    class Meta:
        db_table = "audit_seal"


class AuditRemoval(models.Model):
    """A certificate that the entries of a partition were removed, being past their time (backend.audit.certificates).

    Belongs to no organization; holds hashes, counts and ids. The server reads it; the owner adds one.
    """

    seq = models.BigIntegerField(primary_key=True)
    part = models.TextField()
    id_to = models.UUIDField()  # of the partition: its ids were less
    entries = models.BigIntegerField()
    seals = models.JSONField()  # [[first, last], ...] of the seals that have no entry left
    leaves = models.JSONField()  # seal -> [[organization, xid, id, hash], ...] of those that lost some
    prev_hash = models.BinaryField()
    hash = models.BinaryField()
    removed_at = models.DateTimeField()
    operator = models.TextField()  # the account of the operating system that the command ran under

    class Meta:
        db_table = "audit_removal"
