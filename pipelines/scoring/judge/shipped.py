"""The judge `evidence`: the coefficients that are shipped (evidence.json), for who has no judge trained on data of their own.

It was fit on corruptions of the project's own scrubbed pairs (`lessons`; `made` in the file says which, and by which command),
never on a public set. One head a task, at equal shares of supported and unsupported; where the judged model is one that it was
frozen for, the head is at that domain's share and the threshold is that domain's.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.scoring.judge.evidence import COLUMNS, SIGNS, Evidence, evidence
from pipelines.scoring.judge.head import Head
from pipelines.scoring.judge.reading import Source
from pipelines.scoring.judge.spans import unsupported, whole
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.judge.verdict import SentenceVerdict, Verdict

CHUNK = 128  # pairs whose sources, read, are in memory at a time
FILE = Path(__file__).with_name("evidence.json")
SUMMARIES: Mapping[str, int] = {
    name: sign for name, sign in SIGNS.items() if name not in ("echo", "length", "ratio", "logprob", "unknown_logprob")
}
"""Columns that mean the same wherever a text says what another one says. How long it is differs from use to use."""
TRANSLATIONS: Mapping[str, int] = {
    name: SIGNS[name]
    for name in ("numbers", "placeholders", "repeated", "empty", "echo", "ratio", "logprob", "unknown_logprob")
}
"""Columns that mean something where output and source share no words."""
TASKS: Mapping[str, Mapping[str, int]] = {"summarization": SUMMARIES, "translation": TRANSLATIONS}


class Shipped:
    """A judge of evidence alone. Deterministic, the same in any batch."""

    def __init__(self, facts: Mapping[str, Any], *, threshold: float, domain: str = "", task: str = "summarization") -> None:
        """`facts` as in evidence.json. Raises UserError where they are none."""
        try:
            known = facts["domains"].get(domain)
            self.frozen = Frozen.read(known["threshold"]) if known else None
            self.head = Head.read(known["head"] if known else facts["heads"][task if task in TASKS else "summarization"])
            self._rarity: dict[str, float] = {stem: rank / 100 for rank, stems in _ranked(facts) for stem in stems.split()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{FILE.name}: {error!r}: not what a judge of evidence is made of; fit it again") from error
        self.threshold = self.frozen.threshold if self.frozen else threshold
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.name = f"evidence sha256:{digest[:12]}"

    def judge(
        self, sources: Sequence[str], outputs: Sequence[str], logprobs: Sequence[float | None] | None = None
    ) -> list[Verdict]:
        """One verdict a pair; see `Judge`. An output without a content word is unsupported."""
        known = logprobs if logprobs is not None else [None] * len(outputs)
        verdicts = []
        for at in range(0, len(outputs), CHUNK):
            some = slice(at, at + CHUNK)
            verdicts += self._judge([Source(source) for source in sources[some]], outputs[some], known[some])
        return verdicts

    def _judge(self, sources: Sequence[Source], outputs: Sequence[str], logprobs: Sequence[float | None]) -> list[Verdict]:
        found = evidence(sources, outputs, logprobs, self._rarity)
        each = self.head.probabilities(found.columns, COLUMNS)
        each[found.columns[:, COLUMNS.index("empty")] == 1.0] = 0.0  # a sentence that says nothing says nothing false
        doubt = whole(each, found.pair, len(outputs))
        doubt[silent(found, len(outputs))] = 1.0
        said: list[list[SentenceVerdict]] = [[] for _ in outputs]
        for index, bounds, probability in zip(found.pair, found.bounds, each, strict=True):
            if bounds[1] > bounds[0]:
                said[index].append(SentenceVerdict(*bounds, float(probability)))
        return [
            Verdict(p >= self.threshold, p, 1.0 - p, unsupported(source, output), tuple(sentences))
            for source, output, sentences, p in zip(sources, outputs, said, doubt.tolist(), strict=True)
        ]


def silent(found: Evidence, outputs: int) -> NDArray[np.bool_]:
    """Which of so many outputs have no content word at all."""
    says = found.columns[:, COLUMNS.index("empty")] == 0.0
    spoken: NDArray[np.bool_] = np.bincount(found.pair[says], minlength=outputs) > 0
    return ~spoken


def open_shipped(*, threshold: float, domain: str = "", task: str = "summarization") -> Shipped:
    """The judge `evidence` for a model named `domain`. Raises UserError where its file is damaged."""
    return Shipped(json.loads(FILE.read_text(encoding="utf-8")), threshold=threshold, domain=domain, task=task)


def blank() -> dict[str, Any]:
    """What evidence.json is made from: nothing is fit yet."""
    return {"made": {}, "rarity": {}, "heads": {}, "domains": {}}


def ranked(rarity: Mapping[str, float]) -> dict[str, str]:
    """Rarities as a file keeps them: hundredths, each with its stems."""
    found: dict[str, list[str]] = {}
    for stem, value in sorted(rarity.items()):
        found.setdefault(str(round(value * 100)), []).append(stem)
    return {rank: " ".join(stems) for rank, stems in sorted(found.items(), key=lambda item: int(item[0]))}


def _ranked(facts: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [(int(rank), stems) for rank, stems in facts["rarity"].items()]
