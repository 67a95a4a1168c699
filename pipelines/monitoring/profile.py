"""The reference: what traffic is compared with, as counts and short vectors. It holds words that some texts share, no text."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines import artifact
from pipelines.artifact import Artifact
from pipelines.errors import SeqlineError, UserError
from pipelines.monitoring.facts import Facts, Tools, facts, vectors
from pipelines.monitoring.questions import Questions, chosen, questions

CODE_VERSION = 2
CHOOSING, COMPARED = 3_000, 4_000
"""Texts on which the questions are chosen, and others on which they are answered: with 4,000, a share is known to a point."""
FEWEST = 100  # distinct texts
SEVERAL = 3  # texts that hold a word, or a field's value, before it is kept by name: it outlives them
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Profile:
    """Of `texts` texts: how many answer yes to each question, a vector each (float32), and in how many each word stands.

    `words` are counted over all that were read, `read` texts. `tools` and `embedder` say what it was made with.
    """

    questions: Questions
    texts: int
    yeses: Counts
    vectors: NDArray[np.float32]
    words: Mapping[str, int]
    read: int
    tools: tuple[str, ...]
    embedder: str


class TooFew(UserError):
    """There are too few texts for a reference: of that side nothing can be told."""


def made(texts: Sequence[str], tools: Tools) -> Profile:
    """The profile of scrubbed training texts (or of what a version answered to held-out ones): a sample of the distinct ones.

    Raises:
        TooFew: fewer than FEWEST of them are distinct.
    """
    taken = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())
    if len(taken) < FEWEST:
        raise TooFew(f"data: {len(taken)} distinct texts are too few to tell a drift from: give {FEWEST} or more")
    half = min(CHOOSING, len(taken) // 2)
    first, second = taken[:half], taken[half : half + COMPARED]
    return of_facts(facts(first, tools), facts(second, tools), vectors(second, tools), tools)


def of_facts(choosing: Sequence[Facts], compared: Sequence[Facts], whole: NDArray[np.float32], tools: Tools) -> Profile:
    """The profile, of the facts of its two samples, which share no text, and the vectors of the second."""
    asked = chosen(choosing)
    return Profile(
        asked,
        len(compared),
        asked.answers(compared).sum(axis=0, dtype=np.int64),
        whole.astype(np.float16).astype(np.float32),  # as it will be read back
        words_of([*choosing, *compared]),
        len(choosing) + len(compared),
        tuple(tools.names),
        tools.embedder,
    )


def words_of(read: Sequence[Facts]) -> dict[str, int]:
    """In how many of them each word stands, where it is SEVERAL or more."""
    counted = Counter(word for each in read for word in each.words)
    return {word: n for word, n in sorted(counted.items()) if n >= SEVERAL}


def save(profile: Profile, folder: Path) -> Artifact:
    """Seal it into `folder` (profile.json, vectors.safetensors), unless it is there."""
    return artifact.make(Artifact, folder, lambda building: _write(profile, building))


def _write(profile: Profile, folder: Path) -> None:
    from safetensors.numpy import save_file

    told = {
        "code": CODE_VERSION,
        "texts": profile.texts,
        "read": profile.read,
        "tools": profile.tools,
        "embedder": profile.embedder,
        "yeses": profile.yeses.tolist(),
        "words": dict(profile.words),
        "questions": profile.questions.plain(),
    }
    (folder / "profile.json").write_text(json.dumps(told, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    save_file({"vectors": profile.vectors.astype(np.float16)}, folder / "vectors.safetensors")


def load(folder: Path, tools: Tools) -> Profile:
    """The profile in `folder`, every byte checked.

    Raises:
        Corrupt: it is not what was sealed. SeqlineError: it was made by other code or with other `tools`.
    """
    from safetensors.numpy import load_file

    artifact.verify(folder)
    told = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    made_by, ours = (told["code"], told["tools"], told["embedder"]), (CODE_VERSION, tools.names, tools.embedder)
    if made_by != ours:
        raise SeqlineError(
            f"{folder.name}: a profile made otherwise ({made_by}, not {ours}): remove the folder, it is made anew"
        )
    return Profile(
        questions(told["questions"]),
        told["texts"],
        np.array(told["yeses"], dtype=np.int64),
        load_file(folder / "vectors.safetensors")["vectors"].astype(np.float32),
        told["words"],
        told["read"],
        tuple(told["tools"]),
        told["embedder"],
    )
