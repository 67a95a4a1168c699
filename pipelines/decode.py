"""The one way to decode an exported model: for scoring, serving and batch alike.

With ct2/ in the export it runs CTranslate2 and the `tokenizers` library, and imports neither torch nor transformers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines import artifact
from pipelines.errors import UserError
from pipelines.spec import Decoding


@dataclass(frozen=True)
class Answer:
    text: str
    logprob: float
    """Natural log of the answer's probability: the sum over its tokens, the end mark included, as the decoder chose among them
    (tokens that no_repeat_ngram forbids have none)."""
    source_tokens: int
    target_tokens: int
    truncated: bool
    """The source was longer than the model reads, and its end was left out."""


@dataclass(frozen=True)
class _Written:
    ids: list[int]
    logprob: float


class _Engine(Protocol):
    def write(self, sources: list[list[int]], decoding: Decoding, batch_tokens: int) -> list[_Written]: ...


class Decoder:
    """An export, verified byte by byte and loaded. `sha256` is its manifest's digest.

    Raises (when made):
        Corrupt: the export is not what was sealed.
    """

    def __init__(self, export_folder: Path, *, threads: int = 1, device: str = "auto") -> None:
        from tokenizers import Tokenizer

        self.sha256 = artifact.verify(export_folder)
        facts = json.loads((export_folder / "export.json").read_text(encoding="utf-8"))
        hf = export_folder / "hf"
        self._tokenizer = Tokenizer.from_file(str(hf / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(facts["max_source"])
        self._engine: _Engine
        if (export_folder / "ct2").is_dir():
            marks = json.loads((hf / "generation_config.json").read_text(encoding="utf-8"))
            self._engine = _CTranslate2(export_folder / "ct2", self._tokenizer, marks["eos_token_id"], threads, device)
        else:
            self._engine = _Transformers(hf, threads, device)

    def generate(self, texts: Sequence[str], decoding: Decoding, batch_tokens: int = 2048) -> list[Answer]:
        """Answer `texts`, in their order; like-long ones are decoded together, at most `batch_tokens` padded tokens at a time.

        Raises:
            UserError: a text holds a lone surrogate, which no encoding of text has.
        """
        for place, text in enumerate(texts):
            _check(place, text)
        if not texts:
            return []
        encodings = self._tokenizer.encode_batch(list(texts))
        written = self._engine.write([encoding.ids for encoding in encodings], decoding, batch_tokens)
        return [
            Answer(
                text=self._tokenizer.decode(one.ids, skip_special_tokens=True).strip(),
                logprob=one.logprob,
                source_tokens=len(encoding.ids),
                target_tokens=len(one.ids),
                truncated=bool(encoding.overflowing),
            )
            for one, encoding in zip(written, encodings, strict=True)
        ]


def _check(place: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"inputs[{place}]: a lone surrogate at character {error.start}: not Unicode text") from None


class _CTranslate2:
    def __init__(self, folder: Path, tokenizer: Any, end: int, threads: int, device: str) -> None:
        import ctranslate2

        self._tokenizer, self._end = tokenizer, end
        self._translator = ctranslate2.Translator(str(folder), device=device, inter_threads=1, intra_threads=threads)

    def write(self, sources: list[list[int]], decoding: Decoding, batch_tokens: int) -> list[_Written]:
        name, number = self._tokenizer.id_to_token, self._tokenizer.token_to_id
        results = self._translator.translate_batch(
            [[name(token) for token in source] for source in sources],
            max_batch_size=batch_tokens,  # sorts by length first
            batch_type="tokens",
            beam_size=decoding.beam,
            max_decoding_length=decoding.max_tokens,
            length_penalty=decoding.length_penalty,
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            return_scores=True,
            return_end_token=True,
        )
        written = []
        for result in results:
            ids = [number(piece) for piece in result.hypotheses[0]]
            # The score is the sum of the log-probabilities over length ** penalty, and the length counts the end mark.
            logprob = result.scores[0] * len(ids) ** decoding.length_penalty
            written.append(_Written(ids[:-1] if ids[-1:] == [self._end] else ids, logprob))
        return written


class _Transformers:
    def __init__(self, folder: Path, threads: int, device: str) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM
        from transformers.utils import logging as transformers_log

        transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(threads)
        found = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(found if device == "auto" else device)
        self._model = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True).eval().to(self._device)

    def write(self, sources: list[list[int]], decoding: Decoding, batch_tokens: int) -> list[_Written]:
        order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
        written: dict[int, _Written] = {}
        for places in _within(order, sources, batch_tokens):
            written |= zip(places, self._batch([sources[place] for place in places], decoding), strict=True)
        return [written[place] for place in range(len(sources))]

    def _batch(self, sources: list[list[int]], decoding: Decoding) -> list[_Written]:
        import torch

        pad = self._model.config.pad_token_id
        longest = max(map(len, sources))
        ids = torch.tensor([source + [pad] * (longest - len(source)) for source in sources], device=self._device)
        mask = torch.tensor([[1] * len(source) + [0] * (longest - len(source)) for source in sources], device=self._device)
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                num_beams=decoding.beam,
                do_sample=False,
                max_new_tokens=decoding.max_tokens,
                min_new_tokens=1,  # as CTranslate2: an answer is never empty
                max_length=None,
                length_penalty=decoding.length_penalty,
                no_repeat_ngram_size=decoding.no_repeat_ngram,
                return_dict_in_generate=True,
                output_scores=True,
            )
            beams = getattr(out, "beam_indices", None)
            scores = self._model.compute_transition_scores(out.sequences, out.scores, beams, normalize_logits=beams is None)
        return [self._written(row, score) for row, score in zip(out.sequences.tolist(), scores.tolist(), strict=True)]

    def _written(self, row: list[int], scores: list[float]) -> _Written:
        end = self._model.generation_config.eos_token_id
        tokens = row[len(row) - len(scores) :]
        count = tokens.index(end) if end in tokens else len(tokens)
        return _Written(tokens[:count], float(sum(scores[: count + 1])))


def _within(order: list[int], sources: list[list[int]], budget: int) -> list[list[int]]:
    """Cut `order` (by rising length) into runs of at most `budget` padded tokens; a longer source is decoded alone."""
    runs: list[list[int]] = []
    for place in order:
        if runs and (len(runs[-1]) + 1) * len(sources[place]) <= budget:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
