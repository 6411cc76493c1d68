"""What can be wrong with names, members, tokens and sign-in; the docstring is the message."""

from backend.core.errors import BadUserInput, Conflict, Forbidden, NotFound, Unauthenticated


class MalformedToken(Unauthenticated):
    """This is not an API token: it must be "dg_" and 43 characters."""


class UnknownToken(Unauthenticated):
    """The API token is not known here."""


class ExpiredToken(Unauthenticated):
    """The API token has expired. Ask an administrator of your organization for a new one."""


class RevokedToken(Unauthenticated):
    """The API token was revoked. Ask an administrator of your organization for a new one."""


class SignedOut(Unauthenticated):
    """The session is not signed in, or has ended. Sign in again."""


class UnconfirmedAddress(Forbidden):
    """The provider of your sign-in says no e-mail address of yours, or has not confirmed it. Ask its administrator."""


class NotAdmitted(Forbidden):
    """No account here is open to you this way. Ask an administrator of your organization."""


class NoMembership(Forbidden):
    """You are signed in, but belong to no organization. Ask an administrator of yours to add you."""


class OrganizationNotChosen(Forbidden):
    """You belong to several organizations. Choose the one to work for at /accounts/organization/."""


class NotAMember(Forbidden):
    """You do not belong to this organization. Choose one of yours at /accounts/organization/."""


class BadName(BadUserInput):
    """The {what} must be 1 to {limit} printable characters."""


class BadEmail(BadUserInput):
    """The e-mail address is not valid."""


class BadTimezone(BadUserInput):
    """This is no time zone of the IANA list, such as America/Los_Angeles."""


class BadRetention(BadUserInput):
    """The days of retention must be greater than 0."""


class BadThreshold(BadUserInput):
    """The threshold of the watch list (fdr_q) must be above 0 and at most {largest}."""


class BadSeverityLift(BadUserInput):
    """The amount that lifts severity must be greater than 0."""


class BadSmallCells(BadUserInput):
    """Small cells are kept from VIEWERS or from EVERYONE."""


class BadSmallCellMinimum(BadUserInput):
    """An organization's smallest count must be at least {least} (DRIFTGRAPH_SMALL_CELL_MINIMUM), or empty."""


class OrganizationExists(Conflict):
    """There is an organization of this name."""


class OrganizationEnds(Conflict):
    """The organization is being deleted, and lets nobody in any more."""


class NoSuchOrganization(NotFound):
    """There is no organization of this name."""


class NoSuchPerson(NotFound):
    """There is no person with this e-mail address."""


class BadReason(BadUserInput):
    """The reason must be {shortest} to {longest} printable characters."""


class BadHours(BadUserInput):
    """Emergency access lasts 1 to {limit} hours (DRIFTGRAPH_BREAK_GLASS_HOURS)."""


class AlreadyMember(Conflict):
    """The person is a member of the organization, and needs no emergency access."""


class TokenNameTaken(Conflict):
    """There is an API token of this name, perhaps a revoked one."""


class NoScopes(BadUserInput):
    """A SERVICE token needs at least one scope."""


class BadScope(BadUserInput):
    """{scope} is no scope of a {role} token; those are {allowed}."""


class BadExpiry(BadUserInput):
    """An API token must expire in the future, and within {limit} days."""


class OutOfReach(Forbidden):
    """You are no member of this organization. Emergency access is given by manage.py break_glass, and recorded."""


class LastOwner(Conflict):
    """An organization needs an owner. Make another member OWNER first."""


class OwnersOnly(Forbidden):
    """Only an OWNER may give, change or take the role OWNER."""


class RetentionOfOwners(Forbidden):
    """Only an OWNER may change how long lines of claims are kept."""


class NotForPeople(BadUserInput):
    """SERVICE is a role of API tokens, not of people."""


class NotByEmergency(Forbidden):
    """Emergency access ends by itself, so it makes no API tokens, and no member of who has it."""


class MoreThanYouHave(Forbidden):
    """You cannot give a token rights that you do not have yourself."""
