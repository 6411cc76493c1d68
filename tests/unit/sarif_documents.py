"""SARIF documents for the tests, built piece by piece in the shape that scanners write them."""

import json
from typing import Any

Json = dict[str, Any]


def a_result(rule: str = "R1", path: str = "app/models.py", line: int = 3, **fields: Any) -> Json:
    snippet = fields.pop("snippet", None)
    region: Json = {"startLine": line, "startColumn": 1, "endColumn": 9}
    if snippet is not None:
        region["snippet"] = {"text": snippet}
    location = {"physicalLocation": {"artifactLocation": {"uri": path}, "region": region}}
    return {"ruleId": rule, "message": {"text": "It is wrong."}, "locations": [location], **fields}


def a_run(*results: Json, rules: list[Json] | None = None, **fields: Any) -> Json:
    driver = {"name": "scan", "version": "1.2", **({} if rules is None else {"rules": rules})}
    return {"tool": {"driver": driver, **fields.pop("tool", {})}, "results": list(results), **fields}


def a_log(*runs: Json, **fields: Any) -> Json:
    return {"version": "2.1.0", "runs": list(runs), **fields}


def as_bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def bandit_log() -> Json:
    """As bandit 1.9 writes it: snippets and context, CWE as tags of rules, confidence as properties."""
    location = {
        "physicalLocation": {
            "artifactLocation": {"uri": "app/login.py"},
            "region": {
                "snippet": {"text": 'password = "correct horse"\n'},
                "startLine": 2,
                "endLine": 2,
                "startColumn": 12,
                "endColumn": 27,
            },
            "contextRegion": {
                "snippet": {"text": 'import os\npassword = "correct horse"\n'},
                "startLine": 1,
                "endLine": 2,
            },
        }
    }
    rule = {
        "id": "B105",
        "name": "hardcoded_password_string",
        "properties": {"tags": ["security", "external/cwe/cwe-259"], "precision": "medium"},
        "helpUri": "https://bandit.readthedocs.io/en/1.9.4/plugins/b105_hardcoded_password_string.html",
    }
    result = {
        "ruleId": "B105",
        "ruleIndex": 0,
        "level": "note",
        "message": {"text": "Possible hardcoded password: 'correct horse'"},
        "locations": [location],
        "properties": {"issue_confidence": "MEDIUM", "issue_severity": "LOW"},
    }
    driver = {
        "name": "Bandit",
        "organization": "PyCQA",
        "rules": [rule],
        "version": "1.9.4",
        "semanticVersion": "1.9.4",
    }
    invocation = {"executionSuccessful": True, "endTimeUtc": "2026-03-02T10:00:00Z"}
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": [result]}
    return a_log(run, **{"$schema": "https://json.schemastore.org/sarif-2.1.0.json"})
