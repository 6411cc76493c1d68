"""Conditions on audit entries. Paging, and who may read them, is the schema's."""

from django.db.models import Q

from backend.db.sql import Slot


def about_object(key: Slot) -> Q:
    """Entries that name an object.

    No index serves it: array containment is not leakproof, so a policy would keep PostgreSQL from using one.
    """
    return Q(object_ids__holds=key)


def of_field(name: Slot) -> Q:
    """Entries that name a field or column."""
    return Q(fields__holds=name)
