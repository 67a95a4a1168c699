"""FLOPs: counted from shapes, as the products that torch really does show them."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.training.loop import Loop
from pipelines.training.pairs import Pairs
from pipelines.training.progress import lines
from pipelines.training.speed import Cost, Watch, peak
from tests.training import line
from tests.training.test_steps import STILL, loop_of


@pytest.fixture
def loop(work: Path) -> Loop:
    return loop_of(line.encoded(work), STILL)


def test_what_is_counted_is_what_torch_multiplies_without_attention(loop: Loop) -> None:
    """Sources as long as targets, so that the decoder's products over the source count alike; attention's own come on top."""
    pairs = Pairs([[7, 8, 9, 10, 11, 2]] * 5, [[7, 8, 9, 10, 11, 2]] * 5)
    with FlopCounterMode(display=False) as counter:
        loop._backward([pairs])
    told = loop.cost.steps([pairs])
    assert told <= counter.get_total_flops() <= 1.25 * told


def test_weights_that_do_not_learn_cost_less(loop: Loop) -> None:
    loop.model.requires_grad_(False)
    frozen = Cost.of(loop.model)
    assert (frozen.source, frozen.target) == (loop.cost.source * 4 // 6, loop.cost.target * 4 // 6)


def test_padding_is_no_work(loop: Loop) -> None:
    short, long = [5, 2], [5] * 20 + [2]
    assert loop.cost.steps([Pairs([short, long], [short, short])]) == 23 * loop.cost.source + 4 * loop.cost.target


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("Tesla T4", 8.1e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_peaks_go_by_whole_words(name: str, flops: float | None) -> None:
    assert peak(name) == flops


def test_the_log_ends_with_the_speed_and_training_json_has_the_work(work: Path) -> None:
    weights = line.trained(work)
    facts = json.loads((weights.path / "training.json").read_text())
    *_, last = lines(work / f"{weights.path.name}.jsonl")
    assert last["event"] == "end"
    assert last["step"] == facts["step"]
    assert last["flops_per_second"] > 0
    assert 0 < last["validating"] < 1
    if not torch.cuda.is_available():
        assert last["utilisation"] is None
        assert facts["speed"] is None, "the same input gives the same bytes"
    assert facts["flops"] > 6 * facts["tokens"]


def test_nothing_done_is_no_speed() -> None:
    assert Watch(5).speed(5, torch.device("cpu")).flops_per_second == 0
