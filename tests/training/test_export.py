import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_log

from pipelines.artifact import MANIFEST, Weights, seal, verify
from pipelines.decode import Decoder
from pipelines.errors import SeqlineError
from pipelines.spec import Decoding
from pipelines.training.export import export
from tests.training import line


def test_it_is_whole_quantised_equal_in_float32_and_the_same_again(
    work: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = line.exported(work)
    verify(made.path, made.sha256)
    facts = json.loads((made.path / "export.json").read_text())
    assert facts["ct2"]
    assert facts["quantisation"] == "int8"
    assert 0 <= facts["parity"]["float32_largest_difference"] <= 1e-4
    assert facts["parity"]["pairs"] == 20
    assert (facts["max_source"], facts["max_target"]) == (48, 12)
    assert not (made.path / "hf" / "training.json").exists()
    assert "normalize_before" not in json.loads((made.path / "hf" / "config.json").read_text())
    transformers_log.enable_progress_bar()  # type: ignore[no-untyped-call]  # as in a new process
    plain = export(line.trained(work), "float32", tmp_path)
    assert "Loading weights" not in capfd.readouterr().err
    exact = json.loads((plain.path / "export.json").read_text())
    assert exact["parity"]["quantised_same_greedy"] == 1, "answered together or one by one, the answers are the same"
    assert facts["bytes"]["ct2"] < 0.6 * exact["bytes"]["ct2"]
    assert export(line.trained(work), "int8", tmp_path).sha256 == made.sha256


def resealed(folder: Path) -> Weights:
    (folder / MANIFEST).unlink()
    return Weights(folder, seal(folder))


def test_a_model_without_parity_is_refused(work: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(line.trained(work).path, tmp_path / "weights")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.decoder.layers.0.fc1.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SeqlineError, match=r"float32 log-probabilities differ from transformers' by nan, more than 0\.0001$"):
        export(resealed(folder), "float32", tmp_path)
    assert not list(tmp_path.glob("*export-*"))


def test_an_architecture_unknown_to_ctranslate2_decodes_through_transformers(work: Path, tmp_path: Path) -> None:
    from transformers import BlenderbotSmallConfig, BlenderbotSmallForConditionalGeneration

    weights = line.trained(work)
    folder = shutil.copytree(weights.path, tmp_path / "weights")
    config = BlenderbotSmallConfig(
        vocab_size=line.SECTION.vocabulary,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=48,
        decoder_start_token_id=2,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=None,
    )
    torch.manual_seed(1)
    BlenderbotSmallForConditionalGeneration(config).save_pretrained(folder)
    made = export(resealed(folder), "int8", tmp_path)
    facts = json.loads((made.path / "export.json").read_text())
    assert not facts["ct2"]
    assert "onversion" in facts["why_not"]
    assert not (made.path / "ct2").exists()
    (answer,) = Decoder(made.path).generate(["a tool that reads maps"], Decoding(max_tokens=5))
    assert 1 <= answer.target_tokens <= 5


@pytest.mark.parametrize("quantisation", ["bfloat16", "float16"])
def test_other_types_convert_too(work: Path, tmp_path: Path, quantisation: str) -> None:
    facts = json.loads((export(line.trained(work), quantisation, tmp_path).path / "export.json").read_text())
    assert facts["parity"]["quantised_same_greedy"] >= 0.5
