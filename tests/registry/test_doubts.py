"""Which sampled answers were kept because something doubted them: counted in MLflow itself."""

import shutil
from dataclasses import replace
from pathlib import Path

from pipelines.registry.doubts import Doubts
from pipelines.registry.traces import Traces
from tests.registry.test_traces import SAMPLED


def test_the_doubted_answers_of_a_time_are_found_the_newest_first(tmp_path: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert Doubts(uri).since("tiny", 0.0, 2e9) is None
    traces = Traces(uri, "tiny")
    for number, reason in enumerate(("random", "filter", "judge", "feedback", "filter")):
        traces.write(replace(SAMPLED, key=f"r{number}.2.0", request=f"r{number}", reason=reason, at=SAMPLED.at + number))
    found = Doubts(uri).since("tiny", SAMPLED.at, SAMPLED.at + 3)
    assert found is not None
    assert [(each.reason, round(each.at - SAMPLED.at)) for each in found[0]] == [("feedback", 3), ("judge", 2), ("filter", 1)]
    assert {each.version for each in found[0]} == {"3"}
