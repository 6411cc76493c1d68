"""Properties of reading: every CSV dialect gives the same rows, and any bytes at all give rows or a clear AppError."""

import csv
import io
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backend.core.errors import AppError
from backend.ingestion.claims_csv import COLUMNS, REQUIRED_COLUMNS, read_claims
from backend.ingestion.copy_format import copy_line
from backend.ingestion.files import FileKind, inspect_file
from backend.ingestion.keys import ClaimHasher
from backend.ingestion.outcome_counts_csv import CountsOptions, read_outcome_counts
from backend.ingestion.records import DateFormat, ReadOptions, Severity, StagedClaim
from backend.ingestion.rules import RULES
from backend.ingestion.x12_claims import read_remittances

TODAY = date(2025, 6, 30)
HASHER = ClaimHasher(b"k" * 32)
DATES = {
    DateFormat.ISO: "{0:%Y-%m-%d}",
    DateFormat.MDY: "{0:%m/%d/%Y}",
    DateFormat.DMY: "{0:%d/%m/%Y}",
    DateFormat.YMD_COMPACT: "{0:%Y%m%d}",
}
# Letters that UTF-8, UTF-16 and CP1252 all know, the delimiters, quotes and line ends that CSV must quote.
NAMES = st.text(st.sampled_from("ABcd 12éüß€Ñ,;|\t\"'-=@&"), min_size=1, max_size=30).filter(lambda text: text.strip())
NUMBERS = NAMES.filter(str.isprintable)
MONEY = st.none() | st.integers(min_value=0, max_value=1_000_000_000)


@st.composite
def claims(draw):
    submitted = draw(st.dates(date(2000, 1, 1), TODAY - timedelta(days=60)))
    outcome = draw(st.sampled_from(["PAID", "PARTIAL", "DENIED", "PENDING", "REVERSED", "OTHER"]))
    decided = None if outcome == "PENDING" else submitted + timedelta(days=draw(st.integers(0, 30)))
    paid = decided + timedelta(days=draw(st.integers(0, 30))) if decided and draw(st.booleans()) else None
    return {
        "claim_id": draw(NUMBERS),
        "line_no": draw(st.integers(1, 999)),
        "payer": draw(NAMES),
        "procedure_code": draw(st.from_regex(r"[A-Z0-9]{4,6}", fullmatch=True)),
        "procedure_group": draw(st.none() | NAMES),
        "modifiers": draw(st.lists(st.from_regex(r"[A-Z0-9]{2}", fullmatch=True), max_size=4)),
        "submitted_date": submitted,
        "decided_date": decided,
        "payment_date": paid,
        "outcome": outcome,
        "billed_amount": draw(MONEY),
        "allowed_amount": draw(MONEY),
        "paid_amount": draw(MONEY),
        "denial_code": draw(
            st.none() | st.tuples(st.sampled_from(["CO", "PR", "OA", "PI", "CR"]), st.integers(1, 999))
        ),
        "authorization_required": draw(st.none() | st.booleans()),
        "authorization_present": draw(st.none() | st.booleans()),
        "patient_id": draw(st.none() | NAMES),
    }


def cell_text(value, date_format: DateFormat) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return DATES[date_format].format(value)
    if isinstance(value, list):
        return ";".join(value)
    if isinstance(value, tuple):
        return f"{value[0]}-{value[1]}"
    return str(value)


def written(rows, order, encoding, delimiter, quoting, line_end, date_format, last_line_end) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=line_end)
    writer.writerow(order)
    for row in rows:
        cells = {name: cell_text(row[name], date_format) for name in COLUMNS}
        for name in ("billed_amount", "allowed_amount", "paid_amount"):
            cells[name] = "" if row[name] is None else f"{row[name] // 100}.{row[name] % 100:02d}"
        writer.writerow([cells[name] for name in order])
    text = stream.getvalue()
    return (text if last_line_end else text.removesuffix(line_end)).encode(encoding)


def is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_bytes(content: bytes, **options) -> list[tuple[StagedClaim | None, tuple]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "claims.csv"
        path.write_bytes(content)
        profile = inspect_file(path, max_bytes=10_000_000)
        settings_ = ReadOptions(today=TODAY, keep_patient_ref=True, **options)
        if profile.kind is FileKind.X12_835:
            return list(read_remittances(path, profile=profile, hasher=HASHER, options=settings_))
        return list(read_claims(path, profile=profile, hasher=HASHER, options=settings_))


@settings(max_examples=60)
@given(
    rows=st.lists(claims(), min_size=1, max_size=4),
    order=st.permutations(COLUMNS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    date_format=st.sampled_from(DateFormat),
    last_line_end=st.booleans(),
)
def test_every_dialect_gives_the_same_canonical_rows(rows, date_format, **dialect):
    plain = written(rows, COLUMNS, "utf-8", ",", csv.QUOTE_MINIMAL, "\n", DateFormat.ISO, last_line_end=True)
    other = written(rows, date_format=date_format, **dialect)
    # The bytes of some CP1252 texts are the UTF-8 of other texts: nothing in the file tells them apart.
    assume(dialect["encoding"] != "cp1252" or other.isascii() or not is_utf8(other))

    expected, got = read_bytes(plain), read_bytes(other, date_format=date_format)

    assert len(got) == len(rows)
    assert [claim for claim, _ in got] == [claim for claim, _ in expected]
    assert all(claim is not None for claim, _ in got)
    for row, (claim, _) in zip(rows, got, strict=True):
        assert claim.claim_key == HASHER.claim_key(row["claim_id"])
        assert (claim.submitted_on, claim.decided_on, claim.paid_on) == (
            row["submitted_date"],
            row["decided_date"],
            row["payment_date"],
        )
        assert (claim.billed_cents, claim.allowed_cents, claim.paid_cents) == (
            row["billed_amount"],
            row["allowed_amount"],
            row["paid_amount"],
        )
        assert claim.modifiers == tuple(row["modifiers"])
        assert claim.payer_name == " ".join(row["payer"].split())
        assert copy_line(claim).count("\n") == 1


def rows_or_refusal(content: bytes):
    try:
        return read_bytes(content)
    except AppError as error:
        return error


def check_rows(got) -> None:
    if isinstance(got, AppError):
        assert got.code == "BAD_USER_INPUT"
        assert got.message
        assert "{" not in got.message
        return
    for claim, issues in got:
        refused = any(found.severity is Severity.ERROR for found in issues)
        assert (claim is None) == refused
        assert all(found.message == RULES[found.rule_code].message for found in issues)
        if claim is not None:
            assert (claim.decided_on is None) == (claim.outcome == "PENDING")
            assert claim.decided_on is None or claim.submitted_on is None or claim.submitted_on <= claim.decided_on
            assert claim.paid_on is None or claim.decided_on <= claim.paid_on
            assert copy_line(claim).count("\n") == 1
            assert copy_line(claim).count("\t") == len(StagedClaim._fields) - 1


HEADER = ",".join(REQUIRED_COLUMNS).encode()
ISA = b"ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *250101*1200*^*00501*000000001*0*P*:~"
FRAGMENTS = st.sampled_from(
    [HEADER, b"\n", b"\r\n", b",", b'"', b'""', b"C1", b"2025-01-06", b"PAID", b"99012", b"\xe9", b"\xff\xfe", b"\x00"]
)
X12_FRAGMENTS = st.sampled_from(
    [
        *(ISA, b"GS*HP*A*B*20250101*1200*1*X*005010X221A1~", b"ST*835*0001~", b"BPR*I*1*C*ACH************20250101~"),
        *(b"N1*PR*ACME~", b"CLP*C1*1*10*5**12*X~", b"SVC*HC:99213*10*5~", b"CAS*CO*45*5~", b"CLP*C2*4*-9*x~", b"CAS*~"),
        *(b"SE*6*0001~", b"GE*1*1~", b"IEA*1*000000001~", b"SVC~", b"PLB*1~", b"*", b"~", b"\n", b"ST*837*0002~"),
    ]
)


@settings(max_examples=150)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.lists(FRAGMENTS | st.binary(max_size=4), max_size=30).map(b"".join),
        st.lists(FRAGMENTS | st.binary(max_size=4), max_size=30).map(lambda parts: HEADER + b"\n" + b"".join(parts)),
        st.lists(X12_FRAGMENTS, max_size=15).map(lambda parts: ISA + b"".join(parts)),
    )
)
def test_any_bytes_give_rows_or_a_clear_error(content):
    check_rows(rows_or_refusal(content))


@settings(max_examples=50)
@given(rows=st.lists(st.lists(st.text(max_size=12), min_size=6, max_size=6), max_size=5))
def test_any_cells_give_a_claim_or_an_error_each(rows):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerows([REQUIRED_COLUMNS, *rows])

    check_rows(rows_or_refusal(stream.getvalue().encode("utf-8", "replace")))


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["A", "B", ""]),
            st.sampled_from(["E0784", "99213", "NA"]),
            st.sampled_from(["2022", "2023", "2099", "x"]),
            st.sampled_from(["0", "5", "10", "-1", ""]),
            st.sampled_from(["0", "0.5", "1", "1.5", ""]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_counts_give_each_period_at_most_once(rows):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "counts.csv"
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([("payer", "procedure_code", "year", "total", "rate"), *rows])
        profile = inspect_file(path, max_bytes=1_000_000)
        options = CountsOptions(today=TODAY, measure="CLAIM_DENIAL")

        got = list(read_outcome_counts(path, profile=profile, options=options))

    kept = [count for count, _ in got if count is not None]
    assert len(got) == len(rows)
    assert len({(c.payer_raw, c.procedure_code, c.period_start) for c in kept}) == len(kept)
    assert all(0 <= c.favourable <= c.total for c in kept)
    assert all(issues for count, issues in got if count is None)
