"""What people corrected: traces of a model's experiment whose expectation says what the answer should have been."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.registry.connect import Connection, asking

if TYPE_CHECKING:
    from mlflow.entities import Trace

EXPECTED = "expected_response"
SOURCES = ("text", "source", "input", "inputs", "request", "prompt")
PAGE = 100


class Labels(Connection):
    @asking
    def pairs(self, name: str) -> list[tuple[str, str]]:
        """(input, expected answer) of every labelled trace in the experiment `name`; the latest label of a trace counts.

        Only whole traces count: one whose input is not a text (or an object with one text field) is left out.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            return []
        pairs = []
        for trace in self._traces(found.experiment_id):
            expected = trace.search_assessments(EXPECTED, type="expectation")
            text = _input(trace)
            if expected and text is not None:
                latest: Any = max(expected, key=lambda each: each.last_update_time_ms or 0)
                if isinstance(latest.value, str):
                    pairs.append((text, latest.value))
        return pairs

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
    """The labelled pairs of model `name` in the MLflow server or database `uri`. Raises Transient, SeqlineError."""
    return Labels(uri, artifacts).pairs(name)


def _input(trace: "Trace") -> str | None:
    """The text that the model was asked about: the root span's inputs, a text or an object that holds one."""
    content: Any = trace.data.request
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except ValueError:
            return str(content)
    if isinstance(content, dict):
        named = [content[key] for key in SOURCES if key in content]
        content = named[0] if named else next(iter(content.values())) if len(content) == 1 else None
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    return str(content) if isinstance(content, str) else None
