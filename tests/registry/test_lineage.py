import json

import pytest

from pipelines.errors import SeqlineError
from pipelines.registry import Registry
from tests.registry.conftest import KEY, SCORES, SCRUB, SPEC, Make


def test_history_is_ordered_and_keeps_an_event_once(registry: Registry, candidate: Make) -> None:
    made = registry.register("tiny", candidate(), KEY)
    later = registry.version("tiny", "1")
    start = registry.history("tiny")[0].at
    for _ in range(2):
        registry.record(made, "stage", {"weight": 5}, start + 2, "7")
    registry.record(made, "stage", {"weight": 1}, start + 1, "6")
    registry.record(later, "rolled back", {"why": "5 % of the answers failed", "numbers": list(range(3000))}, start + 3, "8")
    entries = registry.history("tiny")
    assert [(entry.event, entry.version) for entry in entries] == [
        ("registered", "1"),
        ("stage", "1"),
        ("stage", "1"),
        ("rolled back", "1"),
    ]
    assert [entry.detail for entry in entries[1:3]] == [{"weight": 1}, {"weight": 5}]
    kept = registry.text(made.run_id, entries[-1].detail["artifact"])
    assert json.loads(kept or "")["detail"]["why"] == "5 % of the answers failed"


def test_lineage_names_where_a_version_comes_from(registry: Registry, candidate: Make) -> None:
    made = registry.register("tiny", candidate(), KEY)
    registry.set_alias("tiny", "champion", "1")
    told = registry.lineage("tiny")
    assert told == registry.lineage("tiny", "1")
    assert (told["data_md5"], told["commit"], told["spec_sha256"], told["dirty"]) == ("b" * 32, "c" * 40, "a" * 64, False)
    assert (told["spec"], told["scores"], told["scrub"]) == (SPEC, SCORES, SCRUB)
    assert told["data_dvc"].startswith("outs:")
    assert [registry.data_of("tiny", version) for version in ("1", "2")] == ["b" * 32, ""]
    assert told["gate"]["passed"] is True
    assert (told["export"], told["run_id"], told["aliases"]) == (made.manifest, made.run_id, ["champion"])
    assert told["production"] is None
    json.dumps(told)


def test_lineage_of_nothing_says_so(registry: Registry, candidate: Make) -> None:
    with pytest.raises(SeqlineError, match="tiny: no version has the alias 'champion'"):
        registry.lineage("tiny")
    registry.register("tiny", candidate(), KEY)
    with pytest.raises(SeqlineError, match="version=4"):
        registry.lineage("tiny", "4")
