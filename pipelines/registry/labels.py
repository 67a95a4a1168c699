"""What people said in MLflow: of a model's answers, whether the source supports them, and what they should have been.

Corrections are training data (`corrections`); answers to the review queue's question (queues.py) are labels of the
judge (`judged`): they correct its rate, tell its drift, and are its test set and its lessons.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pipelines.registry.connect import Connection, asking
from pipelines.registry.traces import CHANCE, DRAWN, VERDICT, VERDICT_WEIGHT, WEIGHT

if TYPE_CHECKING:
    from mlflow.entities import Assessment, Trace

QUESTION, SPAN, EXPECTED = "supported", "unsupported_span", "expected_response"
"""The queue's questions: one of ANSWER_NAMES, the words that nothing supports, what the answer should have been."""
Answer = Literal["supported", "unsupported", "can't tell"]
ANSWER_NAMES: tuple[Answer, ...] = ("supported", "unsupported", "can't tell")
SOURCES = ("text", "source", "input", "inputs", "request", "prompt")
ANSWERS = ("text", "target", "output", "outputs", "response", "answer")
PAGE = 100


class Correction(NamedTuple):
    """What a `reviewer` made of the answer in a `trace`.

    `answer` is the model's own, None where the trace does not tell it as a text.
    """

    source: str
    expected: str
    answer: str | None
    reviewer: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Judged:
    """What one `reviewer` last said, `at` (seconds since the epoch), of one answer that `version` gave.

    `verdict` is whether the judge had flagged it, None where it gave no verdict. `drawn` names the strata that the answer was
    drawn by; `weight` is for how many answers with that verdict its trace stands (queues.Listed). `span` is a part of `output`
    that the reviewer found unsupported, empty where none was named. `chance` is the probability with which any answer like
    it, sampled or not, is labelled; None where it was labelled without being drawn.
    """

    item: str
    version: str
    source: str
    output: str
    verdict: bool | None
    answer: Answer
    weight: float
    reviewer: str
    at: float
    span: str = ""
    drawn: frozenset[str] = frozenset()
    chance: float | None = None


@dataclass(frozen=True)
class Answered:
    """Every answer that can be read, in the order of items and reviewers; and a line for each that cannot."""

    rows: list[Judged] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)


class Labels(Connection):
    @asking
    def corrections(self, name: str) -> list[Correction]:
        """Every labelled trace in the experiment `name`; the latest label of a trace counts.

        Only whole traces count: one whose input is not a text (or an object with one text field) is left out.
        """
        corrections = []
        for trace in self._traces(name, f"expectation.{EXPECTED} IS NOT NULL"):
            expected = trace.search_assessments(EXPECTED, type="expectation")
            text = text_of(trace.data.request, SOURCES)
            if expected and text is not None:
                latest: Any = max(expected, key=_when)
                if isinstance(latest.value, str):
                    answer, reviewer = text_of(trace.data.response, ANSWERS), latest.source.source_id or ""
                    corrections.append(Correction(text, latest.value, answer, reviewer.strip().lower(), trace.info.trace_id))
        return corrections

    @asking
    def judged(self, name: str) -> Answered:
        """Every answer to the queue's question on a trace of the experiment `name`; of one reviewer's on a trace the latest."""
        found = Answered()
        for trace in self._traces(name, f"feedback.{QUESTION} IS NOT NULL"):
            rows, malformed = _answers(trace)
            found.rows.extend(rows)
            found.malformed.extend(malformed)
        found.rows.sort(key=lambda row: (row.item, row.reviewer))
        found.malformed.sort()
        return found

    def _traces(self, name: str, filter_string: str) -> "Iterator[Trace]":
        found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            return
        token = None
        while True:
            page = self.client.search_traces(
                locations=[found.experiment_id], filter_string=filter_string, max_results=PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def corrections(uri: str, name: str, artifacts: Path | None = None) -> list[Correction]:
    """What people corrected of model `name` in the MLflow server or database `uri`. Raises Transient, SeqlineError."""
    return Labels(uri, artifacts).corrections(name)


def judged(uri: str, name: str, artifacts: Path | None = None) -> Answered:
    """What people said of answers of model `name` in the MLflow server or database `uri`. Raises Transient, SeqlineError."""
    return Labels(uri, artifacts).judged(name)


def _answers(trace: "Trace") -> tuple[list[Judged], list[str]]:
    """What each reviewer last said of a trace, and what cannot be read. A line never holds a text: it may be anybody's."""
    item = trace.info.trace_id
    source, output = text_of(trace.data.request, SOURCES), text_of(trace.data.response, ANSWERS)
    if source is None or output is None:
        return [], [f"label on {item}: the trace holds no source and output to label: remove it from the queue"]
    rows, malformed = [], []
    for reviewer, said in sorted(_latest(trace, QUESTION).items()):
        fault = _fault(said, reviewer)
        if fault:
            malformed.append(f"label on {item} by {reviewer or 'nobody'}: {fault}")
            continue
        span, odd = _span(_latest(trace, SPAN).get(reviewer), output)
        if odd:
            malformed.append(f"span on {item} by {reviewer}: {odd}")
        tags = trace.info.tags
        rows.append(
            Judged(
                item=item, version=tags.get("seqline.version", ""), source=source, output=output,
                verdict={"flagged": True, "passed": False}.get(tags.get(VERDICT, "")), answer=said.value,
                weight=float(tags.get(VERDICT_WEIGHT, "1")), reviewer=reviewer, at=_when(said) / 1000, span=span,
                drawn=frozenset(each for each in tags.get(DRAWN, "").split(",") if each),
                chance=float(tags[CHANCE]) / float(tags.get(WEIGHT, "1")) if CHANCE in tags else None,
            )
        )  # fmt: skip
    return rows, malformed


def _latest(trace: "Trace", name: str) -> "dict[str, Any]":
    """The last feedback `name` of each who gave one. MLflow tells people's names in lower case; so do we."""
    found: dict[str, Any] = {}
    for each in sorted(trace.search_assessments(name, type="feedback"), key=_when):
        found[(each.source.source_id or "").strip().lower()] = each
    return found


def _fault(said: "Any", reviewer: str) -> str:
    """What is wrong with an answer, and the mend; empty if nothing is."""
    if said.source.source_type != "HUMAN":
        return f"given by a {said.source.source_type} source: only people label; remove it"
    if not reviewer:
        return "no reviewer is named: answer it again under a name"
    if said.value not in ANSWER_NAMES:
        return f"the answer is none of {', '.join(ANSWER_NAMES)}: answer it again"
    return ""


def _span(said: "Any", output: str) -> tuple[str, str]:
    """The span named, and what is wrong with it. A span must stand in the output: other words may be somebody's data."""
    value = said.value if said is not None else ""
    if value is None or value == "":
        return "", ""
    if not isinstance(value, str) or value.strip() not in output:
        return "", "it is no part of the answer, as which it was left out: copy the words as they stand"
    return value.strip(), ""


def _when(assessment: "Assessment") -> int:
    return assessment.last_update_time_ms or assessment.create_time_ms or 0


def text_of(content: Any, names: tuple[str, ...]) -> str | None:
    """What the root span was asked, or said: a text, or the one of these `names` (or the only one) in an object."""
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except ValueError:
            return str(content)
    if isinstance(content, dict):
        named = [content[key] for key in names if key in content]
        content = named[0] if named else next(iter(content.values())) if len(content) == 1 else None
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    return str(content) if isinstance(content, str) else None
