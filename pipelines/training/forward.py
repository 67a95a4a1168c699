"""One pass of a model over a batch, with no work that nobody needs.

On a CPU three things cost more than the matrices: torch's fused attention in bfloat16 (four times what plain matrix products
take, at 96 tokens), dropout's random numbers (one draw of the Mersenne twister an element), and an output layer over
positions that are padding.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pipelines.training.pairs import Rectangles


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster: on a GPU that has it, and on a CPU with AMX (a step in 2/3 of the time).

    AVX512-BF16 alone does not make it so: Intel issues half as many of its products a cycle (1.8 times the time of float32).
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))  # older GPUs take it, and are slower by it
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def suited(model: Any, device: torch.device) -> Any:
    """`model` on `device`: with plain matrix products for attention where a CPU computes in bfloat16, else with its own."""
    if device.type == "cpu" and fast_bfloat16(device):
        model.set_attn_implementation("eager")
    return model.to(device)


def summed_loss(model: Any, batch: Rectangles, device: torch.device, smoothing: float) -> torch.Tensor:
    """The loss of `batch` in nats, smoothed, summed over its target tokens."""
    keep = torch.from_numpy(batch.keep).to(device)
    inputs = {
        "input_ids": torch.from_numpy(batch.sources).to(device),
        "decoder_input_ids": torch.from_numpy(batch.previous).to(device),
        # without padding there is nothing to hide, and no mask to make and add
        "attention_mask": None if batch.mask.all() else torch.from_numpy(batch.mask).long().to(device),
    }
    with (
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bfloat16(device)),
        BytewiseDropout() if device.type == "cpu" and model.training else nullcontext(),
        _written_at(model, keep),
    ):
        logits = model(**inputs, use_cache=False).logits[0]
    targets = torch.from_numpy(batch.targets).to(device)[keep]
    return functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing, reduction="sum")


@contextmanager
def _written_at(model: Any, keep: torch.Tensor) -> Iterator[None]:
    """The output layer sees the places in `keep` alone, as one row: logits become 1 x places x vocabulary."""

    def chosen(_layer: torch.nn.Module, hidden: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (hidden[0][keep][None], *hidden[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(chosen)
    try:
        yield
    finally:
        hook.remove()


class BytewiseDropout(TorchFunctionMode):
    """Within it, dropout draws a byte an element instead of 32 bits: in an eighth of the time.

    What is dropped is a share in 256ths (26/256 for 0.1), and the rest is scaled by just that share, so that means are kept
    (in bfloat16 the scale itself is rounded, by 0.4 % at most). `inplace` is not followed: the values given stay as they are.
    """

    def __torch_function__(
        self, called: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if called is functional.dropout:
            return _dropped(*args, **kwargs)
        return called(*args, **kwargs)


def _dropped(values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    parts = round(256 * p)
    if not training or not 0 < parts < 256:
        return functional.dropout(values, p, training, inplace)
    # from -2^63 on, or each eighth byte would lack its highest bit
    drawn = torch.empty((values.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    drawn_bytes = drawn.view(torch.uint8)[: values.numel()].view(values.shape)
    return values * (drawn_bytes >= parts).to(values.dtype).mul_(256 / (256 - parts))
