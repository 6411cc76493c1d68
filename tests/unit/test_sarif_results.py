"""What one result says: severity, weaknesses, texts, suppression, region."""

import hashlib

import pytest
from sarif_documents import a_log, a_result, a_run, as_bytes, bandit_log

from backend.agents.sarif import read_sarif

INFO, LOW, MEDIUM, HIGH, CRITICAL = range(5)


def findings_of(*results, **fields):
    (run,) = read_sarif(as_bytes(a_log(a_run(*results, **fields))))
    return run.findings


def finding_of(rule=None, run=None, **fields):
    rules = [{"id": "R1", **rule}] if rule is not None else None
    (finding,) = findings_of(a_result(**fields), rules=rules, **(run or {}))
    return finding


def scored(score):
    return {"properties": {"security-severity": score}}


@pytest.mark.parametrize(
    ("rule", "result", "severity"),
    [
        (None, {}, MEDIUM),
        (None, {"level": "error"}, HIGH),
        (None, {"level": "warning"}, MEDIUM),
        (None, {"level": "note"}, LOW),
        (None, {"level": "none"}, INFO),
        ({}, {}, MEDIUM),
        ({"defaultConfiguration": {"level": "error"}}, {}, HIGH),
        ({"defaultConfiguration": {"level": "error"}}, {"level": "note"}, LOW),
        (scored("9.8"), {"level": "note"}, CRITICAL),
        (scored("9.0"), {}, CRITICAL),
        (scored("8.9"), {}, HIGH),
        (scored(7), {}, HIGH),
        (scored(6.9), {}, MEDIUM),
        (scored("4.0"), {}, MEDIUM),
        (scored("3.9"), {"level": "error"}, LOW),
        (scored("0.1"), {}, LOW),
        (scored("0.0"), {"level": "error"}, HIGH),
        (scored("10.1"), {"level": "error"}, HIGH),
        (scored("nan"), {"level": "note"}, LOW),
        (scored("high"), {"level": "note"}, LOW),
        (scored(True), {"level": "note"}, LOW),
        (scored(None), {"level": "note"}, LOW),
        (scored("9.8"), scored("2.0"), LOW),
        (scored("9.8"), {"kind": "informational"}, INFO),
        (scored("9.8"), {"kind": "review"}, INFO),
        (scored("9.8"), {"kind": "open", "level": "warning"}, MEDIUM),
        (scored("9.8"), {"kind": "fail"}, CRITICAL),
    ],
)
def test_severity_comes_from_score_then_level_then_rule(rule, result, severity):
    finding = finding_of(rule, **result)

    assert finding.severity == severity
    assert type(finding.severity) is int


def test_the_invocation_overrides_the_level_of_the_rule_but_not_of_the_result():
    override = {"descriptor": {"id": "R1"}, "configuration": {"level": "note"}}
    invocations = [
        {"executionSuccessful": True},
        {"executionSuccessful": True, "ruleConfigurationOverrides": [override]},
    ]
    rules = [{"id": "R1", "defaultConfiguration": {"level": "error"}}]

    only = findings_of(a_result(), rules=rules, invocations=invocations[1:])
    several = findings_of(
        a_result(),
        a_result(provenance={"invocationIndex": 1}),
        a_result(provenance={"invocationIndex": 1}, level="warning"),
        rules=rules,
        invocations=invocations,
    )

    assert [finding.severity for finding in only] == [LOW]
    assert [finding.severity for finding in several] == [HIGH, LOW, MEDIUM]


def test_passes_and_results_that_are_gone_are_no_findings():
    kept = findings_of(
        a_result("R1", kind="pass"),
        a_result("R2", kind="notApplicable"),
        a_result("R3", baselineState="absent"),
        a_result("R4", baselineState="unchanged"),
        a_result("R5", kind="open"),
    )

    assert [finding.rule_id for finding in kept] == ["R4", "R5"]


CWE_TAXONOMY = {"name": "CWE", "guid": "11111111-1111-4111-8111-111111111111", "taxa": [{"id": "78"}, {"id": "CWE-89"}]}


@pytest.mark.parametrize(
    ("rule", "result", "cwe"),
    [
        ({"properties": {"tags": ["security", "external/cwe/cwe-079"]}}, {}, (79,)),
        ({"properties": {"tags": ["CWE-89: Improper Neutralization", "OWASP-A03"]}}, {}, (89,)),
        ({"properties": {"tags": ["cwe:22", "CWE-1004", "notcwe-5", "CWE-0", "CWE-1234567"]}}, {}, (22, 1004)),
        ({"properties": {"cwe": "CWE-502"}}, {"properties": {"cwe": ["CWE-79", "CWE-502"]}}, (79, 502)),
        ({"properties": {"cwe": {"id": 5}, "tags": []}}, {}, ()),
        ({"relationships": [{"target": {"id": "327", "toolComponent": {"name": "CWE"}}}]}, {}, (327,)),
        ({"relationships": [{"target": {"id": "CWE-327", "toolComponent": {"name": "cwe"}}}]}, {}, (327,)),
        ({"relationships": [{"target": {"id": "327", "toolComponent": {"name": "OWASP"}}}]}, {}, ()),
        ({"relationships": [{"target": {"index": 1, "toolComponent": {"index": 0}}}]}, {}, (89,)),
        (None, {"taxa": [{"index": 0, "toolComponent": {"guid": CWE_TAXONOMY["guid"]}}]}, (78,)),
        (None, {"taxa": [{"id": "89", "toolComponent": {"index": 7}}]}, ()),
    ],
)
def test_weaknesses_come_from_tags_relationships_and_taxa(rule, result, cwe):
    finding = finding_of(rule, run={"taxonomies": [CWE_TAXONOMY]}, **result)

    assert finding.cwe == cwe


@pytest.mark.parametrize(
    ("rule", "message", "expected"),
    [
        ({}, {"text": "Plain {0} with {{braces}}."}, "Plain {0} with {{braces}}."),
        ({}, {"text": "{0} is {{not}} {1}.", "arguments": ["x", "y"]}, "x is {not} y."),
        ({}, {"text": "{0} and {7}.", "arguments": ["{1}"]}, "{1} and {7}."),
        ({"messageStrings": {"m": {"text": "Own {0}."}}}, {"id": "m", "arguments": ["x"]}, "Own x."),
        ({"messageStrings": {"m": {"text": "{{}}"}}}, {"id": "m"}, "{}"),
        ({}, {"id": "m", "arguments": ["x"]}, "Global x."),
        ({}, {"id": "m", "markdown": "*unused*"}, "Global {0}."),
        ({"name": "named"}, {"id": "nowhere", "markdown": "**Bold**"}, "**Bold**"),
        ({"name": "named"}, {"id": "nowhere"}, "named"),
        ({}, {"text": "a\u0000b\u001b[31mc\u202ed\r\ne\tf"}, "ab[31mcd\ne\tf"),
        ({}, {"text": "x" * 3_000}, "x" * 1_999 + "…"),
        ({}, {"text": "x" * 2_000}, "x" * 2_000),
    ],
)
def test_messages_are_filled_in_and_bounded(rule, message, expected):
    strings = {"globalMessageStrings": {"m": {"text": "Global {0}."}}}
    tool = {"driver": {"name": "scan", "rules": [{"id": "R1", **rule}], **strings}}

    finding = finding_of(run={"tool": tool}, message=message)

    assert finding.message == expected


@pytest.mark.parametrize(
    ("rule", "title"),
    [
        ({"shortDescription": {"text": "Short\n one"}, "name": "name"}, "Short one"),
        ({"shortDescription": {"text": "Too long ({width} > {limit})"}, "name": "long-line"}, "long-line"),
        ({"shortDescription": {"text": "Too long ({width} > {limit})"}}, "First line."),
        ({"shortDescription": {"text": "Call dict() as {}"}}, "Call dict() as {}"),
        ({"shortDescription": {"text": "t" * 300}}, "t" * 199 + "…"),
        (None, "First line."),
    ],
)
def test_a_title_is_the_rules_own_or_the_first_line_of_the_message(rule, title):
    finding = finding_of(rule, message={"text": "First line.\nSecond line."})

    assert finding.title == title


def test_an_empty_message_and_a_rule_without_words_leave_the_rule_id():
    finding = finding_of(message={"text": " \u0000 "})

    assert (finding.title, finding.message) == ("R1", "R1")


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("https://rules.example/R1", True),
        ("http://rules.example/R1#x", True),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("https://user:pass@rules.example/", False),
        ("https://rules.example/a b", False),
        ("https://[broken/", False),
        ("https://rules.example/" + "a" * 500, False),
        ("", False),
    ],
)
def test_help_addresses_are_of_the_web_and_whole(uri, kept):
    finding = finding_of({"helpUri": uri})

    assert finding.help_uri == (uri if kept else None)


@pytest.mark.parametrize(
    ("rule", "result", "category"),
    [
        ({"properties": {"category": "security", "tags": ["x"]}}, {}, "security"),
        ({"properties": {"kind": "pycodestyle"}}, {}, "pycodestyle"),
        ({"properties": {"tags": ["external/cwe/cwe-79", "CWE-79", "injection"]}}, {}, "injection"),
        ({"properties": {"category": "a"}}, {"properties": {"category": "b"}}, "b"),
        ({"properties": {"category": 5, "kind": ["a"], "tags": ["", "\u0000"]}}, {}, None),
        ({"properties": {"category": "c" * 200}}, {}, "c" * 99 + "…"),
        (None, {}, None),
    ],
)
def test_categories(rule, result, category):
    finding = finding_of(rule, **result)

    assert finding.category == category


@pytest.mark.parametrize(
    ("suppressions", "suppressed"),
    [
        (None, False),
        ([], False),
        ([{"kind": "inSource"}], True),
        ([{"kind": "external", "status": "accepted"}], True),
        ([{"kind": "external", "status": "underReview"}], False),
        ([{"kind": "inSource"}, {"kind": "external", "status": "rejected"}], False),
    ],
)
def test_suppressions_hold_unless_one_is_open_or_rejected(suppressions, suppressed):
    finding = finding_of(**({} if suppressions is None else {"suppressions": suppressions}))

    assert finding.suppressed is suppressed


@pytest.mark.parametrize(
    ("result", "rule_id", "title"),
    [
        ({"ruleId": "B", "ruleIndex": 1}, "B", "second"),
        ({"ruleIndex": 1}, "B", "second"),
        ({"rule": {"index": 0}}, "A", "first"),
        ({"rule": {"id": "B"}}, "B", "second"),
        ({"ruleId": "B/sub/deep"}, "B/sub/deep", "second"),
        ({"ruleId": "X"}, "X", "extended"),
        ({"ruleId": "X", "rule": {"index": 0, "toolComponent": {"index": 0}}}, "X", "extended"),
        ({"rule": {"index": 0, "toolComponent": {"name": "pack"}}}, "X", "extended"),
        ({"ruleId": "A", "ruleIndex": 99}, "A", "first"),
        ({"ruleIndex": 99}, "unspecified", "It is wrong."),
        ({}, "unspecified", "It is wrong."),
        ({"ruleId": "r" * 300}, "r" * 199 + "…", "It is wrong."),
    ],
)
def test_rules_are_found_by_index_id_hierarchy_and_in_extensions(result, rule_id, title):
    rules = [{"id": "A", "name": "first"}, {"id": "B", "name": "second"}]
    tool = {
        "driver": {"name": "scan", "rules": rules},
        "extensions": [{"name": "pack", "rules": [{"id": "X", "name": "extended"}]}],
    }
    document = a_log(a_run({"message": {"text": "It is wrong."}, **result}, tool=tool))

    ((finding,),) = (run.findings for run in read_sarif(as_bytes(document)))

    assert (finding.rule_id, finding.title) == (rule_id, title)


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ({"startLine": 4}, (4, 4, None, None)),
        ({"startLine": 4, "startColumn": 2, "endLine": 6, "endColumn": 3}, (4, 6, 2, 3)),
        ({"charOffset": 10}, (None, None, None, None)),
        ({"startLine": 2**31}, (None, None, None, None)),
        ({"startLine": 2**31 - 1, "startColumn": 10**18}, (2**31 - 1, 2**31 - 1, None, None)),
    ],
)
def test_regions_keep_what_the_database_can_hold(region, expected):
    location = {"physicalLocation": {"artifactLocation": {"uri": "a.py"}, "region": region}}

    finding = finding_of(locations=[location])

    assert (finding.start_line, finding.end_line, finding.start_column, finding.end_column) == expected


def test_a_result_without_a_location_has_no_path_and_no_lines():
    finding = finding_of(locations=[])

    assert (finding.path, finding.start_line, finding.end_line, finding.snippet_sha) == (None, None, None, None)


def test_quoted_source_is_dropped_and_a_quoted_credential_with_it():
    (run,) = read_sarif(as_bytes(bandit_log()))
    (finding,) = run.findings

    assert "correct horse" not in repr(run)
    assert finding.message == "Possible hardcoded password: '…'"
    assert finding.snippet_sha == hashlib.sha256(b'password = "correct horse"\n').digest()
    assert (finding.tool, finding.rule_id, finding.title) == ("Bandit", "B105", "hardcoded_password_string")
    assert (finding.path, finding.start_line, finding.start_column, finding.end_column) == ("app/login.py", 2, 12, 27)
    assert (finding.cwe, finding.category, finding.severity) == ((259,), "security", LOW)
    assert run.conclusion == "PASS"


def test_quotations_stay_where_the_weakness_is_no_credential():
    finding = finding_of({"properties": {"tags": ["CWE-89"]}}, message={"text": "Unsafe 'execute' call"})

    assert finding.message == "Unsafe 'execute' call"
