"""Steps of more than one batch, with too little memory, over-fit, and with adapters."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook

from pipelines.artifact import Tokens, Weights
from pipelines.encode import encode
from pipelines.errors import UserError
from pipelines.spec import Architecture, Training
from pipelines.spec.training import Lora
from pipelines.training import base
from pipelines.training.adapters import strange
from pipelines.training.fit import fit
from pipelines.training.forward import BytewiseDropout
from pipelines.training.loop import Loop, out_of_memory
from pipelines.training.pairs import Pairs
from pipelines.training.progress import lines
from tests.training import line

STILL = line.TRAINING.model_copy(update={"architecture": line.TRAINING.architecture.model_copy(update={"dropout": 0.0})})


SHORT = STILL.model_copy(update={"steps": 6, "validate_steps": 6})


@pytest.fixture(scope="module")
def plenty(work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plenty")
    assert facts_of(fit(line.encoded(work), SHORT, None, out))["split"] == 1
    return out


def facts_of(weights: Weights) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((weights.path / "training.json").read_text())
    return facts


def facts_of_tokens(tokens: Tokens) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((tokens.path / "tokens.json").read_text())
    return facts


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in lines(next(out.glob("weights-*.jsonl"))) if "loss" in row and "event" not in row]


def loop_of(tokens: Tokens, training: Training) -> Loop:
    torch.manual_seed(1)
    model = base.from_scratch(training.architecture, 400, line.SECTION.max_source)
    return Loop(model, tokens.path, training, rebuild=False, longest_target=line.SECTION.max_target)


def gradients(loop: Loop, parts: list[Pairs]) -> list[torch.Tensor]:
    loop.optimizer.zero_grad()
    loop._backward(parts)
    return [weight.grad.clone() for weight in loop.model.parameters() if weight.grad is not None]


def test_batches_of_a_step_and_pieces_of_a_batch_add_up_to_one_large_batch(work: Path) -> None:
    loop = loop_of(line.encoded(work), STILL.model_copy(update={"accumulate": 3}))
    parts = loop._next()
    assert len(parts) == 3
    whole = Pairs([ids for part in parts for ids in part.sources], [ids for part in parts for ids in part.targets])
    wanted = gradients(loop, [whole])
    in_steps = gradients(loop, parts)
    loop.state.split = 4
    in_pieces = gradients(loop, [whole])
    scale = max(grad.abs().max().item() for grad in wanted)
    for want, stepped, pieced in zip(wanted, in_steps, in_pieces, strict=True):
        assert torch.allclose(want, stepped, atol=0.02 * scale)  # bfloat16 where that is fast
        assert torch.allclose(want, pieced, atol=0.02 * scale)


@given(st.integers(1, 40), st.integers(1, 64))
def test_pieces_of_a_batch_are_its_rows_in_order(rows: int, parts: int) -> None:
    pairs = Pairs([[row, 2] for row in range(rows)], [[row, 2] for row in range(rows)])
    pieces = pairs.divided(parts)
    assert [ids for piece in pieces for ids in piece.sources] == pairs.sources
    assert len(pieces) == min(parts, rows)
    assert max(len(piece.sources) for piece in pieces) - min(len(piece.sources) for piece in pieces) <= 1


def test_accumulated_steps_read_as_many_batches_and_carry_on_from_a_checkpoint(work: Path, tmp_path: Path) -> None:
    tokens, training = line.encoded(work), line.TRAINING.model_copy(update={"accumulate": 2, "steps": 8, "validate_steps": 4})
    facts = facts_of(fit(tokens, training, None, tmp_path))
    once = facts_of(fit(tokens, training.model_copy(update={"accumulate": 1}), None, tmp_path))
    assert facts["tokens"] > 1.7 * once["tokens"]
    whole, torn = loop_of(tokens, training), loop_of(tokens, training)
    for _ in range(3):
        whole.step()
        torn.step()
    resumed = loop_of(tokens, training)
    resumed.restore(torn.checkpoint())
    for _ in range(4):
        assert whole.step() == resumed.step()


@pytest.fixture
def little_memory() -> Iterator[None]:
    """While a model trains, reading more than six rows at once asks torch for memory that no machine has."""

    def ask(layer: torch.nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(layer, torch.nn.Embedding) and layer.training and given and len(given[0]) > 6:
            torch.empty(1 << 60, dtype=torch.uint8)

    hook = register_module_forward_pre_hook(ask)
    yield
    hook.remove()


@pytest.mark.usefixtures("little_memory")
def test_out_of_memory_reads_batches_in_pieces_and_learns_the_same(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], plenty: Path
) -> None:
    little = facts_of(fit(line.encoded(work), SHORT, None, tmp_path))
    assert little["split"] in (2, 4)
    assert "training: out of memory at step 1: batches are read in 2 pieces from here on" in capsys.readouterr().out
    assert losses(tmp_path) == pytest.approx(losses(plenty), abs=0.02)


def test_what_says_that_memory_is_used_up() -> None:
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(refused.value)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_over_fit_ends_the_training_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight pairs are soon known by heart, while the held-out ones ask for other words."""
    tokens = encode(line.dataset(tmp_path, 8), line.SECTION, line.PLACEHOLDERS, None, tmp_path)
    training = STILL.model_copy(
        update={"steps": 200, "denoising": 0.0, "learning_rate": 3e-3, "patience": 100, "overfit": 0.5, "validate_steps": 10}
    )
    facts = facts_of(fit(tokens, training, None, tmp_path))
    assert facts["overfit"] is True
    assert facts["step"] < 200
    assert facts["gap"] > 0.5
    said = capsys.readouterr().out
    assert f"over-fit at step {facts['step']} and ended: validation is {facts['gap']:.2f} nats above training" in said


def test_the_gap_is_told_without_a_limit(work: Path) -> None:
    facts = facts_of(line.trained(work))
    assert facts["overfit"] is False
    assert abs(facts["gap"]) < 2


def test_dropout_by_bytes_keeps_the_mean_and_drops_the_share() -> None:
    torch.manual_seed(5)
    values = torch.ones(400, 251, requires_grad=True)
    with BytewiseDropout():
        dropped = functional.dropout(values, 0.1, training=True)
        assert torch.equal(functional.dropout(values, 0.1, training=False), values)
        assert not functional.dropout(values, 1.0, training=True).any()
    assert (dropped == 0).float().mean().item() == pytest.approx(26 / 256, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    for part in range(8):  # no byte of a draw is another than the rest
        assert (dropped.flatten()[part::8] == 0).float().mean().item() == pytest.approx(26 / 256, abs=0.012)
    dropped.sum().backward()
    assert values.grad is not None
    assert np.array_equal(values.grad.numpy(), dropped.detach().numpy())


@pytest.mark.parametrize("targets", [(), ("q_proj", "v_proj")])
def test_adapters_learn_and_are_gone_in_the_end(work: Path, tmp_path: Path, targets: tuple[str, ...]) -> None:
    pytest.importorskip("peft")
    start = line.trained(work)
    lora = Lora(rank=4, targets=targets)
    training = STILL.model_copy(update={"base": "somewhere", "lora": lora, "steps": 30, "validate_steps": 15})
    made = fit(line.encoded(work), training, start.path, tmp_path)
    facts, of_start = facts_of(made), facts_of(start)
    assert facts["parameters"] == of_start["parameters"]
    assert facts["best_loss"] < of_start["best_loss"]
    before, after = (load_file(each.path / "model.safetensors") for each in (start, made))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("proj" in name or "fc" in name for name in changed)
    again = fit(line.encoded(work), line.TRAINING.model_copy(update={"steps": 1, "learning_rate": 1e-9}), made.path, tmp_path)
    assert facts_of(again)["best_loss"] == pytest.approx(facts["best_loss"], abs=0.05)


def test_pieces_that_adapters_cannot_learn_are_told(work: Path) -> None:
    base = line.trained(work).path
    known = facts_of_tokens(line.encoded(work))["vocabulary"]
    assert strange(base, known) is None
    told = strange(base, known + 3)
    assert told is not None
    assert told.startswith("training.lora: 3 pieces are new to the base")


def test_adapters_on_layers_that_are_not_there_are_refused(work: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    training = line.TRAINING.model_copy(update={"base": "somewhere", "lora": Lora(targets=("nowhere",))})
    with pytest.raises(UserError, match=r"training\.lora\.targets: the base has no such layers"):
        fit(line.encoded(work), training, line.trained(work).path, tmp_path)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"lora": {}}, "lora needs a base"),
        ({"accumulate": 2, "private": {"noise": 1.0}}, "leave accumulate at 1"),
        ({"base": "x", "lora": {}, "private": {"noise": 1.0}}, "does not go with private"),
    ],
)
def test_keys_that_do_not_go_together(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Training.model_validate({"architecture": Architecture().model_dump(), **keys})
