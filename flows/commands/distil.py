"""`seqline distil SPEC --teacher NAME`: a smaller model that learns from a registered one's answers, and what that costs.

teacher, pairs ──▶ answers ──▶ tokens ──▶ weights ──▶ export ──▶ report ──▶ table

The registry is not touched: `teacher: NAME` in the student's YAML makes `seqline retrain` register it (flows/teaching.py).
"""

import json
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.reporting import report
from flows.settings import Settings
from pipelines.errors import UserError

if TYPE_CHECKING:
    from flows.commands.economy import Registered
    from pipelines.artifact import Dataset
    from pipelines.economy.table import Entry, Table
    from pipelines.spec import Spec


def distil(
    spec: Annotated[Path, typer.Argument(help="The student's YAML: the teacher's, with a smaller training.architecture.")],
    teacher: Annotated[
        str, typer.Option(help="NAME (its champion), NAME@ALIAS or NAME@VERSION; else the YAML's `teacher`.")
    ] = "",
    beside: Annotated[bool, typer.Option("--beside", help="Train the student on the real targets too, to compare.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a small model on a registered one's answers. Killed, the same command goes on where it was."""
    from flows.commands.economy import registered, same_pairs
    from flows.sole import sole
    from pipelines.economy.table import lines
    from pipelines.spec import load

    settings = Settings().apply()
    student = load(spec)
    asked = teacher or student.teacher
    if not asked:
        raise UserError(
            f"{spec}: teacher: must be given, there or by --teacher: a registered model that the student learns from"
        )
    settings.check_disk()
    made = registered(asked, settings)
    same_pairs(student, made)
    progress = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with sole("distil", student.name, settings), progress:
        table = line(student, spec, made, settings, beside=beside)
    found = json.loads((table.path / "distil.json").read_text())
    shown = [*lines(found), "", f"report   {table.path / 'report.md'}", f"student  {found['rows'][1]['export']}"]
    if not student.teacher:
        shown.append(f"next     `teacher: {asked}` in {spec}: the next `seqline retrain {spec}` registers the student")
    report({"folder": str(table.path), **found}, as_json, "\n".join(shown))


def line(student: "Spec", path: Path, made: "Registered", settings: Settings, *, beside: bool) -> "Table":
    """Every arrow of the picture, in order; all lies with the student's work."""
    from flows.commands.economy import Overlap, in_production, reading_of
    from pipelines.economy.table import Entry, table
    from pipelines.spec import Decoding
    from pipelines.training import base
    from pipelines.training.teach import teach

    work = settings.folder("work", student.name)
    reading, batch_tokens = reading_of(student), student.serving.batch_tokens
    decoding = Decoding.model_validate(made.spec["serving"]["decoding"])
    taught = teach(made.export, made.pairs, decoding, reading, batch_tokens, work)
    entries = [Entry(f"teacher: {made.name} {made.version}", made.export, decoding)]
    learned = {"student, of its answers": taught} | ({"student, of real targets": made.pairs} if beside else {})
    start = base.resolve(student.training.base, path.parent, lambda: in_production(student.name, settings))
    entries += [trained(name, student, start, made, pairs, work) for name, pairs in learned.items()]
    judge = Overlap(made.pairs, student.scoring, student.sweep.floor)
    return table(entries, made.pairs, reading, batch_tokens, student.scoring, judge, work)


def trained(name: str, student: "Spec", start: Path | None, made: "Registered", pairs: "Dataset", work: Path) -> "Entry":
    """The student in `student`, trained on `pairs` from `start` by the ordinary steps; its report's champion is the teacher."""
    from flows.commands.economy import reading_of
    from flows.retrain import measured_by
    from pipelines import encode, scoring
    from pipelines.economy.table import Entry
    from pipelines.scrub.detect import placeholders
    from pipelines.training import export, fit

    tokens = encode.encode(pairs, student.tokens, placeholders(student.privacy), start, work)
    weights = fit.fit(tokens, student.training, start, work, measured_by(student.scoring.metric))
    policy = made.export.path / "policy"
    exported = export.export(weights, student.serving.quantisation, work, policy if policy.is_dir() else None)
    language = student.privacy.target_language or student.privacy.language
    filtering = scoring.Filtering(student.serving.filters, student.task, language)
    how = (student.scoring, student.serving.decoding, work, filtering, reading_of(student))
    report = scoring.score(exported, made.pairs, made.export.path, *how)
    return Entry(name, exported, student.serving.decoding, str(report.path / "report.md"))
