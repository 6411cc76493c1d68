"""The table of what is left of organizations that were deleted."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from backend.core.constraints import check
from backend.core.ids import uuid7


class DeletionCertificate(models.Model):
    """That an organization was deleted: what of it, by whom, why and when. The server can add one and change none.

    Belongs to no organization, since it outlives its own; holds ids, counts and hashes.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    subject_id = models.UUIDField(unique=True)  # the organization's id
    name_hash = models.BinaryField()  # HMAC-SHA-256 of its name, under a key derived from the key name_key_id
    name_key_id = models.TextField()
    counts = models.JSONField()  # table -> rows deleted, as its audit entries say
    trail_entries = models.BigIntegerField()  # of its audit trail, which stays
    seal_seq = models.BigIntegerField()  # the last seal that holds entries of it, when it was deleted
    seal_hash = models.BinaryField()
    seal_root = models.BinaryField()  # of its entries in that seal
    key_ids = ArrayField(models.TextField())  # the keys that its claims were under
    unused_key_ids = ArrayField(models.TextField())  # those of them that no organization uses any more
    reason = models.TextField()
    operator = models.TextField()  # the account of the operating system that the command ran under
    begun_at = models.DateTimeField()
    finished_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "deletion_certificate"
        constraints = [check("deletion_certificate", "reason", ~models.Q(reason=""))]
