"""The enums of the backend with the descriptions that the API gives them."""

from backend.accounts import models as accounts
from backend.agents import models as agents
from backend.alerts import models as alerts
from backend.audit import models as audit
from backend.claims import models as claims
from backend.core.actor import Role
from backend.drift import models as drift
from backend.payers import models as payers
from schema.described import described

described(
    accounts.PhiPolicy,
    "What happens to free text in which the PHI scanner finds something.",
    {
        "REJECT": "The text is refused.",
        "REDACT": "What was found is blacked out.",
    },
)
described(
    Role,
    "What a member of an organization may do.",
    {
        "OWNER": "Everything, also retention, keys and deletion of the organization.",
        "ADMIN": "Everything but what only an owner may.",
        "ANALYST": "Reads claims, imports, runs detection, judges alerts, maps payers.",
        "VIEWER": "Reads aggregates and drift events; counts under 11 are hidden.",
        "AUDITOR": "Reads aggregates, agent runs and the audit trail.",
        "SERVICE": "A program: what the scopes of its token say.",
    },
)
described(
    audit.Outcome,
    "How an audited act ended.",
    {
        "OK": "It was done.",
        "DENIED": "It was refused: a right or the purpose was missing.",
        "ERROR": "It failed, or its answer has errors.",
    },
    name="AuditOutcome",
)
described(
    payers.PayerKind,
    "The line of business of a payer.",
    {
        "COMMERCIAL": "Commercial insurance.",
        "MEDICARE": "Traditional Medicare.",
        "MEDICARE_ADV": "Medicare Advantage.",
        "MEDICAID": "Medicaid.",
        "WORKERS_COMP": "Workers' compensation.",
        "OTHER": "Another kind, or not known.",
    },
)
described(
    payers.CodeSystem,
    "Where a procedure code is defined.",
    {
        "CPT": "Current Procedural Terminology (its descriptions are not stored).",
        "HCPCS": "HCPCS level II.",
        "REV": "Revenue code of an institutional claim.",
        "CDT": "Dental procedure code.",
        "OTHER": "Another system.",
    },
)
described(
    claims.BatchKind,
    "What an imported file holds.",
    {
        "CSV": "Claim outcomes as CSV, version 1.",
        "X12_835": "X12 835 remittances.",
        "OUTCOME_COUNTS": "Aggregated or published outcome counts as CSV.",
    },
)
described(
    claims.BatchStatus,
    "How far an import has come.",
    {
        "RECEIVED": "The file is stored and waits.",
        "VALIDATING": "Rows are being read.",
        "LOADED": "Every row was taken.",
        "PARTIAL": "Rows with errors were left out; the others were taken.",
        "REJECTED": "Too many rows had errors, or the file is cut off; none was taken.",
        "FAILED": "The import broke off; none was taken.",
        "ROLLED_BACK": "The rows were taken out again.",
    },
)
described(
    claims.IssueSeverity,
    "What an issue means for its row.",
    {
        "ERROR": "The row was left out.",
        "WARNING": "The row was taken with a doubt.",
        "INFO": "A remark.",
    },
)
described(
    claims.ClaimOutcome,
    "How a payer decided a claim line.",
    {
        "PENDING": "Not decided yet.",
        "PAID": "Paid in full by contract.",
        "PARTIAL": "Paid in part, or down-coded.",
        "DENIED": "Denied: nothing paid, for a reason that is not the patient's share.",
        "REVERSED": "An earlier decision was taken back.",
        "OTHER": "Another outcome, such as forwarded to a further payer.",
    },
)
described(
    drift.DriftType,
    "What about a payer changed.",
    {
        "DENIAL_RATE": "Share of decided claim lines that were denied.",
        "APPROVAL_RATE": "Share of decided, non-denied claim lines that were paid in full.",
        "AUTH_FAILURE_RATE": "Share of claim lines needing authorization that were denied for the lack of it.",
        "PAYMENT_AMOUNT": "Allowed amount relative to the baseline of the same payer and procedure.",
        "DECISION_TIME": "Days from submission to decision.",
        "PROCESSING_DELAY": "Days from decision to payment.",
    },
)
described(
    drift.RunKind,
    "Why a detection run was started.",
    {
        "SCHEDULED": "By the calendar.",
        "MANUAL": "By a person or program.",
        "BACKTEST": "To see what would have been found; changes no drift event.",
    },
    name="DetectionRunKind",
)
described(
    drift.RunError,
    "Why a detection run failed.",
    {
        "BAD_USER_INPUT": "Its configuration or the counts that it looks at contradict themselves.",
        "TIMEOUT": "The database did not answer in time; ask for the run again.",
        "ABANDONED": "What carried it out died, three times if it was a worker; ask for the run again.",
        "INTERNAL": "Something went wrong on the server; the id of the run finds it in the log.",
    },
    name="DetectionRunError",
)
described(
    drift.Source,
    "What a detection run looks at.",
    {
        "CLAIMS": "Claim lines, by the day they were decided.",
        "OUTCOME_COUNTS": "Aggregated or published counts, one period against the one before.",
    },
    name="DetectionSource",
)
described(
    drift.RunStatus,
    "How far a detection run has come.",
    {
        "QUEUED": "Waits for a worker.",
        "RUNNING": "Being computed.",
        "SUCCEEDED": "Done.",
        "FAILED": "Broke off; nothing of it was kept.",
        "CANCELLED": "Taken back before it ran.",
    },
    name="DetectionRunStatus",
)
described(
    drift.Level,
    "How finely a test looks.",
    {
        "PAYER": "All procedures of a payer.",
        "PAYER_GROUP": "One procedure group of a payer.",
    },
    name="DriftLevel",
)
described(
    drift.ReasonNotFlagged,
    "Why a test made no drift event.",
    {
        "MIN_SAMPLE": "Too few claims in one of the windows.",
        "INFORMATION": "The strata say too little about a change.",
        "FDR": "Not significant among all tests of the run (false discovery rate).",
        "DISPERSION": "Significant only if payers never varied from week to week.",
        "EFFECT_FLOOR": "Significant, but too small to matter.",
    },
)
described(drift.Direction, "Which way a value moved.", {"UP": "It rose.", "DOWN": "It fell."})
described(
    drift.EventStatus,
    "Where a drift event stands.",
    {
        "OPEN": "On the watch list: q between 0.01 and 0.05, seen once.",
        "CONFIRMED": "Sure: q at most 0.01, or seen in two weekly runs.",
        "ACKNOWLEDGED": "Somebody works on it.",
        "RESOLVED": "The change was gone in two runs.",
        "DISMISSED": "Somebody judged it to be of no concern.",
        "EXPIRED": "No longer looked at.",
    },
    name="DriftEventStatus",
)
described(
    drift.Unit,
    "The unit of baseline, current value and delta.",
    {
        "RATE": "A share from 0 to 1.",
        "DAYS": "Days.",
        "RATIO": "A factor; 1 is no change.",
    },
    name="DriftUnit",
)
described(
    drift.Severity,
    "How much a drift event matters; ordered LOW to CRITICAL.",
    {
        "LOW": "Under a quarter of the scale.",
        "MEDIUM": "A quarter to a half.",
        "HIGH": "A half to three quarters.",
        "CRITICAL": "Over three quarters.",
    },
    name="DriftSeverity",
)
described(
    alerts.AlertStatus,
    "Where an alert stands.",
    {
        "OPEN": "Waits to be seen.",
        "SENT": "Delivered to its channels.",
        "FAILED": "Could not be delivered.",
        "SUPPRESSED": "Held back by a silence.",
        "ACKNOWLEDGED": "Somebody took it.",
        "RESOLVED": "Its drift event is over.",
    },
)
described(
    agents.AgentKind,
    "What an auditor looks at.",
    {
        "CODE_QUALITY": "Source code.",
        "DB_PERFORMANCE": "Statements and indexes of the database.",
        "TEST_COVERAGE": "What the tests reach.",
        "MIGRATION_SAFETY": "Changes of the database schema.",
        "HIPAA_COMPLIANCE": "Mechanisms that the HIPAA security rule asks for.",
        "EXTERNAL": "Any other scanner.",
    },
)
described(
    agents.Trigger,
    "What started an agent run.",
    {
        "MANUAL": "A person.",
        "PRE_COMMIT": "A commit hook.",
        "CI": "Continuous integration.",
        "PRE_DEPLOY": "A deployment.",
        "SCHEDULED": "The calendar.",
        "IMPORT": "A report was imported.",
    },
    name="AgentRunTrigger",
)
described(
    agents.AgentRunStatus,
    "How far an agent run has come.",
    {
        "QUEUED": "Not started yet.",
        "RUNNING": "At work, with a heartbeat.",
        "SUCCEEDED": "Done; see the conclusion.",
        "FAILED": "Broke off.",
        "CANCELLED": "Taken back.",
        "TIMED_OUT": "No heartbeat for too long.",
    },
)
described(
    agents.Conclusion,
    "What a finished agent run says.",
    {
        "PASS": "Nothing that must be mended.",
        "FAIL": "Something must be mended.",
        "INCONCLUSIVE": "A tool could not do its work: neither pass nor fail.",
    },
    name="AgentRunConclusion",
)
described(
    agents.FindingSeverity,
    "How much a finding matters; ordered INFO to CRITICAL.",
    {
        "INFO": "A remark.",
        "LOW": "Minor.",
        "MEDIUM": "Should be mended.",
        "HIGH": "Must be mended soon.",
        "CRITICAL": "Must be mended now.",
    },
)
described(
    agents.FindingStatus,
    "Where a finding stands across runs.",
    {
        "OPEN": "There, and nobody decided about it.",
        "ACKNOWLEDGED": "There, and somebody knows.",
        "FIXED": "The latest run no longer reports it.",
        "SUPPRESSED": "Accepted, with a justification.",
        "REOPENED": "Back after it was fixed, or its suppression ended.",
    },
)
