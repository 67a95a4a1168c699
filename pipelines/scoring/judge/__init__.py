"""The judges: P(unsupported) for an output and each of its sentences, and the spans that its source does not support.

`lexical` counts words and needs nothing; `evidence` is a calibrated head over cheap columns; a trained judge adds a
cross-encoder where the head is undecided; a hub's judge plugs in by id and pinned commit. All speak `Verdict`.
"""

import re
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import UserError
from pipelines.scoring.judge.verdict import Judge, SentenceVerdict, Span, Verdict, sentence_bounds

__all__ = ["Judge", "SentenceVerdict", "Span", "Verdict", "open_judge", "sentence_bounds"]

HUB = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{7,40}")  # OWNER/MODEL@COMMIT
REGISTERED = re.compile(r"[\w.-]+@[\w.-]+")  # NAME@ALIAS or NAME@VERSION


def open_judge(
    reference: str,
    *,
    threshold: float,
    domain: str = "",
    task: str = "summarization",
    fetch: Callable[[str], Path] | None = None,
) -> Judge:
    """The judge that a spec's `scoring.judge` names.

    `reference` is `lexical`, `evidence`, the folder of a trained judge, NAME@ALIAS or NAME@VERSION of a registered one, or
    OWNER/MODEL@COMMIT of a hub's. `domain` is the judged model's name: where the judge was frozen for it, its own threshold
    holds; elsewhere `threshold` does. `task` is what that model does: `evidence` reads translations otherwise. `fetch` brings
    a registered judge's folder, verified.

    Raises:
        UserError: no such judge.
        Corrupt: the judge's folder does not hold the bytes that it was sealed with.
    """
    if reference == "lexical":
        from pipelines.scoring.judge.lexical import Lexical

        return Lexical(threshold)
    if reference == "evidence":
        from pipelines.scoring.judge.shipped import open_shipped

        return open_shipped(threshold=threshold, domain=domain, task=task)
    if HUB.fullmatch(reference):
        from pipelines.scoring.judge.hub import open_hub

        return open_hub(reference, threshold=threshold)
    if REGISTERED.fullmatch(reference) and not Path(reference).is_dir():
        if fetch is None:
            raise UserError(f"scoring.judge: {reference} is in the registry, which is not open here; give the judge's folder")
        return _folder(fetch(reference), reference, threshold, domain)
    folder = Path(reference)
    if not folder.is_dir():
        known = "lexical, evidence, a folder, NAME@ALIAS, or OWNER/MODEL@COMMIT"
        raise UserError(f"scoring.judge: {reference} is no judge; name {known}")
    return _folder(folder, folder.name, threshold, domain)


def _folder(folder: Path, name: str, threshold: float, domain: str) -> Judge:
    if (folder / "config.json").is_file() and not (folder / "judge.json").is_file():
        from pipelines.scoring.judge.hub import open_local

        return open_local(folder, threshold=threshold)
    from pipelines.scoring.judge.cascade import open_folder

    return open_folder(folder, name=name, threshold=threshold, domain=domain)
