"""Rules of one SARIF run: names, severities and weaknesses. Where a result lies in the code is read elsewhere."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backend.agents.sarif_model import Severity
from backend.agents.sarif_text import line_text, web_address

MAX_RULE_ID = 200  # characters, as of all limits on texts here
MAX_TITLE = 200
MAX_CATEGORY = 100
MAX_HELP_URI = 500
MAX_CWES = 20
_MAX_TAGS = 100  # tags and relations read per rule or result
_MAX_LEVELS = 10  # of a hierarchical rule id
UNSPECIFIED_RULE = "unspecified"

_CWE = re.compile(r"(?:^|[/\s])cwe[-_: /]{0,2}0{0,4}(?P<number>[1-9][0-9]{0,4})(?![0-9])", re.IGNORECASE)
_CWE_NUMBER = re.compile(r"(?:cwe-)?0{0,4}(?P<number>[1-9][0-9]{0,4})", re.IGNORECASE)
_TEMPLATE_FIELD = re.compile(r"\{[A-Za-z_]\w*\}")

_LEVELS = {"error": Severity.HIGH, "warning": Severity.MEDIUM, "note": Severity.LOW, "none": Severity.INFO}
_SCORES = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.0, Severity.LOW))
_MAX_SCORE = 10.0

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the results of one rule share. `title` is None where the rule has none that can be shown as it stands."""

    id: str
    title: str | None
    category: str | None
    cwe: tuple[int, ...]
    score: Severity | None
    level: str | None
    help_uri: str | None
    strings: tuple[Json, ...]


class RuleBook:
    """Finds the rule of each result; a descriptor is read once, whatever the number of its results."""

    def __init__(self, run: Json) -> None:
        tool = run["tool"]
        self._driver: Json = tool["driver"]
        self._extensions: list[Json] = tool.get("extensions", [])
        self._taxonomies: list[Json] = run.get("taxonomies", [])
        components = (self._driver, *self._extensions)
        self._components = {id(item): _by_id(item) for item in components}
        self._anywhere = {key: item for item in reversed(components) for key in self._components[id(item)]}
        self._named = {key: item for item in reversed(self._extensions) for key in _names_of(item)}
        self._taxonomy_names = {key: item for item in reversed(self._taxonomies) for key in _names_of(item)}
        self._rules: dict[tuple[int, str], Rule] = {}

    def rule_of(self, result: Json) -> Rule:
        """The rule by index, else by id, else by the leading parts of a hierarchical id, else the bare id."""
        reference = result.get("rule", {})
        component = self._component(reference.get("toolComponent"))
        index = result.get("ruleIndex", reference.get("index", -1))
        rules = component.get("rules", ())
        descriptor = rules[index] if 0 <= index < len(rules) else None
        identifier = result.get("ruleId") or reference.get("id") or (descriptor or {}).get("id") or UNSPECIFIED_RULE
        rule_id = line_text(identifier, MAX_RULE_ID) or UNSPECIFIED_RULE
        if descriptor is None:
            component, descriptor = self._find(component, rule_id)
        key = (id(descriptor) if descriptor is not None else 0, rule_id)
        if key not in self._rules:
            self._rules[key] = self._read(rule_id, component, descriptor or {})
        return self._rules[key]

    def cwes(self, holder: Json) -> tuple[int, ...]:
        """Weakness numbers in the tags, `cwe` property, taxa and relationships of a result or rule, ascending."""
        properties = holder.get("properties", {})
        stated = properties.get("cwe", ())
        texts = [*_texts(properties.get("tags", ())), *_texts([stated] if isinstance(stated, str) else stated)]
        numbers = {int(match["number"]) for text in texts for match in _CWE.finditer(text[:MAX_TITLE])}
        related = (item["target"] for item in holder.get("relationships", ())[:_MAX_TAGS])
        for reference in (*holder.get("taxa", ())[:_MAX_TAGS], *related):
            if match := _CWE_NUMBER.fullmatch(self._taxon(reference)):
                numbers.add(int(match["number"]))
        return tuple(sorted(numbers))[:MAX_CWES]

    def _component(self, reference: Json | None) -> Json:
        if reference is None:
            return self._driver
        index = reference.get("index", -1)
        if 0 <= index < len(self._extensions):
            return self._extensions[index]
        return next((self._named[key] for key in _names_of(reference) if key in self._named), self._driver)

    def _find(self, component: Json, rule_id: str) -> tuple[Json, Json | None]:
        prefix = rule_id
        for _ in range(_MAX_LEVELS):
            own = self._components[id(component)]
            holder = component if prefix in own else self._anywhere.get(prefix)
            if holder is not None:
                return holder, self._components[id(holder)][prefix]
            prefix = prefix.rpartition("/")[0]
        return component, None

    def _taxon(self, reference: Json) -> str:
        """The id of a weakness that a reference names, or the empty text when its taxonomy is not CWE."""
        component = reference.get("toolComponent", {})
        index = component.get("index", -1)
        taxonomy = self._taxonomies[index] if 0 <= index < len(self._taxonomies) else None
        if taxonomy is None:
            taxonomy = next(
                (self._taxonomy_names[key] for key in _names_of(component) if key in self._taxonomy_names), component
            )
        if taxonomy.get("name", "").upper() != "CWE":
            return ""
        taxa = taxonomy.get("taxa", ())
        position = reference.get("index", -1)
        by_index = taxa[position].get("id", "") if 0 <= position < len(taxa) else ""
        identifier: str = reference.get("id") or by_index
        return identifier

    def _read(self, rule_id: str, component: Json, descriptor: Json) -> Rule:
        properties = descriptor.get("properties", {})
        strings = (descriptor.get("messageStrings"), component.get("globalMessageStrings"))
        return Rule(
            id=rule_id,
            title=_title(descriptor),
            category=category_of(properties),
            cwe=self.cwes(descriptor),
            score=scored_severity(properties),
            level=descriptor.get("defaultConfiguration", {}).get("level"),
            help_uri=web_address(descriptor.get("helpUri", ""), MAX_HELP_URI),
            strings=tuple(names for names in strings if names),
        )


def severity_of(result: Json, rule: Rule, override: str | None) -> Severity:
    """How much a result matters.

    A result that is no failure (kind `informational`, `open` or `review`) has the severity of its own level,
    else INFO. For others the `security-severity` of the result, then of its rule, decides (9 CRITICAL, 7
    HIGH, 4 MEDIUM, above 0 LOW); without one the level: of the result, of the invocation's override, of the
    rule, else `warning`.
    """
    level = result.get("level")
    if result.get("kind", "fail") != "fail":
        return _LEVELS[level or "none"]
    score = scored_severity(result.get("properties", {}))
    if score is None:
        score = rule.score
    return score if score is not None else _LEVELS[level or override or rule.level or "warning"]


def scored_severity(properties: Json) -> Severity | None:
    """The severity of a `security-severity` above 0 and up to 10, a number or its text; None for anything else."""
    stated = properties.get("security-severity")
    if isinstance(stated, bool) or not isinstance(stated, int | float | str):
        return None
    try:
        score = float(stated)
    except (ValueError, OverflowError):
        return None
    if not 0 < score <= _MAX_SCORE:
        return None
    return next(severity for floor, severity in _SCORES if score >= floor)


def category_of(properties: Json) -> str | None:
    """The property `category`, else `kind`, else the first tag that is no reference to a taxonomy; None without any."""
    tags = (
        tag
        for tag in _texts(properties.get("tags", ()))
        if not tag.startswith("external/") and not _CWE.search(tag[:MAX_TITLE])
    )
    stated = (value for value in (properties.get("category"), properties.get("kind")) if isinstance(value, str))
    return next((text for text in (line_text(item, MAX_CATEGORY) for item in (*stated, *tags)) if text), None)


def _title(descriptor: Json) -> str | None:
    """The short description, else the name; None when both are empty or message templates with named fields."""
    short = descriptor.get("shortDescription", {}).get("text", "")
    for text in (short, descriptor.get("name", "")):
        title = line_text(text, MAX_TITLE)
        if title and not _TEMPLATE_FIELD.search(title):
            return title
    return None


def _by_id(component: Json) -> dict[str, Json]:
    """Descriptors of a component by their ids; of several with one id the first counts."""
    return {line_text(item["id"], MAX_RULE_ID): item for item in reversed(component.get("rules", []))}


def _names_of(component: Json) -> Iterator[str]:
    for key in ("guid", "name"):
        if component.get(key):
            yield f"{key}:{component[key].lower()}"


def _texts(values: Any) -> Iterable[str]:
    """The texts among the first of some values; property bags may hold anything."""
    return [item for item in values[:_MAX_TAGS] if isinstance(item, str)] if isinstance(values, list) else []
