"""`seqline sweep NAME`: a version decoded in many ways -> the cheapest that is good enough, for the spec's `serving`.

version, validation pairs ──▶ exports, one a quantisation ──▶ answers, scores, times ──▶ choice, scored on the test pairs

The choice goes into the spec's `serving`, with --write; the next retrain serves it.
"""

import difflib
import io
import json
import logging
import os
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, find_spec
from pipelines.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flows.commands.economy import Registered
    from pipelines.artifact import Export
    from pipelines.economy import Swept
    from pipelines.spec import Spec


def sweep(
    name: Annotated[str, typer.Argument(help="NAME (its champion), NAME@ALIAS or NAME@VERSION.")],
    write: Annotated[bool, typer.Option("--write", help="Write the choice into the model's YAML.")] = False,
    quantisation_only: Annotated[bool, typer.Option("--quantisation-only", help="Only weights of other types.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Beams x length penalties x quantisations on validation pairs: quality, time, cost, and the cheapest good enough."""
    from flows.commands.economy import registered
    from flows.sole import sole
    from pipelines.economy.report import quantisations, summary
    from pipelines.spec import load

    settings = Settings().apply()
    given, _, which = name.partition("@")
    path = find_spec(given, settings)
    spec = load(path)
    if spec.serving.decoding.temperature:
        raise UserError("serving.decoding.temperature: answers that are drawn have no beams to compare: set it to 0")
    if write and path.resolve().is_relative_to(settings.workspace):
        raise UserError(
            f"{given}: no YAML in models/ has this name, so there is none to write the choice into: leave --write out"
        )
    settings.check_disk()
    progress = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with sole("sweep", spec.name, settings), progress:  # two at once would time each other
        swept = line(registered(f"{spec.name}@{which or 'champion'}", settings), spec, quantisation_only, settings)
    found = json.loads((swept.path / "sweep.json").read_text())
    change = changes(found, spec)
    before = path.read_text(encoding="utf-8")
    after = changed(before, change) if change else before
    if write and after != before:
        _replace(path, after)
    table = ["", *quantisations(found)] if quantisation_only else []
    shown = [*summary(found), *table, "", f"report   {swept.path / 'report.md'}", *_next(path, before, after, written=write)]
    told = {"folder": str(swept.path), "change": change, "written": write and after != before, **found}
    report(told, as_json, "\n".join(shown))


def line(made: "Registered", spec: "Spec", quantisation_only: bool, settings: Settings) -> "Swept":
    """Every arrow of the picture, in order."""
    from flows.commands.economy import Overlap, reading_of
    from pipelines import economy

    work = settings.folder("work", made.name)
    section, now = spec.sweep, spec.serving.decoding
    if quantisation_only:
        section = section.model_copy(update={"beams": (now.beam,), "length_penalties": (now.length_penalty,)})
    served = json.loads((made.export.path / "export.json").read_text())["quantisation"]
    subject = economy.Subject(
        name=made.name,
        version=made.version,
        exports=exports(made, served, section.quantisations, work),
        served=served,
        decoding=now,
        reading=reading_of(spec),
        batch_tokens=spec.serving.batch_tokens,
        cost=spec.serving.cost,
    )
    judges = economy.Judges(
        validation=Overlap(made.pairs, spec.scoring, section.floor, "validation", section.pairs),
        test=Overlap(made.pairs, spec.scoring, section.floor),
    )
    return economy.sweep(subject, made.pairs, section, spec.scoring, judges, work)


def exports(made: "Registered", served: str, wanted: tuple[str, ...], work: Path) -> "dict[str, Export]":
    """The version's Export in each quantisation; the registered one alone where CTranslate2 does not know its architecture."""
    from pipelines.economy import again
    from pipelines.training.export import export

    found = {served: made.export}
    others = [kind for kind in wanted if kind != served]
    if others and (made.export.path / "ct2").is_dir():
        _quiet()
        weights = again.weights_of(made.export, made.pairs, work / "quantised")
        policy = made.export.path / "policy"
        for kind in others:
            found[kind] = export(weights, kind, work / "quantised", policy if policy.is_dir() else None)
    return found


def _quiet() -> None:
    """What the libraries say while they convert: progress, and that a type is computed as float32 here (the report says it)."""
    import ctranslate2
    from transformers.utils import logging as transformers_log

    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    ctranslate2.set_log_level(logging.ERROR)


def changes(found: "Mapping[str, Any]", spec: "Spec") -> dict[str, Any]:
    """What the choice changes in the spec's `serving`, by key; nothing where it says so already."""
    chosen, now = found["points"][found["chosen"]], spec.serving
    given = {
        "decoding.beam": (chosen["beam"], now.decoding.beam),
        "decoding.length_penalty": (chosen["length_penalty"], now.decoding.length_penalty),
        "quantisation": (chosen["quantisation"], now.quantisation),
    }
    return {key: new for key, (new, old) in given.items() if new != old}


def changed(text: str, change: dict[str, Any]) -> str:
    """The YAML `text` with `change` in its `serving`, comments and order kept."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4_096
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(text)
    serving = content.setdefault("serving", CommentedMap())
    for key, value in change.items():
        section, _, inner = key.rpartition(".")
        within = serving
        if section:
            if section not in serving:
                serving.insert(0, section, CommentedMap())
                serving[section].fa.set_flow_style()
            within = serving[section]
        name = inner or key
        if name in within:
            within[name] = value
        else:
            within.insert(0, name, value)  # at the end it would come after the blank lines that follow the section
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def _replace(path: Path, text: str) -> None:
    """Write a person's file: killed, it is the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(path.stat().st_mode)
    fresh.replace(path.resolve())


def _next(path: Path, before: str, after: str, *, written: bool) -> list[str]:
    if before == after:
        return ["next     nothing to change: this is how it is served now"]
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), n=0, lineterm="")
    told = "written: the next `seqline retrain` registers a version so" if written else "`--write` makes this change:"
    return [f"next     {told}", *(f"         {line}" for line in lines)]
