"""Tables of payers, their aliases, and procedure codes with the groups that a customer sorts them into."""

from django.db import models
from django.db.models import Q

from backend.core.constraints import OrderIndex, check, one_of
from backend.core.tenant_models import TenantForeignKey, TenantModel


class PayerKind(models.TextChoices):
    """The line of business of a payer."""

    COMMERCIAL = "COMMERCIAL"
    MEDICARE = "MEDICARE"
    MEDICARE_ADV = "MEDICARE_ADV"
    MEDICAID = "MEDICAID"
    WORKERS_COMP = "WORKERS_COMP"
    OTHER = "OTHER"


class Payer(TenantModel):
    """Who decides and pays claims."""

    code = models.TextField()  # case-folded: X12 payer id or slug
    name = models.TextField()
    kind = models.TextField(choices=PayerKind.choices, default=PayerKind.OTHER)
    active = models.BooleanField(default=True)
    mapped = models.BooleanField(default=False)  # false: made by an import from a name that nobody has confirmed

    class Meta:
        db_table = "payer"
        constraints = [
            models.UniqueConstraint(fields=["organization", "code"], name="payer_code_uq"),
            one_of("payer", "kind", PayerKind),
            check("payer", "code", ~Q(code="")),
        ]
        indexes = [OrderIndex(fields=["organization", "name", "id"], name="payer_name_asc_idx")]


class PayerAlias(TenantModel):
    """A name, as files spell it, of a payer."""

    raw_name = models.TextField()  # case-folded
    payer = TenantForeignKey(Payer)

    class Meta:
        db_table = "payer_alias"
        constraints = [models.UniqueConstraint(fields=["organization", "raw_name"], name="payer_alias_raw_name_uq")]
        indexes = [models.Index(fields=["organization", "payer"], name="payer_alias_payer_idx")]


class ProcedureGroup(TenantModel):
    """A customer's group of procedure codes."""

    code = models.TextField()
    name = models.TextField()

    class Meta:
        db_table = "procedure_group"
        constraints = [models.UniqueConstraint(fields=["organization", "code"], name="procedure_group_code_uq")]


class CodeSystem(models.TextChoices):
    """Where a procedure code is defined."""

    CPT = "CPT"
    HCPCS = "HCPCS"
    REV = "REV"
    CDT = "CDT"
    OTHER = "OTHER"


class ProcedureCode(TenantModel):
    """A procedure code; its description belongs to others and is not stored."""

    code = models.CharField(max_length=7)
    system = models.TextField(choices=CodeSystem.choices)
    group = TenantForeignKey(ProcedureGroup)

    class Meta:
        db_table = "procedure_code"
        constraints = [
            models.UniqueConstraint(fields=["organization", "system", "code"], name="procedure_code_code_uq"),
            one_of("procedure_code", "system", CodeSystem),
        ]
        indexes = [models.Index(fields=["organization", "group"], name="procedure_code_group_idx")]
