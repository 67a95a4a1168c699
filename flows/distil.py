"""`seqline distil SPEC --teacher NAME`: a smaller model that learns from a registered one's answers, and what that costs.

teacher, pairs ──▶ answers ──▶ tokens ──▶ weights ──▶ export ──▶ report ──▶ table; the registry is not touched
"""

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.settings import Settings
from pipelines.errors import UserError

if TYPE_CHECKING:
    from flows.economy import Registered
    from pipelines.artifact import Dataset
    from pipelines.economy.table import Entry, Table
    from pipelines.spec import Spec


def distil(
    spec: Annotated[Path, typer.Argument(help="The student's YAML: the teacher's, with a smaller training.architecture.")],
    teacher: Annotated[str, typer.Option(help="NAME (its champion), NAME@ALIAS or NAME@VERSION.")],
    beside: Annotated[bool, typer.Option("--beside", help="Train the student on the real targets too, to compare.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a small model on a registered one's answers. Killed, the same command goes on where it was."""
    from flows.cli import report
    from flows.economy import registered
    from flows.sole import sole
    from pipelines.economy.table import lines
    from pipelines.spec import load

    settings = Settings().apply()
    student = load(spec)
    settings.check_disk()
    made = registered(teacher, settings)
    _same_pairs(student, made)
    progress = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with sole("distil", student.name, settings), progress:
        table = line(student, spec, made, settings, beside=beside)
    found = json.loads((table.path / "distil.json").read_text())
    shown = [*lines(found), "", f"report   {table.path / 'report.md'}", f"student  {found['rows'][1]['export']}"]
    report({"folder": str(table.path), **found}, as_json, "\n".join(shown))


def _same_pairs(student: "Spec", teacher: "Registered") -> None:
    """Other pairs, or others of them held out, and the student would be tested on what its teacher was trained on."""
    from pipelines.spec import Data, Privacy

    same = {
        "data": Data.model_validate(teacher.spec["data"]) == student.data,
        "privacy": Privacy.model_validate(teacher.spec["privacy"]) == student.privacy,
    }
    for key in (key for key, holds in same.items() if not holds):
        which = f"{teacher.name} version {teacher.version}"
        raise UserError(f"{key}: must be as in {which}, whose pairs the student learns from: copy it from its YAML")


def line(student: "Spec", path: Path, made: "Registered", settings: Settings, *, beside: bool) -> "Table":
    """Every arrow of the picture, in order; all lies with the student's work."""
    from flows.economy import Overlap, reading_of
    from pipelines.economy.table import Entry, table
    from pipelines.spec import Decoding
    from pipelines.training.teach import teach

    work = settings.folder("work", student.name)
    reading, batch_tokens = reading_of(student), student.serving.batch_tokens
    decoding = Decoding.model_validate(made.spec["serving"]["decoding"])
    taught = teach(made.export, made.pairs, decoding, reading, batch_tokens, work)
    entries = [Entry(f"teacher: {made.name} {made.version}", made.export, decoding)]
    learned = {"student, of its answers": taught} | ({"student, of real targets": made.pairs} if beside else {})
    entries += [trained(name, student, path, made, pairs, work) for name, pairs in learned.items()]
    judge = Overlap(made.pairs, student.scoring, student.sweep.floor)
    return table(entries, made.pairs, reading, batch_tokens, student.scoring, judge, work)


def trained(name: str, student: "Spec", path: Path, made: "Registered", pairs: "Dataset", work: Path) -> "Entry":
    """The student in `student`, trained on `pairs` by the ordinary steps; its report has the teacher for its champion."""
    from flows.economy import reading_of
    from pipelines import encode, scoring
    from pipelines.economy.table import Entry
    from pipelines.scrub.detect import placeholders
    from pipelines.training import base, export, fit

    start = base.resolve(student.training.base, path.parent, lambda: made.export.path)
    tokens = encode.encode(pairs, student.tokens, placeholders(student.privacy), start, work)
    weights = fit.fit(tokens, student.training, start, work)
    policy = made.export.path / "policy"
    exported = export.export(weights, student.serving.quantisation, work, policy if policy.is_dir() else None)
    language = student.privacy.target_language or student.privacy.language
    filtering = scoring.Filtering(student.serving.filters, student.task, language)
    how = (student.scoring, student.serving.decoding, work, filtering, reading_of(student))
    report = scoring.score(exported, made.pairs, made.export.path, *how)
    return Entry(name, exported, student.serving.decoding, str(report.path / "report.md"))
