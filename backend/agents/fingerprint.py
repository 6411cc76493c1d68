"""Identity of a finding across runs, as a 32-byte digest. Findings themselves and their triage live elsewhere."""

import hashlib
import re
from collections.abc import Mapping

_PREFERRED_KEY = "primaryLocationLineHash"
_USABLE_VALUE = re.compile(r"\S{8,4096}")
_VERSIONED_KEY = re.compile(r"(?P<name>.*?)(?:/v(?P<version>[0-9]{1,9}))?", re.DOTALL)


def fingerprint_of(tool: str, rule: str, path: str, line_text: str, occurrence: int) -> bytes:
    """The identity of a finding whose producer gave none.

    SHA-256 over tool, rule, path, line text with each run of white space as one space, and the occurrence
    index that tells equal lines apart. No line number is in it, so code may move and be re-indented. Each
    part is preceded by its length, so no two lists of parts are hashed as the same bytes.

    Args:
        tool: Name of the scanner.
        rule: Id of the rule.
        path: Path in the repository, or the empty text.
        line_text: Source text of the line, or the empty text where the producer quotes none.
        occurrence: 0 for the first finding with these four parts, 1 for the second, in order of position.

    Returns:
        32 bytes.
    """
    return _digest("line", tool, rule, path, " ".join(line_text.split()), str(occurrence))


def producer_fingerprint_of(tool: str, rule: str, path: str, chosen: tuple[str, str], occurrence: int) -> bytes:
    """The identity of a finding with a producer's fingerprint, `chosen` as its key and value; 32 bytes.

    Rule and path belong to it because a producer's value (the hash of a line, mostly) is not unique beyond
    them.
    """
    return _digest("producer", tool, rule, path, *chosen, str(occurrence))


def chosen_fingerprint(*sources: Mapping[str, str] | None) -> tuple[str, str] | None:
    """The one key and value to rely on among a producer's fingerprints, or None when it gave none that can be used.

    Sources come in order of trust (SARIF's `fingerprints` before `partialFingerprints`). Within one,
    `primaryLocationLineHash` wins, then the first name in alphabetical order at its lowest version (`name/v1`
    before `name/v2`): a producer that adds keys or versions does not change identities. A value that is
    shorter than eight characters or holds white space is no identity (column numbers, "requires login") and
    is passed over.
    """
    for source in sources:
        usable = [key for key, value in (source or {}).items() if _USABLE_VALUE.fullmatch(value)]
        if source and usable:
            key = min(usable, key=_rank)
            return key, source[key]
    return None


def _rank(key: str) -> tuple[bool, str, int]:
    match = _VERSIONED_KEY.fullmatch(key)
    name, version = (match["name"], match["version"]) if match else (key, None)
    return name != _PREFERRED_KEY, name, int(version or 0)


def _digest(*parts: str) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()
