"""What can drift; apart from the shapes of detection, since who only names a type needs no arrays."""

from enum import StrEnum


class DriftType(StrEnum):
    """What changed. Every type has a test family of its own kind; the rates share one."""

    DENIAL_RATE = "DENIAL_RATE"
    APPROVAL_RATE = "APPROVAL_RATE"
    AUTH_FAILURE_RATE = "AUTH_FAILURE_RATE"
    PAYMENT_AMOUNT = "PAYMENT_AMOUNT"
    DECISION_TIME = "DECISION_TIME"
    PROCESSING_DELAY = "PROCESSING_DELAY"
