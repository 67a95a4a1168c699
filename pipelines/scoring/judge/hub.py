"""Judges of others, through the same interface: HHEM-2.1-open and MiniCheck, from the hub at a pinned commit, or a folder.

HHEM-2.1-open (Vectara) is a flan-t5 with a token-classification head whose first position says "consistent"; its own code does
not load with transformers 5, and is not run: the weights are read into the library's class. MiniCheck (Tang et al. 2024) is a
flan-t5 that answers 1 or 0, or an encoder with two classes. Each sentence of an output is judged for itself; of a source longer
than the model reads, the part that supports it most counts.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.errors import UserError
from pipelines.scoring.judge.verdict import SentenceVerdict, Verdict, sentence_bounds

FILES = ("*.json", "*.safetensors", "*.txt", "*.model")  # no pickles, no code
COMMIT_DIGITS = 40
FOUNDATION_COMMIT = "7bcac572ce56db69c1ea7c8af255c5d7c9672fc2"  # of google/flan-t5-base: HHEM's tokenizer and shape
PROMPT = "<pad> Determine if the hypothesis is true given the premise?\n\nPremise: {text1}\n\nHypothesis: {text2}"
NO, YES = 3, 209  # the pieces that MiniCheck's flan-t5 answers with
LONGEST = {"hhem": 2048, "answers": 2048, "classes": 512}  # tokens of source and sentence
TIED = ("encoder.embed_tokens.weight", "transformer.encoder.embed_tokens.weight")

Support = Callable[[str, str], float]


@dataclass(frozen=True)
class Foreign:
    """A judge of somebody else's. Deterministic: one sentence and one part of the source a call."""

    name: str
    threshold: float
    tokenizer: Any
    support: Support
    """P(supported), 0 to 1, of (part of a source, sentence)."""
    longest: int

    def judge(
        self,
        sources: Sequence[str],
        outputs: Sequence[str],
        logprobs: Sequence[float | None] | None = None,  # noqa: ARG002  it does not ask the model that wrote them
    ) -> list[Verdict]:
        """One verdict a pair; see `Judge`. An output without a word is unsupported."""
        return [self._one(source, output) for source, output in zip(sources, outputs, strict=True)]

    def _one(self, source: str, output: str) -> Verdict:
        said = []
        for start, end in sentence_bounds(output):
            sentence = output[start:end]
            best = max(self.support(part, sentence) for part in self._parts(source, sentence))
            said.append(SentenceVerdict(start, end, 1 - best))
        worst = max((each.probability for each in said), default=1.0)
        return Verdict(worst >= self.threshold, worst, 1 - worst, (), tuple(said))

    def _parts(self, source: str, sentence: str) -> Iterator[str]:
        """The source in runs of whole sentences that the model can read beside `sentence`."""
        room = max(self.longest - self._size(sentence) - 40, 16)  # 40: the prompt around them
        part, size = "", 0
        for start, end in sentence_bounds(source) or [(0, len(source))]:
            more = self._size(source[start:end])
            if part and size + more > room:
                yield part
                part, size = "", 0
            part, size = f"{part} {source[start:end]}".strip(), size + more
        yield part

    def _size(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def open_hub(reference: str, *, threshold: float) -> Foreign:
    """The judge OWNER/MODEL@COMMIT of the Hugging Face hub (or its cache on this machine).

    Raises:
        UserError: the commit is not a whole one, the hub does not give it, or it is no judge that is known here.
    """
    model, _, commit = reference.partition("@")
    if len(commit) != COMMIT_DIGITS:
        why = f"give the whole commit ({COMMIT_DIGITS} hex digits): a shorter one may come to mean another"
        raise UserError(f"scoring.judge: {reference}: {why}")
    return open_local(_download(model, commit), name=f"{model}@{commit[:12]}", threshold=threshold)


def open_local(folder: Path, *, threshold: float, name: str | None = None) -> Foreign:
    """The judge in a Hugging Face folder; by default it is named by the folder and the digest of its files.

    Raises:
        UserError: it is no judge that is known here, or its weights are not whole.
    """
    config = _config(folder)
    kind = _kind(config)
    if kind is None:
        known = "HHEM-2.1-open, MiniCheck's flan-t5, or an encoder with two classes"
        raise UserError(
            f"scoring.judge: {folder.name}: {config.get('architectures')} is no judge that is known here: give {known}"
        )
    tokenizer, support = {"hhem": _hhem, "answers": _answers, "classes": _classes}[kind](folder, config)
    return Foreign(name or f"{folder.name} sha256:{_digest(folder)}", threshold, tokenizer, support, LONGEST[kind])


def _config(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"scoring.judge: {folder.name}/config.json: cannot be read: {error}") from None


def _kind(config: dict[str, Any]) -> str | None:
    named: Sequence[str] = config.get("architectures") or ("",)
    architecture = named[0]
    if architecture.startswith("HHEMv2"):
        return "hhem"
    if architecture == "T5ForConditionalGeneration":
        return "answers"
    return "classes" if architecture.endswith("ForSequenceClassification") else None


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return artifact.digest([(path.relative_to(folder).as_posix(), artifact.file_sha256(path)) for path in files])[:12]


def _download(model: str, commit: str) -> Path:
    import httpx
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=commit, allow_patterns=list(FILES)))
    except (OSError, ValueError, httpx.HTTPError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"scoring.judge: {model}@{commit[:12]}: the hub does not give it ({why}): "
            "give a folder with its files, or come back online"
        ) from None


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _hhem(folder: Path, config: dict[str, Any]) -> tuple[Any, Support]:
    from safetensors.torch import load_file
    from transformers import T5Config, T5ForTokenClassification

    named = str(config.get("foundation", "google/flan-t5-base"))
    foundation = folder / named if (folder / named).is_dir() else _download(named, FOUNDATION_COMMIT)
    shape = T5Config.from_pretrained(foundation, local_files_only=True, num_labels=2)
    model = T5ForTokenClassification(shape)
    weights = {name.removeprefix("t5."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    missing, _ = model.load_state_dict(weights, strict=False)
    if lacking := [name for name in missing if name not in TIED]:
        raise UserError(f"scoring.judge: {folder.name}: its weights lack {lacking[0]}; fetch them again")
    model.eval()  # type: ignore[no-untyped-call]
    tokenizer = _tokenizer(foundation)
    prompt = str(config.get("prompt", PROMPT))

    def support(part: str, sentence: str) -> float:
        inputs = tokenizer(prompt.format(text1=part, text2=sentence), return_tensors="pt")
        return _second(partial(model, **inputs), lambda out: out.logits[0, 0])

    return tokenizer, support


def _answers(folder: Path, config: dict[str, Any]) -> tuple[Any, Support]:  # noqa: ARG001  as the others
    import torch
    from transformers import T5ForConditionalGeneration

    model: Any = T5ForConditionalGeneration.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    model.eval()
    tokenizer = _tokenizer(folder)

    def support(part: str, sentence: str) -> float:
        text = f"predict: {part}{tokenizer.eos_token}{sentence}"
        inputs = tokenizer(text, truncation=True, max_length=LONGEST["answers"], return_tensors="pt")
        start = torch.zeros((1, 1), dtype=torch.long)
        return _second(partial(model, **inputs, decoder_input_ids=start), lambda out: out.logits[0, 0, [NO, YES]])

    return tokenizer, support


def _classes(folder: Path, config: dict[str, Any]) -> tuple[Any, Support]:  # noqa: ARG001  as the others
    from transformers import AutoModelForSequenceClassification

    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    model.eval()
    if model.config.num_labels != 2:
        raise UserError(
            f"scoring.judge: {folder.name}: has {model.config.num_labels} classes; a judge has two, unsupported and supported"
        )
    tokenizer = _tokenizer(folder)
    mark = tokenizer.eos_token or tokenizer.sep_token

    def support(part: str, sentence: str) -> float:
        inputs = tokenizer(f"{part}{mark}{sentence}", truncation=True, max_length=LONGEST["classes"], return_tensors="pt")
        return _second(partial(model, **inputs), lambda out: out.logits[0])

    return tokenizer, support


def _second(run: Callable[[], Any], pick: Callable[[Any], Any]) -> float:
    """The probability of the second of two logits."""
    import torch

    with torch.inference_mode():
        return float(torch.softmax(pick(run()).float(), dim=-1)[1])
