"""Reads of payers, aliases, procedure codes and groups; row-level security keeps them to one organization."""

import uuid

from django.db.models import QuerySet

from backend.payers.models import Payer, PayerAlias, ProcedureCode, ProcedureGroup


def payers_all() -> QuerySet[Payer]:
    """Every payer, by name."""
    return Payer.objects.order_by("name", "id")


def payers_unmapped() -> QuerySet[Payer]:
    """Payers that an import made from a name that nobody has confirmed, by name."""
    return payers_all().filter(mapped=False, active=True)


def aliases_of(payer_id: uuid.UUID) -> QuerySet[PayerAlias]:
    """The names, as files spell them, of a payer."""
    return PayerAlias.objects.filter(payer_id=payer_id).order_by("raw_name", "id")


def procedure_codes_all() -> QuerySet[ProcedureCode]:
    """Every procedure code, by code."""
    return ProcedureCode.objects.order_by("code", "system", "id")


def procedure_groups_all() -> QuerySet[ProcedureGroup]:
    """Every procedure group, by code."""
    return ProcedureGroup.objects.order_by("code", "id")
