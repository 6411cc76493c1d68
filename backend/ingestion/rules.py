"""Every rule of an import with its severity and message: the one source for issues, reports and documentation."""

from typing import NamedTuple

from backend.ingestion.records import Issue, Severity

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


class Rule(NamedTuple):
    """One rule; the message is shown as it is and never holds a value of the file."""

    code: str
    severity: Severity
    message: str


CUT_OFF = "E906"  # then the rest of the file is not known, and nothing of it is taken

_CLAIM_RULES = (
    Rule("E001", ERROR, "The claim id is missing, longer than 50 characters or not printable."),
    Rule("E002", ERROR, "The line number is not a whole number from 1 to 999."),
    Rule("E003", ERROR, "The procedure code is missing or not 4 to 6 letters and digits."),
    Rule("E004", ERROR, "The payer is missing, over 200 characters, not printable or holds a number of a person."),
    Rule("E010", ERROR, "The submitted date is missing, not in the declared format, before 2000 or in the future."),
    Rule("E011", ERROR, "The decided date is not in the declared format, before the submitted date or in the future."),
    Rule("E012", ERROR, "A decided date is required, except for PENDING claims, which have none."),
    Rule("E013", ERROR, "The payment date is not in the declared format, before the decision or over 7 days ahead."),
    Rule(
        "E020",
        ERROR,
        "The amount is not a plain decimal from 0 to 10,000,000; three places could be thousands.",
    ),
    Rule("W101", WARNING, "The payer was not known; it was created and needs to be mapped."),
    Rule("W102", WARNING, "The procedure group is unknown or not usable; the code's own group or OTHER is used."),
    Rule("W103", WARNING, "A modifier is not two letters or digits, or there are more than four; it was left out."),
    Rule("W104", WARNING, "The outcome is not known; OTHER is used."),
    Rule("W121", WARNING, "The paid amount is more than the allowed amount."),
    Rule("W130", WARNING, "The denial code is not a claim adjustment reason code; it was left out."),
    Rule("W131", WARNING, "The claim is denied without a denial code."),
    Rule("W140", WARNING, "The value is neither true nor false; it was left out."),
)

_FILE_RULES = (
    Rule("E900", ERROR, "The header names a column twice."),
    Rule("E901", ERROR, "The line has another number of cells than the header, or its quotes are broken."),
    Rule("E902", ERROR, "The header lacks a required column."),
    Rule("E903", ERROR, "The file holds no rows."),
    Rule("E904", ERROR, "The file is not text."),
    Rule("E905", ERROR, "The file cannot be decoded."),
    Rule(CUT_OFF, ERROR, "The last row is cut off: the file is truncated, and nothing of it is taken."),
    Rule("E909", ERROR, "The file cannot be read."),
    Rule("E910", ERROR, "The file changed while it was read."),
    Rule("I906", INFO, "The file does not end with a line end; if it was cut off, the last row may be incomplete."),
)

_X12_RULES = (
    Rule("E920", ERROR, "The X12 envelope is broken."),
    Rule("E921", ERROR, "The X12 transaction is not supported."),
    Rule("E930", ERROR, "The remittance names no payer (N1*PR)."),
    Rule("E931", ERROR, "The remittance has no production or payment date (DTM*405, BPR16)."),
    Rule("E932", ERROR, "An amount of the remittance is not a decimal number of at most 10,000,000."),
    Rule("W150", WARNING, "The procedure is written with another component separator than the envelope declares."),
    Rule("W151", WARNING, "A service line has no usable procedure code; the claim is taken as a whole instead."),
    Rule("W152", WARNING, "The claim status is not known; the outcome follows from the amounts and adjustments."),
    Rule("W153", WARNING, "The claim has more than 999 service lines; the rest was left out."),
    Rule("I160", INFO, "The remittance has provider-level adjustments (PLB), which belong to no claim."),
)

_COUNT_RULES = (
    Rule("C000", ERROR, "The column mapping does not fit the file."),
    Rule("C001", ERROR, "The total is missing, 0 or not a whole number."),
    Rule("C002", ERROR, "The rate is not from 0 to 1, or the favourable count is not from 0 to the total."),
    Rule("C003", ERROR, "The measure is not known."),
    Rule("C004", ERROR, "The period is missing, not a date or year, ends before it starts or starts in the future."),
    Rule("C005", ERROR, "The procedure code is missing or not 3 to 7 letters and digits."),
    Rule("C006", ERROR, "The period overlaps another period of the same payer, code and measure."),
    Rule(
        "C101",
        WARNING,
        "Other figures are given for the same payer, code, measure and period; the largest are kept.",
    ),
    Rule("C102", INFO, "The row repeats another row of the file."),
    Rule("C103", WARNING, "Neither rate nor favourable count is given; the row was left out."),
)

RULES: dict[str, Rule] = {rule.code: rule for rule in (*_CLAIM_RULES, *_FILE_RULES, *_X12_RULES, *_COUNT_RULES)}


def issue(code: str, row_no: int, column: str | None = None) -> Issue:
    """The issue of a rule at a row, with the rule's severity and message."""
    rule = RULES[code]
    return Issue(row_no, code, column, rule.severity, rule.message)
