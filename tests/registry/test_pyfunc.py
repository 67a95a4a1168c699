"""What MLflow loads from a version answers as the decoder that serves it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import artifact
from pipelines.decode import Decoder
from pipelines.registry import Registry
from pipelines.spec import Decoding
from pipelines.training.export import export
from tests.registry.conftest import KEY, Make

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "a", "small", "library", "for", "reading", "images", "<PERSON_1>"]


def tiny_bart(folder: Path) -> None:
    """A random BART of a few thousand parameters, in the shape that training leaves."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(3)
    shape = {
        f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in (("layers", 1), ("attention_heads", 2))
    }
    wide = {
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "d_model": 16,
        "max_position_embeddings": 32,
        "vocab_size": len(WORDS),
    }
    marks = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": None}
    BartForConditionalGeneration(BartConfig(**shape, **wide, **marks)).eval().save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps({"steps": 3, "max_source": 16, "max_target": 8}))
    (folder / "probes.json").write_text(json.dumps({"source_ids": [[0, 4, 5, 6, 2]], "target_ids": [[5, 6, 2]]}))


def test_the_registered_model_answers_as_the_decoder_does(
    registry: Registry, candidate: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    weights = artifact.make(artifact.Weights, tmp_path / "bart", tiny_bart)
    made = registry.register("tiny", replace(candidate(), weights=weights, export=export(weights, "int8", tmp_path)), KEY)
    texts = ["a small library for reading images", "images for <PERSON_1>"]
    decoder = Decoder(registry.fetch("tiny", made.version, tmp_path / "live"))
    wanted = [answer.text for answer in decoder.generate(texts, Decoding(beam=2, max_tokens=8))]

    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    assert mlflow.pyfunc.load_model("models:/tiny/1").predict(texts) == wanted
    assert any(wanted)
