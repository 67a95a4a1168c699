"""LoRA (Hu et al., 2021) through peft: small matrices learn beside a base's frozen weights, and are added into them at the end.

While training, a checkpoint holds both; the finished weights are a plain model of the base's shape, and nothing later knows.
Embeddings are frozen too: pieces that the tokenizer got beyond the base's own (placeholders) stay as they were drawn.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.spec.training import Lora


def added(model: Any, lora: "Lora") -> Any:
    """`model` with adapters, which alone learn; torch's seed decides where they start.

    Raises:
        UserError: peft is not installed, or no layer has a name of `targets`.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as missing:
        raise UserError(f"training.lora: needs {missing.name}: `pip install 'seqline[lora]'`") from None
    targets = list(lora.targets) or "all-linear"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 by a name it is giving up
            return get_peft_model(model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets))
    except ValueError as error:
        why = str(error).splitlines()[0]
        raise UserError(f"training.lora.targets: the base has no such layers ({why}): leave targets out for all") from None


def strange(base: Path, vocabulary: int) -> str | None:
    """A line for a person where some of `vocabulary` pieces are new to the tokenizer of the `base` folder."""
    from tokenizers import Tokenizer

    path = base / "tokenizer.json"
    new = vocabulary - Tokenizer.from_file(str(path)).get_vocab_size() if path.is_file() else 0
    if new <= 0:
        return None
    return f"training.lora: {new} pieces are new to the base (placeholders?): adapters do not learn them: train without lora"


def merged(model: Any) -> Any:
    """`model` with its adapters, if it has any, added into its own weights."""
    return model.merge_and_unload() if hasattr(model, "peft_config") else model
