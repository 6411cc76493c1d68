"""The table of audit entries: append-only, also for the server's own role."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Func
from django.db.models.functions import Now

from backend.core.actor import Role
from backend.core.constraints import OrderIndex, one_of
from backend.core.tenant_models import TenantModel


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
    """One act by one principal: a change, or a read of protected health information."""

    at = models.DateTimeField(db_default=Now())
    actor_id = models.UUIDField(null=True)  # user; null: a token or the product itself
    token_id = models.UUIDField(null=True)
    actor_role = models.TextField()
    action = models.TextField()
    object_type = models.TextField()
    object_ids = ArrayField(models.UUIDField(), default=list)  # up to 100, then only the count
    object_count = models.IntegerField(default=0)
    operation_name = models.TextField(default="")
    fields_phi = models.BooleanField(default=False)
    outcome = models.TextField(choices=Outcome.choices, default=Outcome.OK)
    purpose = models.TextField(default="")
    request_id = models.TextField(default="")
    xid = TransactionId(db_default=CurrentTransaction())

    class Meta:
        db_table = "audit_entry"
        constraints = [one_of("audit_entry", "outcome", Outcome), one_of("audit_entry", "actor_role", Role)]
        indexes = [OrderIndex(fields=["organization", "-at", "-id"], name="audit_entry_at_desc_idx")]
