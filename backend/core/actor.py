"""Who asks, for which organization, with which rights and why."""

import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from backend.core.errors import Forbidden


class Role(StrEnum):
    """What a member of an organization may do."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    ANALYST = "ANALYST"
    VIEWER = "VIEWER"
    AUDITOR = "AUDITOR"
    SERVICE = "SERVICE"


class SmallCells(StrEnum):
    """From whom an organization keeps the figures of cells of a few claims."""

    VIEWERS = "VIEWERS"
    EVERYONE = "EVERYONE"


class Purpose(StrEnum):
    """What a request says that it is for; a closed list, so that nothing about a person gets into the audit trail."""

    TREATMENT = "TREATMENT"
    PAYMENT = "PAYMENT"
    OPERATIONS = "OPERATIONS"
    AUDIT = "AUDIT"
    LEGAL = "LEGAL"
    RESEARCH = "RESEARCH"
    SUPPORT = "SUPPORT"


class Right(StrEnum):
    """One row of the matrix of rights; also the scopes that an API token of a SERVICE can be given."""

    READ = "read"
    CLAIMS_READ = "claims:read"
    IMPORT = "import"
    IMPORT_ROLLBACK = "import:rollback"
    DETECT = "detect"
    JUDGE = "judge"
    RULES = "rules"
    MAPPINGS = "mappings"
    AGENTS_READ = "agents:read"
    AGENTS_WRITE = "agents:write"
    MEMBERS = "members"
    AUDIT_READ = "audit:read"
    ORGANIZATION = "organization"


_EVERY = frozenset(Right)
_RIGHTS: dict[Role, frozenset[Right]] = {
    Role.OWNER: _EVERY,
    Role.ADMIN: _EVERY - {Right.ORGANIZATION},
    Role.ANALYST: frozenset(
        {
            Right.READ,
            Right.CLAIMS_READ,
            Right.IMPORT,
            Right.DETECT,
            Right.JUDGE,
            Right.MAPPINGS,
            Right.AGENTS_READ,
        }
    ),
    Role.VIEWER: frozenset({Right.READ}),
    Role.AUDITOR: frozenset({Right.READ, Right.AGENTS_READ, Right.AUDIT_READ}),
    Role.SERVICE: frozenset(),
}
Needed = Right | frozenset[Right]
"""The right that something needs; of several, any one is enough."""


def enough(rights: frozenset[Right], needed: Needed) -> bool:
    """Whether somebody with these rights has what is needed."""
    return needed in rights if isinstance(needed, Right) else not needed.isdisjoint(rights)


# A program never administers people, nor the organization itself, whatever its scopes say.
SERVICE_SCOPES = frozenset(
    {Right.READ, Right.CLAIMS_READ, Right.IMPORT, Right.DETECT, Right.AGENTS_READ, Right.AGENTS_WRITE}
)


@dataclass(frozen=True, slots=True)
class Actor:
    """One principal acting for one organization."""

    organization_id: uuid.UUID
    role: Role
    user_id: uuid.UUID | None = None
    token_id: uuid.UUID | None = None
    scopes: frozenset[Right] = field(default_factory=frozenset)
    purpose: str | None = None
    request_id: str = ""
    operation_name: str = ""
    small_cells: SmallCells = SmallCells.VIEWERS
    small_cell_minimum: int = 0  # of the organization; 0: that of the server

    @property
    def rights(self) -> frozenset[Right]:
        """What this principal may do: the role's rights, cut to the token's scopes where a token was used."""
        if self.role is Role.SERVICE:
            return self.scopes & SERVICE_SCOPES
        return _RIGHTS[self.role] & self.scopes if self.token_id else _RIGHTS[self.role]

    def require(self, needed: Needed) -> None:
        """Raises: Forbidden when the principal lacks what is needed."""
        if not enough(self.rights, needed):
            raise Forbidden

    @classmethod
    def system(cls, organization_id: uuid.UUID, purpose: str) -> "Actor":
        """The product itself (commands and jobs), for one organization."""
        return cls(organization_id=organization_id, role=Role.OWNER, purpose=purpose, request_id=purpose)
