"""The cross-encoder: what it reads, that it learns, and that what runs is what was trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertModel

from pipelines.errors import UserError
from pipelines.scoring.judge.corrupt import Kind, Pairs, corrupt
from pipelines.scoring.judge.cross import HEADS, Cross, Pieces, joined
from pipelines.scoring.judge.crossfit import Example, Schedule, train
from tests.scoring.judge.encoders import KINDS, USES, pairs, tiny_encoder

WORDS = [*KINDS, *USES, *(chr(97 + place) for place in range(1, 26)), *"0123456789", "package", "description"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


def examples(count: int, seed: int, kind: Kind = "stale") -> list[Example]:
    sources, targets = pairs(count, seed)
    found = []
    for each in corrupt(Pairs(sources, targets), range(count), kind, seed):
        found += [Example(sources[each.row], targets[each.row])]
        found += [Example(sources[each.row], each.output, each.start, each.end)]
    return found


@pytest.fixture(scope="module")
def cross(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Cross:
    folder = tmp_path_factory.mktemp("cross")
    train(examples(60, 1), encoder, Schedule(batch=8, length=64), folder)
    return Cross(folder)


def test_a_short_source_is_one_window_and_a_long_one_several_that_overlap(encoder: Path) -> None:
    pieces = Pieces(encoder, 32)
    short, long, output = pieces.encode(["a tool for maps", " ".join(["maps"] * 50), "a tool"])
    (one,) = pieces.windows(short, output)
    assert one.ids == [pieces.cls, *short.ids, pieces.sep, *output.ids, pieces.sep]
    assert one.ids[one.at] == output.ids
    windows = list(pieces.windows(long, output))
    assert all(len(each.ids) <= 32 and each.ids[each.at] == output.ids for each in windows)
    assert sum(len(each.ids) - len(output.ids) - 3 for each in windows) > len(long.ids)


@pytest.mark.parametrize("length", range(1, len(WORDS), 7))
def test_every_word_of_the_source_stands_in_a_window(encoder: Path, length: int) -> None:
    pieces = Pieces(encoder, 24)
    source, output = pieces.encode([" ".join(WORDS[:length]), "a tool for letters and maps"])
    assert len(set(source.ids)) == len(source.ids) == length
    seen = [each.ids[1 : each.types.index(1) - 1] for each in pieces.windows(source, output)]
    at = 0
    for part in seen:
        start = next(place for place in range(at + 1) if source.ids[place : place + len(part)] == part)
        at = max(at, start + len(part))
    assert at == len(source.ids)


def test_what_runs_is_what_was_trained(encoder: Path, tmp_path: Path) -> None:
    """Int8 against the library's float32, with the same heads."""
    train(examples(8, 2), encoder, Schedule(batch=4, learning_rate=1e-9, length=64), tmp_path)
    heads = load_file(tmp_path / HEADS)
    source, output = "a tool for maps on Debian", "tool for maps"
    reading = Cross(tmp_path).read([source], [output])[0]
    pieces = Pieces(encoder, 64)
    (window,) = pieces.windows(*pieces.encode([source, output]))
    with torch.inference_mode():
        inputs = {"input_ids": torch.tensor([window.ids]), "token_type_ids": torch.tensor([window.types])}
        hidden = BertModel.from_pretrained(encoder, add_pooling_layer=False).eval()(**inputs).last_hidden_state[0].numpy()
    logits = hidden @ heads["weight"].T + heads["bias"]
    assert reading.logit == pytest.approx(joined(float(logits[0, 0]), logits[window.at, 1]), abs=0.1)
    assert [(start, end) for start, end, _ in reading.tokens] == [(0, 4), (5, 8), (9, 13)]


def test_it_learns(encoder: Path, tmp_path: Path) -> None:
    """A denial leaves words behind that no true target here has: a few hundred pairs suffice."""
    train(examples(300, 4, "negation"), encoder, Schedule(batch=16, learning_rate=3e-3, frozen_layers=0, length=64), tmp_path)
    held = examples(40, 5, "negation")
    readings = Cross(tmp_path).read([each.source for each in held], [each.output for each in held])
    logits = np.array([each.logit for each in readings])
    assert (logits[1::2] > logits[::2]).mean() > 0.8


def test_training_is_the_same_twice(encoder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(examples(20, 1), encoder, Schedule(batch=8, length=64), tmp_path / name)
    for path in sorted((tmp_path / "one").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path.name


def test_a_verdict_does_not_hang_on_the_batch(cross: Cross) -> None:
    sources, targets = pairs(12, 3)
    together = cross.read(sources, targets)
    assert [cross.read([source], [target])[0] for source, target in zip(sources, targets, strict=True)] == together


def test_an_empty_output_has_a_reading(cross: Cross) -> None:
    (reading,) = cross.read(["a tool for maps"], [""])
    assert reading.tokens == ()
    assert np.isfinite(reading.logit)


def test_nothing_to_learn_from_is_told(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to learn from"):
        train([Example("a", "b")], encoder, Schedule(), tmp_path)


def test_no_encoder_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not a BERT encoder"):
        train(examples(4, 1), tmp_path, Schedule(), tmp_path / "out")
