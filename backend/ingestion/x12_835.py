"""The adapter over the X12 library: an 835 file as remitted claims with raw values. What they mean for a claim line,
and every keyed hash, is in x12_claims; nothing of a remitted claim may be logged or stored."""

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import oxedi

from backend.core.errors import LimitExceeded
from backend.ingestion.errors import BrokenEnvelope, UnsupportedTransaction
from backend.ingestion.files import open_regular

MAX_INTERCHANGE_BYTES = 48 << 20
"""An interchange is indexed in memory at about six times its size; files may hold any number of interchanges."""

_PROBE_BYTES = 4096
_PROBLEMS = {
    "UnterminatedLoop": "the file ends before the closing SE, GE or IEA",
    "ControlCountMismatch": "SE01, GE01 or IEA01 does not match the number of parts: the file is incomplete",
    "ControlNumberMismatch": "the control numbers of an opening and a closing segment differ",
    "ControlElementMissing": "a closing segment lacks its count or control number",
}


class Adjustment(NamedTuple):
    """One reason of a CAS segment; the amount is the decimal text of the file."""

    group: str
    reason: str
    amount: str


@dataclass(slots=True, repr=False)
class RemittedLine:
    """One service line (SVC loop 2110); texts as in the file."""

    procedure: tuple[str, ...]  # SVC01: qualifier, code, modifiers
    original: tuple[str, ...]  # SVC06: what was billed when the payer decided on another code
    billed: str
    paid: str
    allowed: str = ""  # AMT*B6
    adjustments: list[Adjustment] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(slots=True, repr=False)
class RemittedClaim:
    """One claim (CLP loop 2100) with the payer and dates of its transaction; texts as in the file, not to be logged."""

    number: str
    status: str
    billed: str
    paid: str
    place_of_service: str
    payer_name: str
    payer_id: str
    provider_id: str
    produced: str  # DTM*405, CCYYMMDD
    effective: str  # BPR16, CCYYMMDD
    patient_id: str = ""
    allowed: str = ""  # AMT*B6 does not occur at claim level in 5010; kept for payers that send it there
    adjustments: list[Adjustment] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    lines: list[RemittedLine] = field(default_factory=list)


@dataclass(slots=True)
class Remittances:
    """Counts of what a file holds besides claims, filled while it is read."""

    provider_adjustments: int = 0
    bytes_read: int = 0


def parse_835(path: str | os.PathLike[str], seen: Remittances | None = None) -> Iterator[RemittedClaim]:
    """The claims of an 835 file in file order; a file may hold several interchanges, each with its own separators.

    Each interchange is checked before its first claim is yielded. Findings of the library about single elements are
    left to the rules of claim lines: real remittances break the implementation guide all the time.

    Raises:
        BrokenEnvelope: ISA/GS/ST do not pair with SE/GE/IEA, counts differ, or something follows the last interchange.
        UnsupportedTransaction: A transaction is not an 835.
        LimitExceeded: An interchange has more than MAX_INTERCHANGE_BYTES.
        FileRefused: The file cannot be read or is empty.
    """
    seen = seen if seen is not None else Remittances()
    with open_regular(path) as stream:
        if not os.fstat(stream.fileno()).st_size:
            raise BrokenEnvelope(segment=1, problem="the file is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            segments = 0
            for start, end in _interchanges(data):
                document = _checked(data[start:end], segments)
                yield from _claims(document, seen, segments)
                segments += len(document)
                seen.bytes_read = end


def _interchanges(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Start and end of each ISA..IEA, found by the separators that its own ISA declares."""
    position, number = _skip_filling(data, 0), 0
    while position < len(data):
        number += 1
        try:
            separators = oxedi.parse(data[position : position + _PROBE_BYTES]).document.delimiters
        except oxedi.ParseError:
            problem = "no readable ISA header" if number == 1 else "something other than an ISA follows the last IEA"
            raise BrokenEnvelope(segment=f"1 of interchange {number}", problem=problem) from None
        ending = re.escape(separators.segment)
        trailer = re.compile(ending + rb"\s*IEA" + re.escape(separators.element) + rb"[^" + ending + rb"]*" + ending)
        match = trailer.search(data, position)
        if match is None:
            raise BrokenEnvelope(
                segment=f"1 of interchange {number}", problem="its IEA is missing: the file is truncated"
            )
        if match.end() - position > MAX_INTERCHANGE_BYTES:
            raise LimitExceeded(
                what="The size of an X12 interchange in bytes",
                actual=match.end() - position,
                limit=MAX_INTERCHANGE_BYTES,
                setting="send several interchanges",
            )
        yield position, match.end()
        position = _skip_filling(data, match.end())


def _skip_filling(data: mmap.mmap, position: int) -> int:
    """The place of the next byte that is neither blank, line end, byte order mark nor the end-of-file mark of DOS."""
    while position < len(data) and data[position] in b" \t\r\n\x1a\xef\xbb\xbf\0":
        position += 1
    return position


def _checked(interchange: bytes, before: int) -> oxedi.Document:
    result = oxedi.parse(interchange)
    for diagnostic in result.diagnostics:
        problem = _PROBLEMS.get(diagnostic.kind) if diagnostic.level == 1 else None
        if problem is not None:
            place = diagnostic.segment if diagnostic.segment is not None else len(result.document) - 1
            raise BrokenEnvelope(segment=before + place + 1, problem=problem)
    return result.document


def _claims(document: oxedi.Document, seen: Remittances, before: int) -> Iterator[RemittedClaim]:
    walk: _Transaction | None = None
    for index in range(len(document)):
        segment = document[index]
        name = segment.id.decode("latin-1")
        elements = [_element(element) for element in segment.elements]
        if name == "ST":
            transaction = _at(elements, 1)
            if transaction != "835":
                label = transaction if re.fullmatch("[0-9]{3}", transaction) else "of unknown type"
                raise UnsupportedTransaction(transaction=label)
            walk = _Transaction(seen)
        if walk is None:
            if name == "CLP":
                raise BrokenEnvelope(segment=before + index + 1, problem="a claim stands outside of ST and SE")
            continue
        done = walk.take(name, elements)
        if done is not None:
            yield done
        if name == "SE":
            walk = None


def _element(element: bytes | list[bytes]) -> tuple[str, ...]:
    parts = element if isinstance(element, list) else [element]
    return tuple(part.decode("utf-8", "replace").strip() for part in parts)


def _at(elements: list[tuple[str, ...]], position: int) -> str:
    """The simple element at a 1-based position, "" when there is none."""
    return elements[position - 1][0] if len(elements) >= position else ""


def _composite(elements: list[tuple[str, ...]], position: int) -> tuple[str, ...]:
    return elements[position - 1] if len(elements) >= position else ()


class _Transaction:
    """Walks the segments of one ST..SE and collects its claims."""

    def __init__(self, seen: Remittances) -> None:
        self._seen = seen
        self._claim: RemittedClaim | None = None
        self._party = ""
        self._payer_name = self._payer_id = self._payee_id = ""
        self._produced = self._effective = ""

    def take(self, name: str, elements: list[tuple[str, ...]]) -> RemittedClaim | None:
        """The claim that this segment closes, if it closes one."""
        done = None
        if name in {"CLP", "LX", "PLB", "SE"}:
            done, self._claim = self._claim, None
        if name == "CLP":
            self._claim = self._open(elements)
        elif name == "PLB":
            self._seen.provider_adjustments += 1
        elif self._claim is not None:
            _take_claim_segment(self._claim, name, elements)
        else:
            self._take_header(name, elements)
        return done

    def _take_header(self, name: str, elements: list[tuple[str, ...]]) -> None:
        first = _at(elements, 1)
        if name == "BPR":
            self._effective = _at(elements, 16)
        elif name == "DTM" and first == "405":
            self._produced = _at(elements, 2)
        elif name == "N1":
            self._party = first
            if first == "PR":
                self._payer_name, self._payer_id = _at(elements, 2), _at(elements, 4)
            elif first == "PE":
                self._payee_id = _at(elements, 4)
        elif name == "REF" and self._party == "PR" and first in {"2U", "NF"} and not self._payer_id:
            self._payer_id = _at(elements, 2)

    def _open(self, elements: list[tuple[str, ...]]) -> RemittedClaim:
        return RemittedClaim(
            number=_at(elements, 1),
            status=_at(elements, 2),
            billed=_at(elements, 3),
            paid=_at(elements, 4),
            place_of_service=_at(elements, 8),
            payer_name=self._payer_name,
            payer_id=self._payer_id,
            provider_id=self._payee_id,
            produced=self._produced,
            effective=self._effective,
        )


def _take_claim_segment(claim: RemittedClaim, name: str, elements: list[tuple[str, ...]]) -> None:
    place = claim.lines[-1] if claim.lines else claim
    first = _at(elements, 1)
    if name == "SVC":
        claim.lines.append(
            RemittedLine(
                procedure=_composite(elements, 1),
                original=_composite(elements, 6),
                billed=_at(elements, 2),
                paid=_at(elements, 3),
            )
        )
    elif name == "CAS":
        place.adjustments.extend(_adjustments(elements))
    elif name == "AMT" and first == "B6":
        place.allowed = _at(elements, 2)
    elif name == "LQ" and first == "HE":
        place.remarks.append(_at(elements, 2))
    elif name == "NM1" and first == "QC":
        claim.patient_id = _at(elements, 9)
    elif name == "NM1" and first == "82":
        claim.provider_id = _at(elements, 9) or claim.provider_id
    elif name in {"MIA", "MOA"}:
        positions = (5, 20, 21, 22, 23) if name == "MIA" else (3, 4, 5, 6, 7)
        claim.remarks.extend(code for code in (_at(elements, position) for position in positions) if code)


def _adjustments(elements: list[tuple[str, ...]]) -> Iterator[Adjustment]:
    """Up to six triples of reason, amount and quantity under one group code."""
    for position in range(2, len(elements) + 1, 3):
        reason = _at(elements, position)
        if reason:
            yield Adjustment(_at(elements, 1).upper(), reason.upper(), _at(elements, position + 1))
