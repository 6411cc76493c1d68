"""The table of what clients use of the API, a day and an organization at a time; what counts as use is the schema's."""

from django.db import models
from django.db.models import Q

from backend.core.constraints import check
from backend.core.tenant_models import TenantModel


class SchemaUse(TenantModel):
    """How many requests of a client used a part of the schema on a day.

    Not audited: its rows are counters that the server itself writes every minute and that tell of programs, not of
    persons; an entry for each minute would bury the others.
    """

    change_audit = False

    day = models.DateField()  # of UTC
    coordinate = models.TextField()  # such as Query.payers, Query.payers(first:), PayerFilter.code or Severity.LOW
    client_name = models.TextField()  # empty: the client did not say
    client_version = models.TextField()
    uses = models.BigIntegerField()  # requests

    class Meta:
        db_table = "schema_use"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", "coordinate", "client_name", "client_version"], name="schema_use_day_uq"
            ),
            check("schema_use", "uses", Q(uses__gt=0)),
            check("schema_use", "client_name", Q(client_name__regex=r"^[A-Za-z0-9._-]{0,64}$")),
            check("schema_use", "client_version", Q(client_version__regex=r"^[A-Za-z0-9._-]{0,64}$")),
        ]
