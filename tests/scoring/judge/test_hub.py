"""Judges of others, on small folders of the same architectures; the real weights are not here."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, T5Config, T5ForTokenClassification

from pipelines.errors import UserError
from pipelines.scoring.judge.hub import open_hub, open_local

SOURCE = "The cat sat on the mat. The dog ran."
SHAPE = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


def tokenizer(folder: Path) -> None:
    words = ["[UNK]", "<pad>", "</s>", "the", "The", "cat", "sat", "on", "mat", "dog", "ran", "a", "bird", ".", ":", "Premise"]
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()  # type: ignore[assignment]
    marks = {"unk_token": "[UNK]", "pad_token": "<pad>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **marks).save_pretrained(folder)


def hhem(folder: Path) -> T5ForTokenClassification:
    """As Vectara's: weights under `t5.`, a foundation that has shape and tokenizer."""
    torch.manual_seed(1)
    model = T5ForTokenClassification(T5Config(**SHAPE, num_labels=2))
    foundation = folder / "foundation"
    model.config.save_pretrained(foundation)
    tokenizer(foundation)
    weights = {f"t5.{name}": tensor.clone() for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"architectures": ["HHEMv2ForSequenceClassification"], "foundation": "foundation"})
    )
    return model.eval()


def test_hhem_says_what_its_weights_say(tmp_path: Path) -> None:
    model = hhem(tmp_path)
    judge = open_local(tmp_path, threshold=0.5)
    (verdict,) = judge.judge([SOURCE], ["The cat sat."])
    prompt = f"<pad> Determine if the hypothesis is true given the premise?\n\nPremise: {SOURCE}\n\nHypothesis: The cat sat."
    with torch.inference_mode():
        logits = model(**judge.tokenizer(prompt, return_tensors="pt")).logits[0, 0]
    assert verdict.support == pytest.approx(float(logits.softmax(-1)[1]), abs=1e-6)
    assert verdict.flagged == (verdict.probability >= 0.5)


def test_an_output_is_as_doubtful_as_its_worst_sentence_and_the_same_in_any_company(tmp_path: Path) -> None:
    hhem(tmp_path)
    judge = open_local(tmp_path, threshold=0.5)
    outputs = ["The cat sat. A bird ran.", "", "The dog ran."]
    verdicts = judge.judge([SOURCE] * 3, outputs)
    assert len(verdicts[0].sentences) == 2
    assert verdicts[0].probability == max(each.probability for each in verdicts[0].sentences)
    assert verdicts[1].probability == 1.0
    assert judge.judge([SOURCE], outputs[2:]) == verdicts[2:]


def test_its_name_tells_its_bytes(tmp_path: Path) -> None:
    hhem(tmp_path)
    before = open_local(tmp_path, threshold=0.5).name
    (tmp_path / "README.md").write_text("changed")
    assert open_local(tmp_path, threshold=0.5).name != before


def test_a_long_source_is_read_in_parts_and_the_best_counts(tmp_path: Path) -> None:
    torch.manual_seed(2)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForSequenceClassification(BertConfig(vocab_size=30, num_labels=2, **shape)).save_pretrained(tmp_path)
    tokenizer(tmp_path)
    judge = open_local(tmp_path, threshold=0.5)
    parts = ["The cat sat on the mat. " * 60, "The dog ran. " * 60]
    source = "".join(parts).strip()
    (whole,) = judge.judge([source], ["The dog ran."])
    best = max(judge.support(part, "The dog ran.") for part in judge._parts(source, "The dog ran."))
    assert len(list(judge._parts(source, "The dog ran."))) > 1
    assert whole.support == pytest.approx(best)


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    hhem(tmp_path)
    save_file({"t5.other": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="its weights lack "):
        open_local(tmp_path, threshold=0.5)


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    with pytest.raises(UserError, match="is no judge that is known here"):
        open_local(tmp_path, threshold=0.5)


def test_a_hub_out_of_reach_is_one_honest_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="the hub does not give it") as refused:
        open_hub(f"vectara/no-such-judge@{'0' * 40}", threshold=0.5)
    assert "\n" not in str(refused.value)


def test_half_a_commit_is_refused() -> None:
    with pytest.raises(UserError, match="give the whole commit"):
        open_hub("vectara/judge@0123456", threshold=0.5)
