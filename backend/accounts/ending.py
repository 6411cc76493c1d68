"""Organizations that are being deleted let nobody in again, however long the deletion takes."""

import uuid

from backend.accounts.errors import OrganizationEnds
from backend.accounts.models import Membership, Organization
from backend.audit.models import AuditEntry

DELETION_BEGUN = "organization.delete"
"""The action of the entry that a deletion begins with: its mark, which nobody can take away."""


def deletion_has_begun(organization_id: uuid.UUID) -> bool:
    """Whether the organization, whose transaction this is, is being deleted.

    It has no members then; who has some is not asked for the mark, which is sought in the whole trail.

    SQL: 1; 1 more without members.
    """
    if Membership.objects.exists():
        return False
    return AuditEntry.objects.filter(organization_id=organization_id, action=DELETION_BEGUN).exists()


def organization_hold(organization_id: uuid.UUID) -> None:
    """Holds others who let people in, or end it for good, back until the transaction ends; imports go on.

    SQL: 1.
    """
    Organization.objects.select_for_update(no_key=True).only("id").get(id=organization_id)


def organization_open(organization_id: uuid.UUID) -> None:
    """Begins to let somebody in: from here to the end of the transaction no deletion begins.

    Raises: OrganizationEnds.
    SQL: 2; 1 more without members.
    """
    organization_hold(organization_id)
    if deletion_has_begun(organization_id):
        raise OrganizationEnds
