"""The YAML: what is right loads, what is wrong is refused whole, each rule with its file and key."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.errors import UserError
from pipelines.monitoring import since

MINIMAL = "name: tiny\ndata:\n  source: {kind: files, paths: [pairs.csv]}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((Path(__file__).parent.parent / "models").glob("*.yaml")), ids=lambda path: path.name)
def test_every_model_of_ours_loads(path: Path) -> None:
    if "\nkind: base\n" in path.read_text():
        assert all((path.parent / name).is_file() for name in spec.load_base(path).corpora)
        return
    if "\nkind: judge\n" in path.read_text():
        assert all((path.parent / name).is_file() for name in spec.load_judge(path).corpora)
        return
    assert spec.load(path).name == path.stem


def test_the_smallest_spec_takes_every_default(tmp_path: Path) -> None:
    model = spec.load(written(tmp_path, MINIMAL))
    assert [stage.weight for stage in model.rollout.stages] == [1, 5, 25, 50]
    assert model.rollout.approval == "person"


def test_all_errors_at_once_each_with_file_and_key(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "name: Tiny\ndata:\n  source: {kind: files, paths: []}\n  splits: {test: many}\n"
        "training: {steps: -1, stepz: 3}\nrollout: {stages: [{weight: 5, burn: 3}, {weight: 1, burn: 3}]}\n",
    )
    with pytest.raises(UserError) as refused:
        spec.load(path)
    lines = str(refused.value).splitlines()
    assert len(lines) == 6
    for key in ("name", "data.source.paths", "data.splits.test", "training.steps", "training.stepz", "rollout"):
        assert any(line.startswith(f"{path}: {key}: ") for line in lines), key
    assert f"{path}: data.splits.test: must be" in str(refused.value)
    assert "training.stepz: unknown key" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [x\n", "line 2: not valid YAML"),
        ("name: x\nname: y\n", "duplicate key"),
        ("- a\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: x\n", "data: must be given"),
    ],
)
def test_what_is_not_a_spec_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        spec.load(written(tmp_path, text))
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_samples_are_kept_as_long_as_a_watch_looks_back(tmp_path: Path) -> None:
    short = MINIMAL + "serving: {review: {keep_days: 29}}\n"
    with pytest.raises(
        UserError, match=r"keep_days must be at least 30, not 29, with drift and quality in watch\.triggers"
    ) as bad:
        spec.load(written(tmp_path, short))
    assert len(str(bad.value).splitlines()) == 1
    unwatched = spec.load(written(tmp_path, short + "watch: {triggers: [cron, labels]}\n"))
    assert unwatched.serving.review.keep_days == 29
    assert spec.load(written(tmp_path, short.replace("29", "30"))).watch.triggers


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_no_look_at_a_drift_reads_what_may_be_deleted(now: float, promoted: float) -> None:
    assert now - since(now, promoted) <= spec.watch.LOOKED_BACK * 86_400


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.yaml: no such file"):
        spec.load(tmp_path / "nothing.yaml")


def test_no_key_makes_a_section_look_like_a_mapping() -> None:
    """Prefect hands what a flow returns to dict(), which calls an attribute `keys`."""
    sections = [kind for kind in vars(spec).values() if isinstance(kind, type) and issubclass(kind, spec.Section)]
    assert [kind for kind in sections if {"keys", "items", "values"} & set(kind.model_fields)] == []


def test_the_schema_describes_every_key() -> None:
    described = spec.schema()
    json.dumps(described)
    sections = {"Spec": described, **described["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, one in sections.items()
        for key, value in one["properties"].items()
        if "description" not in value
    ]
    assert bare == []


@given(st.lists(st.floats(0.5, 99.5), min_size=1, max_size=6))
def test_stages_must_rise(weights: list[float]) -> None:
    stages = [{"weight": weight, "burn": 2} for weight in weights]
    rising = all(left < right for left, right in itertools.pairwise(weights))
    if rising:
        assert len(spec.Rollout.model_validate({"stages": stages}).stages) == len(weights)
    else:
        with pytest.raises(ValueError, match="stages must rise"):
            spec.Rollout.model_validate({"stages": stages})
