"""An export's hf/ in transformers: for architectures that CTranslate2 does not know."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.artifact import Corrupt
from pipelines.decode import loading
from pipelines.decode.answers import Encoded, OnToken, Written, seed_of
from pipelines.spec import Decoding

if TYPE_CHECKING:
    import torch


class HuggingFace:
    """Loads folder/hf, safetensors only.

    Raises (when made):
        Corrupt: it cannot be loaded, or its tensors are not those of its architecture.
    """

    def __init__(self, folder: Path, threads: int, device: str) -> None:
        import torch
        from transformers.utils import logging as transformers_log

        transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.set_num_threads(threads)
        found = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(found if device == "auto" else device)
        self._model = _load(folder).eval().to(self._device)

    def write(self, sources: Sequence[Encoded], decoding: Decoding, batch_tokens: int) -> list[Written]:
        if decoding.temperature:  # alone, since in company the numbers differ in their last digits, and a draw may with them
            return [self._draw(source, decoding) for source in sources]
        order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
        written: dict[int, Written] = {}
        for places in within(order, sources, batch_tokens):
            written |= zip(places, self._batch([sources[place] for place in places], decoding), strict=True)
        return [written[place] for place in range(len(sources))]

    def stream(self, source: Encoded, decoding: Decoding, on_token: OnToken) -> Written:
        if decoding.temperature:
            return self._draw(source, decoding, _Streamer(on_token, self._end))
        if decoding.beam == 1:
            return self._batch([source], decoding, _Streamer(on_token, self._end))[0]
        (written,) = self._batch([source], decoding)  # which beam wins is known at the end
        for token in written.ids:
            on_token(token)
        return written

    @property
    def _end(self) -> int:
        end: int = self._model.generation_config.eos_token_id
        return end

    def _draw(self, source: Encoded, decoding: Decoding, streamer: "_Streamer | None" = None) -> Written:
        import torch

        seed, before_draws = seed_of(decoding), _Distribution()
        how = {"do_sample": True, "temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p}
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(seed)
            out = self._generate([source], decoding, num_beams=1, logits_processor=[before_draws], streamer=streamer, **how)
        row = out.sequences[0].tolist()[-len(before_draws.steps) :]
        scores = [step[0, token].item() for step, token in zip(before_draws.steps, row, strict=True)]
        return self._written(row, scores, seed)

    def _batch(self, sources: list[Encoded], decoding: Decoding, streamer: "_Streamer | None" = None) -> list[Written]:
        out = self._generate(sources, decoding, num_beams=decoding.beam, do_sample=False, streamer=streamer, output_scores=True)
        beams = getattr(out, "beam_indices", None)
        scores = self._model.compute_transition_scores(out.sequences, out.scores, beams, normalize_logits=beams is None)
        return [self._written(row, score) for row, score in zip(out.sequences.tolist(), scores.tolist(), strict=True)]

    def _generate(self, sources: list[Encoded], decoding: Decoding, **how: Any) -> Any:
        import torch

        pad = self._model.config.pad_token_id
        longest = max(map(len, sources))
        ids = torch.tensor([one.ids + [pad] * (longest - len(one)) for one in sources], device=self._device)
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in sources], device=self._device)
        with torch.inference_mode():
            return self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=decoding.max_tokens,
                min_new_tokens=1,  # as CTranslate2: an answer is never empty
                max_length=None,
                length_penalty=decoding.length_penalty,
                no_repeat_ngram_size=decoding.no_repeat_ngram,
                return_dict_in_generate=True,
                **how,
            )

    def _written(self, row: list[int], scores: list[float], seed: int | None = None) -> Written:
        tokens = row[len(row) - len(scores) :]
        finished = self._end in tokens
        count = tokens.index(self._end) if finished else len(tokens)
        return Written(tokens[:count], float(sum(scores[: count + 1])), finished, seed)


def _load(folder: Path) -> Any:
    from transformers import AutoModelForSeq2SeqLM

    where = f"{folder.name}/hf"
    try:
        model, info = AutoModelForSeq2SeqLM.from_pretrained(
            folder / "hf",
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # to hear of them, by name, below
            output_loading_info=True,
        )
    except Exception as error:  # whatever the libraries make of a broken file: all say it in their own way
        raise Corrupt(f"{where}: transformers cannot load it: {type(error).__name__}") from error
    loading.refuse_tensors(where, info["missing_keys"], info["unexpected_keys"], sorted(info["mismatched_keys"]))
    return model


class _Distribution:
    """Keeps the log-probabilities of every step as they are before temperature, top-k and top-p (transformers applies a
    processor that it is given after no_repeat_ngram and before those)."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, _ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        self.steps.append(scores.float().log_softmax(-1))
        return scores


class _Streamer:
    """transformers' streamer (its interface is put and end); the first it is told of is the decoder's start, no token."""

    def __init__(self, on_token: OnToken, end: int) -> None:
        self._on_token, self._end, self._started = on_token, end, False

    def put(self, value: "torch.Tensor") -> None:
        if self._started:
            for token in value.flatten().tolist():
                if token != self._end:
                    self._on_token(token)
        self._started = True

    def end(self) -> None:
        pass


def within(order: Sequence[int], sources: Sequence[Encoded], budget: int) -> list[list[int]]:
    """Cut `order` (by rising length) into runs of at most `budget` padded tokens; a longer source is decoded alone."""
    runs: list[list[int]] = []
    for place in order:
        if runs and (len(runs[-1]) + 1) * len(sources[place]) <= budget:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
