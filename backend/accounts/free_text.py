"""What an organization does with texts in which the PHI scanner finds something: refuse them, or blot it out."""

from backend.accounts.models import Organization, PhiPolicy
from backend.core.actor import Actor
from backend.core.errors import BadUserInput
from backend.phi.scanner import redacted, scan


class IdentifiesPerson(BadUserInput):
    """This text seems to identify a person ({kinds}), and your organization refuses such texts (phi_policy is REJECT).
    Leave that out.
    """


class Screen:
    """Screens the texts of one call; the organization is asked for its policy where something is found first."""

    def __init__(self, actor: Actor) -> None:
        self._organization_id = actor.organization_id
        self._policy: str | None = None

    def of(self, text: str, *path: str, with_names: bool = True) -> str:
        """The text, fit to be kept; `with_names` False for what names things and not persons.

        Raises:
            IdentifiesPerson: it identifies a person and the organization's policy is REJECT.
        SQL: none; 1 where a first identifier is found.
        """
        hits = scan(text, with_names=with_names)
        if not hits:
            return text
        if self._policy is None:
            policies = Organization.objects.filter(id=self._organization_id).values_list("phi_policy", flat=True)
            self._policy = policies.get()
        if self._policy == PhiPolicy.REJECT:
            raise IdentifiesPerson(kinds=", ".join(sorted({hit.kind for hit in hits})), path=path)
        return redacted(text, hits)
