"""`seqline data`: the versions of a model's data, how they differ, bring one back, delete records from all of them."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.dataset.deletion import Forgotten
    from pipelines.dataset.history import Difference, Use
    from pipelines.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Versions of the data: log, diff, restore, forget, sweep.")

Name = Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")]
Which = Annotated[str, typer.Argument(help="Beginning of the version's md5, a git commit, or NAME@VERSION (NAME@champion).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def log(name: Name, as_json: Json = False) -> None:
    """The versions of data/NAME: when, how many rows, what changed, which models learned from it."""
    from rich.table import Table

    from pipelines.dataset import history

    settings, model = _model(name)
    found = history.log(model, settings.project, uses(model, settings))
    table = Table("version", "committed", "rows", "train/validation/test", "changed", "used by", box=None)
    for each in found:
        splits = "/".join(str(each.splits.get(split, "-")) for split in ("train", "validation", "test"))
        when = f"{each.at[:16]} {each.commit[:8]}" if each.commit else "not committed"
        table.add_row(each.md5[:8], when, str(each.rows), splits, ", ".join(each.changed), ", ".join(each.used_by))
    _report([asdict(each) for each in found], as_json, table if found else f"{model}: no version of its data yet")


@app.command()
def diff(name: Name, one: Which, other: Which, as_json: Json = False) -> None:
    """Rows that came, went or changed between two versions, counts of each filter, and what else differs (the policy, say)."""
    from pipelines.dataset import history

    settings, model = _model(name)
    used = uses(model, settings)
    versions = [history.resolve(model, _called(each, model, settings), settings.project, used) for each in (one, other)]
    found = history.diff(model, versions[0], versions[1], settings.project)
    _report({"from": versions[0], "to": versions[1], **asdict(found)}, as_json, "\n".join(_difference(found)))


def _difference(found: "Difference") -> list[str]:
    lines = []
    for split, moved in found.splits.items():
        lines.append(f"{split:<14} {moved.added:>8} added {moved.removed:>8} removed {moved.changed:>8} changed")
        for kind, ids in moved.ids.items():
            if ids:
                lines.append(f"  {kind:<12} {' '.join(ids[:5])}{' ...' if len(ids) > 5 else ''}")
    lines += [f"dropped        {name:<20} {before:>8} -> {after}" for name, (before, after) in found.filters.items()]
    lines += [f"differs        {name:<20} {json.dumps(a)} -> {json.dumps(b)}" for name, (a, b) in found.facts.items()]
    return lines


@app.command()
def restore(name: Name, version: Which, as_json: Json = False) -> None:
    """Bring data/NAME back as it was in a version, every byte checked; other models' data stays."""
    from pipelines.dataset import history, versions

    settings, model = _model(name)
    wanted = history.resolve(model, _called(version, model, settings), settings.project, uses(model, settings))
    pointer = versions.restore(model, wanted, settings.project)
    text = (
        f"data/{model} is that of version {wanted[:8]}; data.dvc names {pointer.md5[:8]}\n"
        f"next           `git commit data.dvc`; a retrain makes data/{model} anew from its source"
    )
    _report({"name": model, "version": wanted, "data_md5": pointer.md5}, as_json, text)


@app.command()
def forget(
    name: Name,
    ids: Annotated[list[str], typer.Argument(help="Ids of the records (column `id` of data/NAME/*.parquet).")],
    why: Annotated[str, typer.Option(help="Kept with the ids: no personal data, please.")] = "",
    as_json: Json = False,
) -> None:
    """Delete records from data/NAME, from every version still in use, and from what is kept of their making."""
    from pipelines.dataset import deletion

    settings, model = _model(name)
    folders = [settings.quarantine(model), settings.folder("work", model)]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    found = deletion.forget(model, ids, settings.project, folders=folders, uses=uses(None, settings), why=why, on=today)
    (settings.folder("work", model) / "receipt.json").unlink(missing_ok=True)  # its retrain read what is gone
    registry = _registry(settings)
    tables = registry.forget_pairs(model, ids) if registry else []
    lines = _forgotten(model, ids, found)
    lines[-2:-2] = [f"table          evaluation.json of run {run}" for run in tables]
    _report({"name": model, **asdict(found), "tables": tables}, as_json, "\n".join(lines))


def _forgotten(model: str, ids: list[str], found: "Forgotten") -> list[str]:
    versions, rows = len(found.rows), sum(found.rows.values())
    lines = [f"{model}: {len(ids)} ids forgotten: {rows} rows gone from {versions} versions; the old bytes are purged"]
    lines += [f"rewritten      {old[:8]} -> {new[:8]}" for old, new in found.rewritten.items()]
    lines += [f"removed        {artifact}" for artifact in found.artifacts]
    lines += [
        f"not reached    version {md5[:8]}: its files are not here: run the same command where they are" for md5 in found.lost
    ]
    if found.trained:
        lines.append(f"learned by     {', '.join(found.trained)}: retrain and `seqline rollback` if it must be out of them too")
    lines.append("next           `git commit data.dvc`; other clones: `dvc pull`, then `seqline data sweep`")
    lines.append("next           take the records out of the source too (the ids are kept: they do not come in again)")
    return lines


@app.command()
def sweep(as_json: Json = False) -> None:
    """Remove what killed runs left half made, and cached objects that no version names."""
    from pipelines.dataset import sweeper

    settings = Settings().apply()
    homes = [path for kind in ("work", "quarantine") for path in sorted((settings.workspace / kind).glob("*"))]
    found = sweeper.sweep(settings.project, homes, uses(None, settings))
    lines = [f"{count:>8} {kind}" for kind, count in found.counts.items()] or ["nothing to sweep"]
    lines += [f"orphans stay: {found.kept}"] if found.kept else []
    _report(asdict(found), as_json, "\n".join([*lines, f"freed {found.freed / 1e6:,.1f} MB"]))


def uses(model: str | None, settings: Settings) -> "list[Use]":
    """Which version of data/ each registered version of `model` (None: of every model) was trained on."""
    from pipelines.dataset.history import Use

    registry = _registry(settings)
    return [Use(name, version, md5) for name, version, md5 in registry.trained_on(model)] if registry else []


def _registry(settings: Settings) -> "Registry | None":
    """None where nothing was ever registered: no reason to make the database."""
    from pipelines.registry import Registry

    if settings.mlflow.startswith("sqlite:///") and not Path(settings.mlflow.removeprefix("sqlite:///")).is_file():
        return None
    return Registry(settings.mlflow, settings.artifacts)


def _called(reference: str, model: str, settings: Settings) -> str:
    """`NAME@champion` and the like by number; anything else as it is."""
    name, at, which = reference.partition("@")
    if not at or which.isdigit():
        return reference
    if name != model:
        raise UserError(f"{reference}: is a version of {name}, not of {model}")
    from pipelines.registry import Registry

    found = Registry(settings.mlflow, settings.artifacts).by_alias(model, which)
    if found is None:
        raise UserError(f"{reference}: no version has the alias {which!r}: `seqline history {model}` lists what there is")
    return f"{model}@{found.version}"


def _model(name: str) -> tuple[Settings, str]:
    settings = Settings().apply()
    return settings, spec_of(name, settings).name


def _report(content: Any, as_json: bool, shown: Any) -> None:

    report(content, as_json, shown)
