"""The base of every table that belongs to an organization, and the two foreign keys that keep it there."""

from typing import Any

from django.db import models
from django.db.models.functions import Now

from backend.core.constraints import ChangeAudit, TenantPolicy, TenantReference
from backend.core.ids import uuid7


def _declare(model: type[models.Model], constraint: models.BaseConstraint) -> None:
    """Adds a constraint to a model's Meta.

    A model that a migration renders has exactly the constraints that its migrations created so far.
    """
    if model.__module__ == "__fake__":
        return
    rules = [*model._meta.constraints]
    # Migrations undo constraints in reverse: the key that references need is made first and so removed last.
    rules.insert(0 if isinstance(constraint, models.UniqueConstraint) else len(rules), constraint)
    model._meta.constraints = rules
    model._meta.original_attrs["constraints"] = model._meta.constraints


class OrganizationKey(models.ForeignKey[Any, Any]):
    """The tenant of a row. Brings the policy, the change audit and the unique (organization, id) that references need.

    A model with `change_audit = False` is not audited: the audit entries themselves. Columns in `signs_of_life` change
    all the time and mean nothing alone.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Every index of a tenant table starts with the organization: one of its own would never be used.
        kwargs |= {
            "to": "accounts.Organization",
            "on_delete": models.PROTECT,
            "related_name": "+",
            "db_index": False,
        }
        super().__init__(**kwargs)

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """Declares the tenant's constraints on the model."""
        super().contribute_to_class(cls, name, private_only, **kwargs)
        if cls._meta.abstract:
            return
        table = cls._meta.db_table
        _declare(cls, models.UniqueConstraint(fields=["organization", "id"], name=f"{table}_organization_id_uq"))
        _declare(cls, TenantPolicy(name=f"{table}_tenant"))
        if getattr(cls, "change_audit", True):
            _declare(cls, ChangeAudit(name=f"{table}_audit", signs=getattr(cls, "signs_of_life", ())))


class TenantForeignKey(models.ForeignKey[Any, Any]):
    """A reference to a row of the same organization; the database holds the pair (organization_id, x_id)."""

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        kwargs.setdefault("related_name", "+")
        kwargs.setdefault("db_index", False)
        super().__init__(to, on_delete, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        """The arguments for the migration file; the defaults of this class are spelled out."""
        name, path, args, kwargs = super().deconstruct()
        return name, path, list(args), {**kwargs, "db_index": bool(kwargs.get("db_index", False))}

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False, **kwargs: Any
    ) -> None:
        """Declares the composite key on the model."""
        super().contribute_to_class(cls, name, private_only, **kwargs)
        if not cls._meta.abstract:
            _declare(cls, TenantReference(field=name, name=f"{cls._meta.db_table}_{name}_fk"))


class TenantModel(models.Model):
    """A row of one organization, keyed by a UUIDv7."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = OrganizationKey()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True
