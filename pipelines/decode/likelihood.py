"""How likely an export finds a given answer: the log-probability of each of its tokens, by the very files that serve."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.decode import loading

BATCH_TOKENS = 2_048


class Likelihood:
    """An export, verified byte by byte and loaded, that scores answers instead of writing them.

    Args:
        threads: cores that score.

    Raises (when made):
        Corrupt: the export is not what was sealed, or cannot be loaded.
    """

    def __init__(self, export_folder: Path, *, threads: int = 1) -> None:
        from tokenizers import Tokenizer

        loading.check(export_folder)
        facts = json.loads((export_folder / "export.json").read_text(encoding="utf-8"))
        self._longest: tuple[int, int] = (facts["max_source"], facts["max_target"])
        self._tokenizer = Tokenizer.from_file(str(export_folder / "hf" / "tokenizer.json"))
        self._tokenizer.no_padding()
        marks = json.loads((export_folder / "hf" / "generation_config.json").read_text(encoding="utf-8"))
        self._end: int = marks["eos_token_id"]
        known = (export_folder / "ct2").is_dir()
        self._model = _Served(export_folder, facts["quantisation"], threads) if known else _Plain(export_folder, threads)

    def tokens(self, sources: Sequence[str], targets: Sequence[str]) -> list[list[float]]:
        """Natural log-probabilities of the tokens of each target, given its source; the end mark's is the last.

        Both are cut where the model reads and writes no further. Several targets of one source are each read with it.
        """
        read, written = (self._ids(texts, most) for texts, most in zip((sources, targets), self._longest, strict=True))
        bare = [ids[:-1] if ids[-1:] == [self._end] else ids for ids in written]
        return self._model.score(read, [[*ids, self._end] for ids in bare], self._tokenizer) if read else []

    def _ids(self, texts: Sequence[str], most: int) -> list[list[int]]:
        self._tokenizer.enable_truncation(most)
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]


class _Served:
    """ct2/ in CTranslate2."""

    def __init__(self, folder: Path, exported: str, threads: int) -> None:
        import ctranslate2

        kind = loading.compute_type(exported, "cpu", ctranslate2.get_supported_compute_types("cpu"))
        options: dict[str, Any] = {"compute_type": kind, "inter_threads": threads, "intra_threads": 1}
        self._translator = ctranslate2.Translator(str(folder / "ct2"), device="cpu", **options)

    def score(self, sources: list[list[int]], targets: list[list[int]], tokenizer: Any) -> list[list[float]]:
        name = tokenizer.id_to_token
        read = [[name(token) for token in ids] for ids in sources]
        # CTranslate2 puts the end mark itself
        written = [[name(token) for token in ids[:-1]] for ids in targets]
        results = self._translator.score_batch(read, written, max_batch_size=BATCH_TOKENS, batch_type="tokens")
        return [list(result.log_probs) for result in results]


class _Plain:
    """hf/ in transformers, for architectures that CTranslate2 does not know; one pair at a time."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM

        torch.set_num_threads(threads)
        self._model = AutoModelForSeq2SeqLM.from_pretrained(folder / "hf", local_files_only=True, use_safetensors=True).eval()

    def score(self, sources: list[list[int]], targets: list[list[int]], _tokenizer: Any) -> list[list[float]]:
        import torch

        start = self._model.generation_config.decoder_start_token_id
        found = []
        with torch.inference_mode():
            for source, target in zip(sources, targets, strict=True):
                given = torch.tensor([[start, *target[:-1]]])
                scores = self._model(input_ids=torch.tensor([source]), decoder_input_ids=given).logits[0].log_softmax(-1)
                found.append(scores[torch.arange(len(target)), torch.tensor(target)].tolist())
        return found
