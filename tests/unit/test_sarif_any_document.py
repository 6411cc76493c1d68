"""Documents that hold to the schema and are odd wherever it allows: what is read of them can be stored."""

from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sarif_documents import a_log, as_bytes

from backend.agents.sarif import read_sarif
from backend.agents.sarif_document import SarifSchemaViolation
from backend.agents.sarif_metrics import SarifBadMetric

TEXT = st.text(max_size=12) | st.sampled_from(
    ["R1", "B", "CWE", "CWE-79", "79", "{0}", "\u0000", "file:///a/b", "..", "a/b"]
)
INDEX = st.integers(-1, 3) | st.sampled_from([2**31, 2**63])
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 12) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
LEVEL = st.sampled_from(["none", "note", "warning", "error"])


def some(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional=optional)


BAG = st.dictionaries(TEXT, ANY, max_size=2).flatmap(
    lambda base: some(
        {
            "security-severity": ANY,
            "cwe": ANY,
            "category": ANY,
            "kind": ANY,
            "driftgraph/skipped": ANY,
        },
        tags=st.lists(TEXT, max_size=4, unique=True),
    ).map(lambda known: {**{key: value for key, value in base.items() if key != "tags"}, **known})
)
COMPONENT = some(index=INDEX, name=TEXT)
REFERENCE = st.one_of(
    some({"id": TEXT}, toolComponent=COMPONENT, index=INDEX), some({"index": INDEX}, toolComponent=COMPONENT)
)
STRINGS = st.dictionaries(TEXT, some({"text": TEXT}, markdown=TEXT), max_size=2)
RULE = some(
    {"id": TEXT},
    name=TEXT,
    shortDescription=some({"text": TEXT}),
    messageStrings=STRINGS,
    defaultConfiguration=some(level=LEVEL),
    helpUri=TEXT,
    relationships=st.lists(some({"target": REFERENCE}), max_size=2),
    properties=BAG,
)
DRIVER = some({"name": TEXT}, version=TEXT, rules=st.lists(RULE, max_size=3), properties=BAG)
ARTIFACT = some(uri=TEXT, uriBaseId=TEXT, index=INDEX)
LINE = st.integers(1, 9) | st.sampled_from([2**31, 2**63])
REGION = some({"startLine": LINE}, endLine=LINE, startColumn=LINE, endColumn=LINE, snippet=some(text=TEXT))
LOCATION = some(
    physicalLocation=some({"artifactLocation": ARTIFACT}, region=REGION, contextRegion=REGION),
    logicalLocations=st.lists(some(fullyQualifiedName=TEXT), max_size=1),
)
MESSAGE = st.one_of(
    some({"text": TEXT}, arguments=st.lists(TEXT, max_size=2)),
    some({"id": TEXT}, arguments=st.lists(TEXT, max_size=2), markdown=TEXT),
)
RESULT = some(
    {"message": MESSAGE},
    ruleId=TEXT,
    ruleIndex=INDEX,
    rule=REFERENCE,
    level=LEVEL,
    kind=st.sampled_from(["pass", "fail", "open", "review", "informational", "notApplicable"]),
    locations=st.lists(LOCATION, max_size=2),
    taxa=st.lists(REFERENCE, max_size=2),
    fingerprints=st.dictionaries(TEXT, TEXT, max_size=2),
    partialFingerprints=st.dictionaries(TEXT, TEXT | st.just("f" * 16), max_size=2),
    provenance=some(invocationIndex=INDEX),
    properties=BAG,
)
OVERRIDE = some({"descriptor": REFERENCE, "configuration": some(level=LEVEL)})
INVOCATION = some(
    {"executionSuccessful": st.booleans()},
    exitCode=st.integers(-(2**63), 2**63) | st.integers(0, 3),
    startTimeUtc=TEXT | st.datetimes().map(str),
    endTimeUtc=TEXT | st.datetimes().map(str),
    workingDirectory=ARTIFACT,
    ruleConfigurationOverrides=st.lists(OVERRIDE, max_size=2),
)
RUN = some(
    {"tool": some({"driver": DRIVER}, extensions=st.lists(DRIVER, max_size=2))},
    results=st.lists(RESULT, max_size=4),
    invocations=st.lists(INVOCATION, max_size=2),
    originalUriBaseIds=st.dictionaries(TEXT, ARTIFACT, max_size=3),
    artifacts=st.lists(some(location=ARTIFACT), max_size=2),
    taxonomies=st.lists(some({"name": TEXT}, taxa=st.lists(RULE, max_size=2)), max_size=1),
    properties=BAG.flatmap(lambda bag: some({"driftgraph/metrics": ANY}).map(lambda metrics: {**bag, **metrics})),
)
MAX_INTEGER = 2**31 - 1


def is_clean(text, limit):
    return len(text) <= limit and not any(ord(character) < 32 and character not in "\n\t" for character in text)


@settings(max_examples=200)
@given(run=RUN)
def test_what_is_read_from_any_valid_document_can_be_stored(run):
    try:
        (read,) = read_sarif(as_bytes(a_log(run)))
    except SarifSchemaViolation as error:
        if error.details["keyword"] != "uniqueItems":
            raise
        reject()
    except SarifBadMetric:
        run["properties"].pop("driftgraph/metrics")
        (read,) = read_sarif(as_bytes(a_log(run)))

    assert read.conclusion in {"PASS", "FAIL", "INCONCLUSIVE"}
    assert len({finding.fingerprint for finding in read.findings}) == len(read.findings)
    for finding in read.findings:
        numbers = (finding.start_line, finding.end_line, finding.start_column, finding.end_column)
        assert all(number is None or 1 <= number <= MAX_INTEGER for number in numbers)
        assert len(finding.fingerprint) == 32
        assert 0 <= finding.severity <= 4
        assert all(1 <= number <= 99_999 for number in finding.cwe)
        assert finding.title
        assert is_clean(finding.title, 200)
        assert finding.message
        assert is_clean(finding.message, 2_000)
        assert finding.rule_id
        assert is_clean(finding.rule_id, 200)
        assert finding.path is None or (finding.path and is_clean(finding.path, 1_000))
