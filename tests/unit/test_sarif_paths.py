"""Artifact locations become paths in the repository, and nothing of the scanning machine remains."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sarif_documents import a_log, a_result, a_run, as_bytes

from backend.agents.sarif import read_sarif


def findings_of(*locations, root=None, **run):
    results = []
    for location in locations:
        result = a_result()
        result["locations"][0]["physicalLocation"]["artifactLocation"] = location
        results.append(result)
    ((read),) = read_sarif(as_bytes(a_log(a_run(*results, **run))), root=root)
    return read.findings


def path_of(location, root=None, **run):
    (finding,) = findings_of(location, root=root, **run)
    return finding.path


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("app/models.py", "app/models.py"),
        ("./app//./models.py", "app/models.py"),
        ("app/../lib/a.py", "lib/a.py"),
        ("app/a%20b.py", "app/a b.py"),
        ("app/a b.py", "app/a b.py"),
        ("app/caf%C3%A9.py", "app/café.py"),
        ("app/%FF.py", "app/\ufffd.py"),
        ("app/100%.py", "app/100%.py"),
        ("app/a.py?line=3#L3", "app/a.py"),
        ("app\\sub\\a.py", "app/sub/a.py"),
        ("../../etc/passwd", "etc/passwd"),
        ("app/%2e%2e/%2e%2e/etc/passwd", "etc/passwd"),
        ("..%2f..%2fetc%2fpasswd", "etc/passwd"),
        ("..%5c..%5cetc", "etc"),
        ("app/..\\..\\..\\etc", "etc"),
        ("%252e%252e/a.py", "%2e%2e/a.py"),
        ("app/a%00b%1b%0a.py", "app/ab\n.py"),
        ("/home/ann/repo/app/a.py", "a.py"),
        ("file:///home/ann/repo/app/a.py", "a.py"),
        ("FILE:///home/ann/repo/app/a.py", "a.py"),
        ("file://localhost/home/ann/a.py", "a.py"),
        ("file:///C:/Users/ann/repo/a.py", "a.py"),
        ("file:///C%3A/Users/ann/repo/a.py", "a.py"),
        ("file:C:/Users/ann/a.py", "a.py"),
        ("C:\\Users\\ann\\repo\\a.py", "a.py"),
        ("c:/Users/ann/a.py", "a.py"),
        ("file:///C:/repo/%252e.py", "%2e.py"),
        ("file://server/share/repo/a.py", "a.py"),
        ("file://ann:secret@server/a.py", "a.py"),
        ("file://server", None),
        ("file://.", None),
        ("file://../a.py", "a.py"),
        ("file://\u202e/\u202e", None),
        ("\\\\server\\share\\a.py", "a.py"),
        ("https://user:secret@host/login?member=1", "login"),
        ("pkg:npm/left-pad@1", "npm/left-pad@1"),
        ("https://host/", None),
        ("http://[broken/a", None),
        ("", None),
        (".", None),
        ("/", None),
        ("..", None),
        ("%00", None),
        ("a/" * 600 + "b.py", ("a/" * 600 + "b.py")[:1_000]),
    ],
)
def test_a_location_alone(uri, path):
    expected = path if path is None else path.replace("\n", "")

    assert path_of({"uri": uri}) == expected


HOME = "file:///home/ann/repo/"


@pytest.mark.parametrize(
    ("location", "run", "path"),
    [
        ({"uri": "app/a.py", "uriBaseId": "SRCROOT"}, {}, "app/a.py"),
        ({"uri": "app/a.py", "uriBaseId": "SRCROOT"}, {"originalUriBaseIds": {"SRCROOT": {"uri": HOME}}}, "app/a.py"),
        ({"uri": HOME + "app/a.py"}, {"originalUriBaseIds": {"%SRCROOT%": {"uri": HOME}}}, "app/a.py"),
        ({"uri": "a.py", "uriBaseId": "APP"}, {"originalUriBaseIds": {"APP": {"uri": "app/"}}}, "app/a.py"),
        (
            {"uri": "a.py", "uriBaseId": "APP"},
            {"originalUriBaseIds": {"APP": {"uri": "app/", "uriBaseId": "ROOT"}, "ROOT": {"uri": HOME}}},
            "app/a.py",
        ),
        (
            {"uri": "a.py", "uriBaseId": "APP"},
            {"originalUriBaseIds": {"APP": {"uri": HOME + "app/"}, "SRCROOT": {"uri": HOME}}},
            "app/a.py",
        ),
        (
            {"uri": "../lib/a.py", "uriBaseId": "APP"},
            {"originalUriBaseIds": {"APP": {"uri": HOME + "app/"}, "SRCROOT": {"uri": HOME}}},
            "lib/a.py",
        ),
        (
            {"uri": "app/a.py", "uriBaseId": "X"},
            {"originalUriBaseIds": {"X": {"uri": HOME}, "Y": {"uri": HOME + "app/"}}},
            "app/a.py",
        ),
        ({"uri": HOME + "app/a.py"}, {"originalUriBaseIds": {"X": {"uri": HOME}, "Y": {"uri": HOME + "app/"}}}, "a.py"),
        ({"uri": "a.py", "uriBaseId": "LIB"}, {"originalUriBaseIds": {"LIB": {"uri": "file:///usr/lib/"}}}, "a.py"),
        (
            {"uri": "a.py", "uriBaseId": "A"},
            {"originalUriBaseIds": {"A": {"uri": "x/", "uriBaseId": "B"}, "B": {"uri": "y/", "uriBaseId": "A"}}},
            "/".join(["y", "x"] * 8) + "/a.py",
        ),
        (
            {"uri": HOME + "app/a.py"},
            {"versionControlProvenance": [{"repositoryUri": "https://git.example/r", "mappedTo": {"uri": HOME}}]},
            "app/a.py",
        ),
        (
            {"uri": HOME + "app/a.py"},
            {"invocations": [{"executionSuccessful": True, "workingDirectory": {"uri": HOME}}]},
            "app/a.py",
        ),
        ({"uri": "C:\\repo\\app\\a.py"}, {"originalUriBaseIds": {"SRCROOT": {"uri": "file:///c:/repo"}}}, "app/a.py"),
        ({"uri": "/home/ann/repository/a.py"}, {"originalUriBaseIds": {"SRCROOT": {"uri": HOME}}}, "a.py"),
        ({"index": 1}, {"artifacts": [{}, {"location": {"uri": "app/a.py"}}]}, "app/a.py"),
        ({"index": 0}, {"artifacts": [{}]}, None),
        ({"index": 9}, {}, None),
    ],
)
def test_bases_and_roots(location, run, path):
    assert path_of(location, **run) == path


def test_a_deep_base_is_shortened():
    bases = {"B0": {"uri": "a/" * 80, "uriBaseId": "B1"}, "B1": {"uri": "b/" * 60}}

    path = path_of({"uri": "x.py", "uriBaseId": "B0"}, originalUriBaseIds=bases)

    assert path == "b/" * 60 + "a/" * 40 + "x.py"


@pytest.mark.parametrize("root", ["/srv/100% odd#dir?", "/srv/100% odd#dir?/"])
def test_a_given_root_comes_first(root):
    location = {"uri": "file:///srv/100%25%20odd%23dir%3F/app/a.py"}
    bases = {"originalUriBaseIds": {"SRCROOT": {"uri": "file:///srv/"}}}

    assert path_of(location, root=root, **bases) == "app/a.py"


@pytest.mark.parametrize(
    ("uris", "paths"),
    [
        (["/w/repo/app/a.py", "/w/repo/lib/b.py"], ["app/a.py", "lib/b.py"]),
        (["/w/repo/app/a.py", "/w/repo/app/sub/b.py"], ["a.py", "sub/b.py"]),
        (["/home/ann/repo/a.py", "/home/bob/repo/b.py"], ["a.py", "b.py"]),
        (["/home/ann/repo/a.py", "/usr/lib/b.py"], ["a.py", "b.py"]),
        (["C:/Users/ann/a.py", "C:/code/b.py"], ["a.py", "b.py"]),
        (["/w/repo/app/a.py", "lib/b.py"], ["a.py", "lib/b.py"]),
    ],
)
def test_without_a_root_paths_start_at_the_directory_that_holds_all(uris, paths):
    findings = findings_of(*({"uri": uri} for uri in uris))

    assert [finding.path for finding in findings] == paths


def test_files_of_one_name_are_not_taken_for_each_other_when_no_root_is_known():
    both = findings_of({"uri": "/home/ann/x/a.py"}, {"uri": "/usr/lib/a.py"})
    alone = findings_of({"uri": "/usr/lib/a.py"})

    assert [finding.path for finding in both] == ["a.py", "a.py"]
    assert both[1].fingerprint == alone[0].fingerprint != both[0].fingerprint


def test_directories_of_the_machine_leave_messages():
    result = a_result(message={"text": "See file:///home/ann/repo/app/b.py and /home/ann/repo/c.py or /home/ann/x."})
    bases = {"SRCROOT": {"uri": HOME}}

    (run,) = read_sarif(as_bytes(a_log(a_run(result, originalUriBaseIds=bases))))

    assert run.findings[0].message == "See app/b.py and c.py or /home/ann/x."


def test_a_result_without_a_location_lies_in_its_analysis_target():
    result = a_result(locations=[], analysisTarget={"uri": "app/a.py"})

    (run,) = read_sarif(as_bytes(a_log(a_run(result))))

    assert run.findings[0].path == "app/a.py"


PIECES = st.sampled_from(
    [
        "..",
        ".",
        "/",
        "\\",
        "%2e",
        "%2F",
        "%5C",
        "a",
        "C:",
        "file:",
        "file://",
        "%00",
        "%",
        "?",
        "#",
        "é",
        "\u202e",
        "[",
        "@",
        ":",
    ]
)


@settings(max_examples=1_000)
@given(
    uri=st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40),
    base=st.lists(PIECES, max_size=8).map("".join),
)
def test_no_uri_leads_out_of_the_repository(uri, base):
    path = path_of({"uri": uri, "uriBaseId": "B"}, originalUriBaseIds={"B": {"uri": base}})

    if path is not None:
        assert not path.startswith("/")
        assert not {"..", ".", ""} & set(path.split("/"))
        assert "\\" not in path
        assert not any(ord(character) < 32 or character == "\u202e" for character in path)
