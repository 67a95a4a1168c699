"""Decoder: an export, verified and loaded; texts in, answers out."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.decode import loading, parts
from pipelines.decode.answers import Answer, Encoded, Model, Written, settled
from pipelines.decode.huggingface import HuggingFace
from pipelines.decode.streaming import Deltas
from pipelines.decode.translator import Translator
from pipelines.decode.windows import cut
from pipelines.errors import UserError
from pipelines.spec import Decoding

COLDEST, LEAST_SHARE = 1e-4, 1e-6  # logits over less overflow in float32; a smaller share is 0 there


class Decoder:
    """An export, verified byte by byte and loaded. `sha256` is its manifest's digest.

    `encode` and `read` may be called from any thread at any time, `write` and `stream` from `writers` threads at a time.

    Args:
        threads: cores that decode.
        device: cpu, cuda or auto.
        signer: a public key (PEM); only what its owner signed is loaded then.

    Raises (when made):
        Corrupt: the export is not what was sealed or signed, or cannot be loaded: the line names the file or tensor.
        UserError: `signer` is not a public key.
    """

    def __init__(self, export_folder: Path, *, threads: int = 1, device: str = "auto", signer: Path | None = None) -> None:
        from tokenizers import Tokenizer

        self.sha256 = loading.check(export_folder, signer)
        facts = json.loads((export_folder / "export.json").read_text(encoding="utf-8"))
        path = str(export_folder / "hf" / "tokenizer.json")
        self._tokenizer, self._uncut = Tokenizer.from_file(path), Tokenizer.from_file(path)
        for tokenizer in (self._tokenizer, self._uncut):
            tokenizer.no_padding()
        self.longest: int = facts["max_source"]
        self._tokenizer.enable_truncation(self.longest)
        self._uncut.no_truncation()
        config = json.loads((export_folder / "hf" / "config.json").read_text(encoding="utf-8"))
        self._positions: int | None = config.get("max_position_embeddings")  # none where positions are relative (T5)
        self._model: Model
        if (export_folder / "ct2").is_dir():
            marks = json.loads((export_folder / "hf" / "generation_config.json").read_text(encoding="utf-8"))
            end, exported = marks["eos_token_id"], facts["quantisation"]
            self.writers = threads
            self._model = Translator(export_folder, self.sha256, exported, end, threads=threads, device=device)
        else:
            self.writers = 1
            self._model = HuggingFace(export_folder, threads, device)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts as the model reads them, their ends left out (and said so) where they are longer than that.

        Raises:
            UserError: a text holds a lone surrogate, which no encoding of text has.
        """
        for place, text in enumerate(texts):
            _check(place, text)
        encodings = self._tokenizer.encode_batch(list(texts)) if texts else []
        return [Encoded(t, e.ids, e.tokens, bool(e.overflowing)) for t, e in zip(texts, encodings, strict=True)]

    def write(self, encoded: Sequence[Encoded], decoding: Decoding, batch_tokens: int = 2048) -> list[Written]:
        """The model's work alone: like-long ones are decoded together, at most `batch_tokens` padded tokens at a time.

        An answer ends, unfinished, where the model's positions do, however many tokens are asked for.
        """
        return self._model.write(encoded, possible(decoding, self._positions), batch_tokens) if encoded else []

    def read(self, encoded: Sequence[Encoded], written: Sequence[Written]) -> list[Answer]:
        """What was written, as text."""
        return [
            Answer(
                text=self._text(one.ids),
                logprob=one.logprob,
                source_tokens=len(source),
                target_tokens=len(one.ids),
                truncated=source.truncated,
                finished=one.finished,
                seed=one.seed,
            )
            for one, source in zip(written, encoded, strict=True)
        ]

    def generate(self, texts: Sequence[str], decoding: Decoding, batch_tokens: int = 2048) -> list[Answer]:
        """Answer `texts`, in their order.

        Raises:
            UserError: a text holds a lone surrogate, which no encoding of text has.
        """
        encoded = self.encode(texts)
        return self.read(encoded, self.write(encoded, decoding, batch_tokens))

    def stream(self, encoded: Encoded, decoding: Decoding, on_text: Callable[[str], None]) -> Written:
        """Write one answer and tell `on_text` of its text as it comes; the pieces joined are the answer's text.

        With beams there is nothing to tell before the end, when the whole text comes at once. What `on_text` raises ends the
        decoding and comes out here. It may be called from a thread of CTranslate2's own.
        """
        deltas = Deltas(self._text, on_text)
        coming = decoding.temperature > 0 or decoding.beam == 1
        how = possible(decoding, self._positions)
        written = self._model.stream(encoded, how, deltas.add if coming else lambda _token: None)
        deltas.close(written.ids)
        return written

    def windows(self, text: str, language: str = "en") -> list[str]:
        """`text` in pieces that the model reads whole, in order; `[text]` where it does so at once. From any thread.

        Raises:
            UserError: the text holds a lone surrogate.
        """
        _check(0, text)
        encoding = self._uncut.encode(text)
        if len(encoding.ids) <= self.longest:
            return [text]
        framed = encoding.special_tokens_mask
        starts = [start for (start, _), frame in zip(encoding.offsets, framed, strict=True) if not frame]
        room = self.longest - sum(framed)
        return cut(text, starts, room, lambda piece: len(self._uncut.encode(piece).ids) <= self.longest, language)

    def answer(
        self, texts: Sequence[str], decoding: Decoding, reading: parts.Reading, batch_tokens: int = 2048
    ) -> list[Answer]:
        """Answer `texts` of any length, in their order: those longer than the model reads are read as `reading` says.

        Raises:
            UserError: a text holds a lone surrogate, or (TooLong) is longer than the model reads and `reading` refuses such.
        """
        for place, text in enumerate(texts):
            _check(place, text)
        readings = [parts.whole(text, self.windows, reading) for text in texts]

        def together(some: Sequence[parts.Parts], how: Decoding) -> list[Answer]:
            return parts.together(some, lambda wanted: self.generate(wanted, how, batch_tokens))

        if decoding.temperature and decoding.seed is None:  # a seed for each text, the same for all its parts
            return [together([one], settled(decoding))[0] for one in readings]
        return together(readings, decoding)

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text.strip()


def possible(decoding: Decoding, positions: int | None) -> Decoding:
    """`decoding` within what a model with so many positions, and numbers of 32 bits, can do; the same where it is.

    A number past a bound is brought to it, where it means the same: the likeliest token alone has a share of 1e-6, or is all
    that is left at a temperature of 1e-4, and no sequence longer than the answer is repeated in it.
    """
    most = min(decoding.max_tokens, positions or decoding.max_tokens)
    bound = {
        "max_tokens": most,
        "no_repeat_ngram": min(decoding.no_repeat_ngram, most + 1),
        "temperature": decoding.temperature and max(decoding.temperature, COLDEST),
        "top_p": max(decoding.top_p, LEAST_SHARE),
    }
    changed = {name: value for name, value in bound.items() if value != getattr(decoding, name)}
    return decoding.model_copy(update=changed) if changed else decoding


def _check(place: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"inputs[{place}]: a lone surrogate at character {error.start}: not Unicode text") from None
