"""An export's ct2/ in CTranslate2.

Drawing: CTranslate2 seeds its generator once a thread, when the thread first draws, and its threads begin with a Translator.
So each answer that is drawn gets a Translator of its own (same seed, same text, whoever else is served). CPU time on 15M
parameters, one thread, 32 tokens: 14 ms greedy, 17-22 ms drawn (6-12 of them to load), 36-43 ms with top_p alone, which sorts
the vocabulary at every token (top_k beside it spares that). A loop of single steps with target_prefix, which could draw by
itself, takes 119 ms even in a batch, since each step reads the source anew.
"""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipelines.artifact import Corrupt
from pipelines.decode import loading
from pipelines.decode.answers import Encoded, OnToken, Written, seed_of
from pipelines.spec import Decoding

PATIENCE = 2.0
_SEEDING = threading.Lock()  # the seed of threads to come is one number for the whole process


class Translator:
    """Loads folder/ct2, exported in the type `exported`. `end` is the end mark's id.

    Raises (when made):
        Corrupt: CTranslate2 cannot load it.
    """

    def __init__(self, folder: Path, sha256: str, exported: str, end: int, *, threads: int, device: str) -> None:
        import ctranslate2

        self._folder, self._sha256, self._end = folder, sha256, end
        self._number = {piece: number for number, piece in enumerate(_pieces(folder / "ct2"))}
        place = ("cuda" if ctranslate2.get_cuda_device_count() else "cpu") if device == "auto" else device
        kind = loading.compute_type(exported, place, ctranslate2.get_supported_compute_types(place))
        # Batches side by side: several threads on one batch make a tenth fewer texts.
        threading_ = {"inter_threads": threads, "intra_threads": 1}
        self._options: dict[str, Any] = {"device": place, "compute_type": kind, **threading_}
        try:
            self._translator = ctranslate2.Translator(str(folder / "ct2"), **self._options)
        except (RuntimeError, ValueError) as error:
            raise Corrupt(f"{folder.name}/ct2: CTranslate2 cannot load it: {str(error).splitlines()[0]}") from None
        self._files: dict[str, bytes] = {}

    def write(self, sources: Sequence[Encoded], decoding: Decoding, batch_tokens: int) -> list[Written]:
        if decoding.temperature:
            return [self._draw(source, decoding) for source in sources]
        results = self._translator.translate_batch(
            [source.pieces for source in sources],
            max_batch_size=batch_tokens,  # sorts by length first
            batch_type="tokens",
            **beams(decoding.beam),
            **_options(decoding),
        )
        return [self._written(result, decoding) for result in results]

    def stream(self, source: Encoded, decoding: Decoding, on_token: OnToken) -> Written:
        hearing = _Hearing(lambda piece: on_token(self._number[piece]), self._end)
        if decoding.temperature:
            return self._draw(source, decoding, hearing)
        if decoding.beam == 1:
            return self._written(_one(self._translator, source, decoding, hearing), decoding)
        (written,) = self.write([source], decoding, 0)  # which beam wins is known at the end
        for token in written.ids:
            on_token(token)
        return written

    def _draw(self, source: Encoded, decoding: Decoding, hearing: "_Hearing | None" = None) -> Written:
        import ctranslate2

        # What is loaded again and again is what was verified, not what lies in the folder by then.
        self._files = self._files or loading.contents(self._folder, "ct2", self._sha256)
        seed = seed_of(decoding)
        with _SEEDING:
            ctranslate2.set_random_seed(seed % (2**32 - 1))  # which stands for "no seed"
            fresh = ctranslate2.Translator(
                str(self._folder / "ct2"), files=self._files, **{**self._options, "inter_threads": 1}
            )
            drawing = {
                "sampling_temperature": decoding.temperature,
                "sampling_topk": decoding.top_k if decoding.top_k < len(self._number) else 0,
                "sampling_topp": decoding.top_p,
            }
            result = _one(fresh, source, decoding, hearing, **drawing)
        return self._written(result, decoding, seed)

    def _written(self, result: Any, decoding: Decoding, seed: int | None = None) -> Written:
        ids = [self._number[piece] for piece in result.hypotheses[0]]
        # The score is the sum of the log-probabilities over length ** penalty, and the length counts the end mark.
        logprob = result.scores[0] * len(ids) ** decoding.length_penalty
        finished = ids[-1:] == [self._end]
        return Written(ids[:-1] if finished else ids, logprob, finished, seed)


def _pieces(ct2: Path) -> list[str]:
    """The names of the tokens it writes, by id: padded to the size of the model, so it may know more than the tokenizer."""
    own = ct2 / "target_vocabulary.json"
    path = own if own.is_file() else ct2 / "shared_vocabulary.json"
    pieces: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return pieces


def _one(translator: Any, source: Encoded, decoding: Decoding, hearing: "_Hearing | None", **drawing: Any) -> Any:
    (result,) = translator.translate_batch([source.pieces], beam_size=1, callback=hearing, **drawing, **_options(decoding))
    if hearing is not None and hearing.raised is not None:
        raise hearing.raised
    return result


def beams(many: int) -> dict[str, Any]:
    """How translate_batch searches: twice as many ended hypotheses as its default, so that it ends where transformers does.

    By its default it ends at the first `many` of them and writes shorter answers. On the default model, beam 4, float32, the
    same answers as transformers: 70 % by the default, 93 % so (95 % with four times as many), for a tenth more CPU time.
    """
    return {"beam_size": many, **({"patience": PATIENCE} if many > 1 else {})}


def _options(decoding: Decoding) -> dict[str, Any]:
    return {
        "max_input_length": 0,  # encode() saw to that, and said so; CTranslate2 would cut at 1,024 without a word
        "max_decoding_length": decoding.max_tokens,
        "length_penalty": decoding.length_penalty,
        "no_repeat_ngram_size": decoding.no_repeat_ngram,
        "return_scores": True,
        "return_end_token": True,
    }


class _Hearing:
    """CTranslate2's callback, called in its thread: an exception there has nobody to catch it, so it is kept for later."""

    def __init__(self, hear: Callable[[str], None], end: int) -> None:
        self._hear, self._end = hear, end
        self.raised: BaseException | None = None

    def __call__(self, step: Any) -> bool:
        """Whether to stop."""
        try:
            if step.token_id != self._end:
                self._hear(step.token)
        except BaseException as error:
            self.raised = error
        return self.raised is not None
