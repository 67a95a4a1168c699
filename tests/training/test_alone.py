"""The base alone: its own weights, as an Export that scoring decodes beside the model."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from pipelines import spec
from pipelines.scoring import score
from pipelines.training.alone import alone
from pipelines.training.export import export
from pipelines.training.fit import fit
from tests.training import line

SCORING = spec.Scoring(resamples=100, base=True, gate=spec.Gate(beats=("base",)))


def test_no_step_leaves_the_base_as_it_is_and_the_report_stands_beside_it(work: Path, tmp_path: Path) -> None:
    base, tokens = line.trained(work), line.encoded(work)
    made = alone(tokens, line.TRAINING, base.path, tmp_path)
    ours, theirs = load_file(made.path / "model.safetensors"), load_file(base.path / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    tuned = fit(tokens, line.TRAINING.model_copy(update={"steps": 5, "learning_rate": 1e-5}), base.path, tmp_path)
    exported, beside = (export(weights, "float32", tmp_path) for weights in (tuned, made))
    report = score(exported, line.dataset(work), None, SCORING, spec.Decoding(max_tokens=12), tmp_path, base=beside.path)
    found = json.loads((report.path / "scores.json").read_text())
    assert 0 <= found["comparison"]["base"]["p"] <= 1
    rule = next(rule for rule in json.loads((report.path / "gate.json").read_text())["rules"] if rule["rule"] == "beats_base")
    assert rule["interval"] == found["comparison"]["base"]["interval"]
    without = score(exported, line.dataset(work), None, SCORING, spec.Decoding(max_tokens=12), tmp_path)
    rule = next(rule for rule in json.loads((without.path / "gate.json").read_text())["rules"] if rule["rule"] == "beats_base")
    assert (rule["verdict"], rule["passed"]) == ("skipped", True)
