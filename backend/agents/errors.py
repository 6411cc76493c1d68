"""What can be wrong with agent runs, findings and triage; the docstring is the message."""

from backend.core.errors import BadUserInput, Conflict


class RunEnded(Conflict):
    """The run has ended: it is {status}. Start a new one."""


class BadAgentName(BadUserInput):
    """An agent's name is 1 to {limit} printable characters."""


class BadCommit(BadUserInput):
    """A commit is 7 to 40 hexadecimal digits."""


class BadBranch(BadUserInput):
    """A branch is at most {limit} printable characters."""


class BadTraceUrl(BadUserInput):
    """The address of a trace begins with https:// or http://."""


class BadOutcome(BadUserInput):
    """A run ends SUCCEEDED with a conclusion, or FAILED."""


class BadFinding(BadUserInput):
    """A finding needs a rule, a tool and a title, and a fingerprint of 32 bytes if it has one."""


class BadMetric(BadUserInput):
    """A metric has a name that is unique in the run, and a finite value."""


class BadTriage(BadUserInput):
    """A finding can be triaged as OPEN, ACKNOWLEDGED, FIXED or SUPPRESSED."""


class JustificationMissing(BadUserInput):
    """Suppressing a finding needs a justification."""


class BadSuppressionExpiry(BadUserInput):
    """Only a suppression expires, and in the future."""


class BadAgentReference(BadUserInput):
    """An agent is named KIND:NAME, with a kind out of {kinds}."""
