import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.errors import UserError
from pipelines.registry import card, package
from pipelines.spec import Architecture, Training
from pipelines.spec.training import Private
from pipelines.training import base, forward, private
from pipelines.training.private import PrivateLoop, clipping, epsilon_of, gaussian, noise_for, sampled
from pipelines.training.progress import Journal
from tests.training import line

PRIVATE = line.TRAINING.model_copy(
    update={"private": Private(epsilon=8.0), "steps": 20, "validate_steps": 10, "checkpoint_steps": 5}
)


def facts_of(weights: Any) -> dict[str, Any]:
    return dict(json.loads((weights.path / "training.json").read_text()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("private")
    line.trained(out, PRIVATE)
    return out


def bart() -> Any:
    return base.from_scratch(Architecture(width=32, heads=2, encoder_layers=2, decoder_layers=2, dropout=0.0), 400, 64)


def t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=400, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2, dropout_rate=0.0)
    config.decoder_start_token_id = 0
    return T5ForConditionalGeneration(config)


def m2m() -> Any:
    """Position embeddings that are not learnt, and layers dropped at random unless that is turned off."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    bare: Any = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    config = M2M100Config(
        vocab_size=400, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, encoder_layerdrop=0.5, decoder_layerdrop=0.5, **bare,
    )  # fmt: skip
    return M2M100ForConditionalGeneration(config)


@pytest.mark.parametrize("make", [bart, t5, m2m])
def test_the_gradients_of_each_pair_are_those_of_a_backward_pass_a_pair(
    folder: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    """Shared embeddings and pairs of unlike lengths included; in float32, where a comparison can be close."""
    for module in (forward, private):
        monkeypatch.setattr(module, "fast_bfloat16", lambda _: False)
    torch.manual_seed(3)
    trained = PrivateLoop(make(), line.encoded(folder).path, PRIVATE, rebuild=False, longest_target=12)
    assert trained.model.get_input_embeddings().weight is trained.model.lm_head.weight
    pairs = trained.train_pairs.of(np.arange(6))
    assert len(set(map(len, pairs.sources))) > 1
    together, losses = trained.gradients(pairs)
    for row in range(6):
        trained.model.zero_grad()
        total, count = trained._loss(pairs.of(np.array([row])))
        mean: Any = total / count
        mean.backward()
        assert losses[row].item() == pytest.approx(total.item() / count, rel=1e-5)
        for name, weight in trained.learnt.items():
            torch.testing.assert_close(together[name][row], weight.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_dropout_differs_from_pair_to_pair(folder: Path) -> None:
    model = base.from_scratch(Architecture(width=32, heads=2, encoder_layers=1, decoder_layers=1, dropout=0.5), 400, 64)
    trained = PrivateLoop(model, line.encoded(folder).path, PRIVATE, rebuild=False, longest_target=12)
    _, losses = trained.gradients(trained.train_pairs.of(np.zeros(4, dtype=np.int64)))
    assert len(set(losses.tolist())) == 4


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=12, max_size=12), st.floats(1e-3, 10))
def test_no_pair_weighs_more_than_the_clip(numbers: list[float], clip: float) -> None:
    rows = torch.tensor(numbers).reshape(3, 4)
    gradients = {"matrix": rows[:, :3].reshape(3, 3, 1), "bias": rows[:, 3:]}
    clipped = clipping(gradients, clip)[:, None] * rows
    assert (clipped.norm(dim=1) <= clip * (1 + 1e-5)).all()
    short = rows.norm(dim=1) <= clip
    assert torch.equal(clipped[short], rows[short])


def test_a_gradient_that_is_not_finite_is_not_clipped_into_one() -> None:
    shares = clipping({"weight": torch.tensor([[torch.inf], [torch.nan], [2.0]])}, 1.0)
    assert torch.isnan(shares[:2]).all()
    assert shares[2] == 0.5


def stepped(trained: PrivateLoop) -> tuple[torch.Tensor, tuple[float, int, float]]:
    """The gradient that the optimiser gets in the next step, and what the step returns."""
    seen: list[torch.Tensor] = []
    trained.optimizer.register_step_pre_hook(
        lambda *_: seen.extend(weight.grad.flatten().clone() for weight in trained.learnt.values() if weight.grad is not None)
    )
    done = trained.step()
    return torch.cat(seen), done


def test_dropout_does_not_follow_from_the_seed(folder: Path) -> None:
    """All pairs, next to no noise, the same weights and seed: what differs is dropout (and not, without dropout)."""
    wanted = PRIVATE.model_copy(update={"private": Private(noise=1e-9), "batch_tokens": 100_000})

    def gradient(dropout: float) -> torch.Tensor:
        torch.manual_seed(5)
        shape = Architecture(width=32, heads=2, encoder_layers=1, decoder_layers=1, dropout=dropout)
        model = base.from_scratch(shape, 400, 64)
        return stepped(PrivateLoop(model, line.encoded(folder).path, wanted, rebuild=False, longest_target=12))[0]

    torch.testing.assert_close(gradient(0.0), gradient(0.0), rtol=1e-3, atol=1e-6)
    assert (gradient(0.5) - gradient(0.5)).norm() > 1e-3


def test_a_step_without_any_pair_is_noise_over_the_expected_number(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size gives away neither the draw nor the data: deviation = noise x clip / expected pairs."""
    wanted = PRIVATE.model_copy(update={"private": Private(noise=2.0, clip=0.5)})
    trained = PrivateLoop(bart(), line.encoded(folder).path, wanted, rebuild=False, longest_target=12)
    monkeypatch.setattr(private, "sampled", lambda *_: np.array([], dtype=np.int64))
    noise, (loss, read, _) = stepped(trained)
    assert (loss, read) == (0.0, 0)
    assert noise.std().item() == pytest.approx(2.0 * 0.5 / trained.expected, rel=0.03)
    assert trained.expected == pytest.approx(120 * trained.sample_rate)
    assert trained.private()["steps"] == 1


def test_noise_is_normal_and_never_the_same() -> None:
    draws = gaussian(400_001)
    assert len(draws) == 400_001
    assert abs(draws.mean()) < 0.01
    assert draws.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(draws) < 1.959964).mean() == pytest.approx(0.95, abs=0.003)
    assert (np.abs(draws) > 3).mean() == pytest.approx(0.0027, abs=0.0008)
    assert abs(np.corrcoef(draws[:200_000], draws[200_001:])[0, 1]) < 0.015  # the two halves of a draw
    assert not np.array_equal(draws[:10], gaussian(10))


def test_sampling_draws_each_row_on_its_own() -> None:
    drawn = [sampled(10_000, 0.1) for _ in range(20)]
    assert np.mean([*map(len, drawn)]) == pytest.approx(1_000, abs=50)
    assert len({*map(len, drawn)}) > 1
    assert all(np.array_equal(rows, np.unique(rows)) for rows in drawn)
    assert len(sampled(50, 1.0)) == 50


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 20.0])
def test_the_noise_found_keeps_the_epsilon_and_little_less_would_not(epsilon: float) -> None:
    noise = noise_for(epsilon, 1e-5, 0.01, 1_000)
    assert epsilon - 0.02 < epsilon_of([[noise, 0.01, 1_000]], 1e-5) <= epsilon
    assert epsilon_of([[noise * 0.97, 0.01, 1_000]], 1e-5) > epsilon
    assert epsilon_of([[noise, 0.01, 500], [noise, 0.01, 500]], 1e-5) <= epsilon + 1e-6
    assert epsilon_of([], 1e-5) == 0


def test_an_epsilon_out_of_reach_is_refused() -> None:
    with pytest.raises(UserError, match=r"^training\.private\.epsilon: no noise keeps 1e-09 over 1000 steps"):
        noise_for(1e-9, 1e-9, 1.0, 1_000)


def test_a_private_training_learns_and_says_what_it_spent(folder: Path) -> None:
    weights = line.trained(folder, PRIVATE)
    facts = facts_of(weights)
    losses = [loss for _, loss in facts["validations"]]
    assert facts["best_loss"] == min(losses) < losses[0]
    said = facts["private"]
    assert 7.9 < said["epsilon"] <= 8
    assert said["delta"] == pytest.approx(1 / 120)
    assert (said["steps"], said["clip"], said["accountant"]) == (20, 1.0, "rdp")
    assert 0 < said["sample_rate"] < 1
    assert said["epsilon"] == epsilon_of([[said["noise_multiplier"], said["sample_rate"], 20]], said["delta"])
    assert "spent" not in facts


def test_an_ordinary_training_says_that_it_is_not_private(tmp_path: Path) -> None:
    facts = facts_of(line.trained(tmp_path, line.TRAINING.model_copy(update={"steps": 1})))
    assert facts["private"] is None
    assert card.differential_privacy(facts["private"]).startswith("Trained without differential privacy")


def test_the_noise_does_not_follow_from_the_seed(tmp_path: Path) -> None:
    few = PRIVATE.model_copy(update={"steps": 1})
    once, again = (line.trained(tmp_path / name, few) for name in ("once", "again"))
    assert once.path.name == again.path.name
    assert once.sha256 != again.sha256


def test_broken_off_and_resumed_it_accounts_for_the_same_steps(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken off by hand (test_fit kills processes): the checkpoint of step 5 is the last, two steps are lost."""
    with monkeypatch.context() as patched:
        note = Journal.step

        def interrupted(journal: Journal, step: int, *rest: Any) -> None:
            note(journal, step, *rest)
            if step == 7:
                raise KeyboardInterrupt

        patched.setattr(Journal, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            line.trained(tmp_path, PRIVATE)
    resumed = line.trained(tmp_path, PRIVATE)
    assert "resumed at step 5 (2 steps repeated)" in capsys.readouterr().out
    assert facts_of(resumed)["private"] == facts_of(line.trained(folder, PRIVATE))["private"]


def test_card_and_metrics_carry_it(folder: Path) -> None:
    training = facts_of(line.trained(folder, PRIVATE))
    said = card.differential_privacy(training["private"])
    assert said.startswith(
        f"Trained with differential privacy (DP-SGD): epsilon {training['private']['epsilon']:.2f} at delta 8.3e-03 ("
    )
    for word in ("any one training pair", "tokenizer", "validation pairs", "add up"):
        assert word in said
    told = card.Facts(scores={}, gate={}, dataset={}, scrub={}, export={}, training=training)
    metrics = dict(package.metrics(told))
    assert metrics["private.epsilon"] == training["private"]["epsilon"]
    assert {"private.delta", "private.noise_multiplier", "private.steps"} <= metrics.keys()


def test_without_opacus_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(UserError, match=r"^training\.private: needs opacus: `pip install 'seqline\[dp\]'`$"):
        line.trained(tmp_path, PRIVATE)


@pytest.mark.parametrize(
    "wrong", [{}, {"epsilon": 1, "noise": 1}, {"epsilon": 0}, {"noise": 1, "delta": 1}, {"noise": 1, "clip": 0}]
)
def test_a_wrong_section_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Training.model_validate({"private": wrong})
