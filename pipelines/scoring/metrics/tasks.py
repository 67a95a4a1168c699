"""What is right besides overlap: exact answers, fields, JSON that a schema accepts, steps in their order, a style kept to.

All are shares, 0 to 1, one a pair. An output that cannot be read (no JSON, no fields) is wrong, never an error.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from pipelines import spec
from pipelines.errors import UserError

Values = NDArray[np.float64]
Form = Literal["json", "lines"]

FIELD = re.compile(r"^\s*([^:\n]{1,80}?)\s*:\s*(.*?)\s*$", re.MULTILINE)
NUMBERED = re.compile(r"(?:^|(?<=\s))\(?\d{1,3}[.)]\s+")  # 1. or (2) before a step
BULLET = re.compile(r"^\s*[-*•]\s+")
NO_FIELDS: dict[str, str] = {}


def of_pairs(outputs: Sequence[str], references: Sequence[str], asked: spec.Tasks) -> dict[str, Values]:
    """Each metric that is `asked` for, by its name in scores.json: its value for each pair.

    Raises:
        UserError: fields or steps are asked for, and a reference has none.
    """
    measures: dict[str, Callable[[], Values]] = {
        "exact_match": lambda: exact(outputs, references),
        "fields": lambda: fields(outputs, references, "lines" if asked.fields == "lines" else "json"),
        "json_schema": lambda: valid(outputs, asked.json_schema),
        "steps": lambda: steps(outputs, references),
        "style": lambda: conformity(outputs, asked.style or spec.Style()),
    }
    return {name: measures[name]() for name in asked.asked}


def exact(outputs: Sequence[str], references: Sequence[str]) -> Values:
    """1 where the output is the reference, however both are spaced."""
    return _values(output.split() == reference.split() for output, reference in zip(outputs, references, strict=True))


def fields(outputs: Sequence[str], references: Sequence[str], form: Form) -> Values:
    """Right fields among those that the reference or the output has; a nested JSON field counts by its path.

    Raises:
        UserError: a reference has no field.
    """
    read = _json_fields if form == "json" else _line_fields
    found = []
    for row, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        wanted, given = read(reference), read(output)
        if not wanted:
            shape = "a JSON object" if form == "json" else "lines `key: value`"
            raise UserError(f"scoring.tasks.fields: the reference of test pair {row + 1} is not {shape}: mend it, or set off")
        right = sum(given.get(key) == value for key, value in wanted.items())
        found.append(right / len(wanted.keys() | given.keys()))
    return _values(found)


def valid(outputs: Sequence[str], schema: Mapping[str, Any]) -> Values:
    """1 where the output is JSON that `schema` (JSON Schema 2020-12) accepts."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)

    def accepts(text: str) -> bool:
        try:
            return bool(validator.is_valid(json.loads(text)))
        except (ValueError, RecursionError):
            return False

    return _values(accepts(output) for output in outputs)


def steps(outputs: Sequence[str], references: Sequence[str]) -> Values:
    """The longest run of steps that both have in one order (with gaps), over the steps of the longer: one that is missing, one
    too many and one out of its place cost alike.

    Raises:
        UserError: a reference is blank.
    """
    found = []
    for row, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        wanted = _steps(reference)
        if not wanted:
            raise UserError(f"scoring.tasks.steps: the reference of test pair {row + 1} has no step: mend it, or set false")
        found.append(LCSseq.normalized_similarity(_steps(output), wanted))
    return _values(found)


def conformity(outputs: Sequence[str], style: spec.Style) -> Values:
    """1 where the output keeps to `style`."""
    words = [word.casefold() for word in style.forbidden]
    banned = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)") if words else None
    return _values(_conforms(output.strip(), style, banned) for output in outputs)


def _conforms(text: str, style: spec.Style, banned: re.Pattern[str] | None) -> bool:
    words, first = len(text.split()), next(filter(str.isalpha, text), "")
    stopped = text.endswith((".", "!", "?"))
    return (
        style.min_words <= words
        and (style.max_words is None or words <= style.max_words)
        and (style.max_chars is None or len(text) <= style.max_chars)
        and not (style.one_line and "\n" in text)
        and (style.starts == "any" or not first or first.isupper() == (style.starts == "upper"))
        and (style.ends == "any" or stopped == (style.ends == "stop"))
        and not (banned and banned.search(text.casefold()))
    )


def _json_fields(text: str) -> dict[str, str]:
    """The leaves of a JSON object by their paths; none of what is not one."""
    try:
        content = json.loads(text)
        return dict(_leaves(content)) if isinstance(content, dict) else NO_FIELDS
    except (ValueError, RecursionError):
        return NO_FIELDS


def _leaves(content: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(content, dict) and content:
        return [leaf for key, value in content.items() for leaf in _leaves(value, f"{path}.{json.dumps(key)}")]
    if isinstance(content, list) and content:
        return [leaf for place, value in enumerate(content) for leaf in _leaves(value, f"{path}[{place}]")]
    return [(path, json.dumps(content, sort_keys=True))]


def _line_fields(text: str) -> dict[str, str]:
    return {key.casefold(): " ".join(value.split()) for key, value in FIELD.findall(text)}


def _steps(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = [part for part in NUMBERED.split(lines[0]) if part.strip()]
    bare = [" ".join(NUMBERED.sub("", BULLET.sub("", line), count=1).split()) for line in lines]
    return [step.casefold().rstrip(".;,") for step in bare if step]


def _values(found: Any) -> Values:
    return np.fromiter(map(float, found), dtype=np.float64)
