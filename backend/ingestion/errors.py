"""Failures of a whole file; each carries the rule it broke. Findings about single rows are issues, not errors."""

from typing import ClassVar

from backend.core.errors import BadUserInput


class FileRefused(BadUserInput):
    """The file cannot be imported."""

    rule: ClassVar[str] = "E909"
    place = ("file",)


class DuplicateHeader(FileRefused):
    """The header names the column {column} twice."""

    rule = "E900"


class MissingColumn(FileRefused):
    """The header lacks required columns: {columns}."""

    rule = "E902"


class EmptyFile(FileRefused):
    """The file holds no rows."""

    rule = "E903"


class NotText(FileRefused):
    """The file is not text: it holds NUL or other control bytes. Export it as CSV."""

    rule = "E904"


class SpreadsheetOrArchive(FileRefused):
    """The file is a spreadsheet, an archive or a PDF. Export it as CSV first."""

    rule = "E904"


class Undecodable(FileRefused):
    """The file mixes encodings or is in an unknown one; the first bad byte is at position {position}. Use UTF-8."""

    rule = "E905"


class UnreadableFile(FileRefused):
    """The file cannot be read: {reason}."""

    rule = "E909"


class ChangedFile(FileRefused):
    """The file changed while it was read. Send it again."""

    rule = "E910"


class BrokenEnvelope(FileRefused):
    """The X12 envelope is broken at segment {segment}: {problem}."""

    rule = "E920"


class UnsupportedTransaction(FileRefused):
    """X12 {transaction} files are not supported here: send an 835 (remittance) or the claims as CSV."""

    rule = "E921"


class UnknownMeasure(FileRefused):
    """The measure must be one of {allowed}."""

    rule = "C003"
    place = ("measure",)


class UnknownField(FileRefused):
    """The column mapping names an unknown field; fields are {allowed}."""

    rule = "C000"
    place = ("columns",)


class UnmappedHeader(FileRefused):
    """The column mapping of {field} names a header that the file does not have."""

    rule = "C000"
    place = ("columns",)
