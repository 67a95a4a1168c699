"""`seqline batch NAME in.parquet out.parquet`: a file of texts through the version in production (or another)."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.batch import Done, Model

console = Console(highlight=False, soft_wrap=True)


def batch(
    name: Annotated[str, typer.Argument(help="NAME, or NAME@VERSION; NAME alone means the version in production.")],
    source: Annotated[Path, typer.Argument(help="Texts: .parquet, .jsonl or .csv.")],
    out: Annotated[Path, typer.Argument(help="Where the answers go: .parquet, .jsonl or .csv.")],
    column: Annotated[str, typer.Option(help="The column that holds the texts.")] = "text",
) -> None:
    """Answer a file of texts. Killed, the same command goes on where it was."""
    from flows.serve import fetch
    from pipelines import batch as step
    from pipelines.decode import Decoder
    from pipelines.filters import Inspector
    from pipelines.scrub.detect import Detector, applied

    settings = Settings().apply()
    model_name, _, version = name.partition("@")
    spec = spec_of(model_name, settings)
    version = version or _champion(spec.name, settings)
    export = fetch(spec.name, version, settings)
    privacy, tagger = applied(export / "policy", spec.privacy)
    model = step.Model(
        version=version,
        decoder=Decoder(export, threads=len(os.sched_getaffinity(0)), signer=settings.signer),
        detector=Detector(privacy, tagger=tagger),
        inspector=Inspector(spec.serving.filters, spec.task, privacy.target_language or privacy.language),
        spec=spec,
        decoding=spec.serving.decoding,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task(f"{spec.name} {version}", total=None)
        done = step.run(source, out, column, model, lambda rows, total: bar.update(shown, completed=rows, total=total))
    for line in _told(done, model):
        console.print(line)


def _champion(name: str, settings: Settings) -> str:
    from pipelines.rollout.status import in_production
    from pipelines.rollout.store import Store

    store = Store(settings.database)
    store.create()
    version = in_production(store, name)
    if version is None:
        raise UserError(f"{name}: no version is in production: run `seqline retrain`, or name one: {name}@VERSION")
    return version


def _told(done: "Done", model: "Model") -> list[str]:
    spec = model.spec
    cost = done.cost_per_1000(spec)
    price = f"{cost:.4f} {spec.serving.cost.currency}" if cost else "no price set (serving.cost.per_engine_hour)"
    counted = ", ".join(f"{count} {what}" for what, count in sorted(done.counts.items()) if count) or "nothing to remark"
    seconds = done.seconds / max(done.rows, 1) * 1_000
    lines = [
        f"made      {done.out}: {done.rows:,} rows by {spec.name} version {model.version}",
        f"cost      {seconds:.1f} s of decoding per 1,000 rows: {price}",
        f"flags     {counted}",
    ]
    return [*lines, f"resumed   {done.resumed:,} rows were there already"] if done.resumed else lines
