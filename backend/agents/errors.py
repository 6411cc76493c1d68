"""What can be wrong with agent runs, findings and triage; the docstring is the message."""

from backend.core.errors import AppError, BadUserInput, ConfigurationError, Conflict


class RunEnded(Conflict):
    """The run has ended: it is {status}. Start a new one."""


class BadAgentName(BadUserInput):
    """An agent's name is 1 to {limit} printable characters."""


class BadCommit(BadUserInput):
    """A commit is 7 to 40 hexadecimal digits."""


class BadBranch(BadUserInput):
    """A branch is at most {limit} printable characters."""


class BadAddress(BadUserInput):
    """An address begins with https:// or http://, names a host, and holds neither blanks nor credentials."""


class TextMissing(BadUserInput):
    """This text has {rule}, and not blanks alone."""


class NumberOutOfRange(BadUserInput):
    """This number is from {low} to {high}."""


class BadPlace(BadUserInput):
    """The last line of a finding is not before its first, and not without one."""


class BadPath(BadUserInput):
    """A path is relative to the repository and does not lead out of it."""


class BadFingerprint(BadUserInput):
    """A fingerprint is 64 hexadecimal digits."""


class BadOutcome(BadUserInput):
    """A run ends SUCCEEDED with a conclusion, or FAILED."""


class BadMetric(BadUserInput):
    """A metric has a name that is unique in the run, and finite numbers."""


class BadProgress(BadUserInput):
    """No more can be done than there is in total."""


class BadTriage(BadUserInput):
    """A finding can be triaged as OPEN, ACKNOWLEDGED, FIXED or SUPPRESSED."""


class JustificationMissing(BadUserInput):
    """Suppressing a finding needs a justification."""


class BadSuppressionExpiry(BadUserInput):
    """Only a suppression expires, and in the future."""


class BadAgentReference(BadUserInput):
    """An agent is named KIND:NAME, with a kind out of {kinds}."""


class NoCheckout(BadUserInput):
    """The checkout is not a directory."""


class NoReportAddress(ConfigurationError):
    """Set DRIFTGRAPH_REPORT_URL and DRIFTGRAPH_REPORT_TOKEN to the API that keeps reports and a token for it."""


class ReportUnanswered(AppError):
    """No server answers at DRIFTGRAPH_REPORT_URL."""

    retryable = True


class ReportUnstored(AppError):
    """The server at DRIFTGRAPH_REPORT_URL cannot keep the report now: {reason}."""

    retryable = True


class ReportTokenRefused(AppError):
    """The server refused DRIFTGRAPH_REPORT_TOKEN, which needs the scope agents:write: {reason}."""


class ReportRefused(AppError):
    """The server refused the report: {reason}."""
