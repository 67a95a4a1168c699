"""What people corrected: traces of a model's experiment whose expectation says what the answer should have been."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.registry.connect import Connection, asking

if TYPE_CHECKING:
    from mlflow.entities import Trace

EXPECTED = "expected_response"
SOURCES = ("text", "source", "input", "inputs", "request", "prompt")
ANSWERS = ("text", "target", "output", "outputs", "response", "answer")
PAGE = 100


class Correction(NamedTuple):
    """What a person made of an answer. `answer` is the model's own, None where the trace does not tell it as a text."""

    source: str
    expected: str
    answer: str | None


class Labels(Connection):
    @asking
    def corrections(self, name: str) -> list[Correction]:
        """Every labelled trace in the experiment `name`; the latest label of a trace counts.

        Only whole traces count: one whose input is not a text (or an object with one text field) is left out.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            return []
        corrections = []
        for trace in self._traces(found.experiment_id):
            expected = trace.search_assessments(EXPECTED, type="expectation")
            text = _text(trace.data.request, SOURCES)
            if expected and text is not None:
                latest: Any = max(expected, key=lambda each: each.last_update_time_ms or 0)
                if isinstance(latest.value, str):
                    corrections.append(Correction(text, latest.value, _text(trace.data.response, ANSWERS)))
        return corrections

    def _traces(self, experiment: str) -> "Iterator[Trace]":
        token = None
        while True:
            page = self.client.search_traces(
                locations=[experiment],
                filter_string=f"expectation.{EXPECTED} IS NOT NULL",
                max_results=PAGE,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return


def labels(uri: str, name: str, artifacts: Path | None = None) -> list[tuple[str, str]]:
    """(input, expected answer) of each correction of model `name`. Raises as `corrections`."""
    return [(each.source, each.expected) for each in corrections(uri, name, artifacts)]


def corrections(uri: str, name: str, artifacts: Path | None = None) -> list[Correction]:
    """What people corrected of model `name` in the MLflow server or database `uri`. Raises Transient, SeqlineError."""
    return Labels(uri, artifacts).corrections(name)


def _text(content: Any, names: tuple[str, ...]) -> str | None:
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
