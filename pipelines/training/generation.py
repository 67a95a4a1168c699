"""How a version decodes, in the words of its Hugging Face folder: who loads it with transformers alone decodes as is served.

(Not bit for bit: what serves may be quantised, and drawn answers come from other draws.)
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.spec import Decoding


def plain(config: Any, start: int, longest: int) -> Any:
    """A GenerationConfig that decodes greedily, at most `longest` tokens (`start`, the decoder's first one, included).

    The marks are those of `config`, the model's own.
    """
    from transformers import GenerationConfig

    make: Any = GenerationConfig  # transformers leaves its constructor untyped
    return make(
        decoder_start_token_id=start,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        max_length=longest,
    )


def keys_of(decoding: "Decoding") -> dict[str, Any]:
    """`decoding` as keys of generation_config.json; those that do nothing are left out, since transformers warns of them."""
    drawn = decoding.temperature > 0
    found: dict[str, Any] = {"max_new_tokens": decoding.max_tokens, "min_new_tokens": 1, "do_sample": drawn}
    if decoding.no_repeat_ngram:
        found["no_repeat_ngram_size"] = decoding.no_repeat_ngram
    if drawn:
        found |= {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p}
    else:
        found["num_beams"] = decoding.beam
        if decoding.beam > 1:
            found["length_penalty"] = decoding.length_penalty
    return found


def write(folder: Path, decoding: "Decoding") -> None:
    """Put `decoding` into the generation_config.json of `folder`, beside the marks that are there."""
    path = folder / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("max_length", None)  # max_new_tokens stands in for it
    path.write_text(json.dumps(config | keys_of(decoding), indent=2, sort_keys=True) + "\n", encoding="utf-8")
