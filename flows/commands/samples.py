"""`seqline samples NAME list|export|forget|sweep`: what answers were sampled for people to look at, and how they go again."""

import json
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.orders import Json, Name
from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.registry.queues import Listed
    from pipelines.registry.retention import Retention, Swept
    from pipelines.spec import Spec

DAY = 86_400.0  # seconds


class What(StrEnum):
    list = "list"
    export = "export"
    forget = "forget"
    sweep = "sweep"


class Format(StrEnum):
    label_studio = "label-studio"


def samples(
    name: Name,
    what: Annotated[What, typer.Argument(help="count them; write them to a file; delete one's; delete the old ones.")],
    target: Annotated[list[str] | None, typer.Argument(help="FILE.json (export), ids of requests or traces (forget).")] = None,
    to: Annotated[Format, typer.Option(help="export: whose format.")] = Format.label_studio,
    everything: Annotated[bool, typer.Option("--all", help="export: all, not only what waits in the queue.")] = False,
    as_json: Json = False,
) -> None:
    """The sampled answers of a model: count, export, forget or sweep them."""
    settings = Settings().apply()
    spec = spec_of(name, settings)
    given = target or []
    if what is What.export:
        if len(given) != 1 or to is not Format.label_studio:
            raise UserError("samples export: give one file to write, as `seqline samples NAME export FILE.json`")
        _export(spec, Path(given[0]), everything, settings, as_json)
    elif what is What.forget:
        if not given:
            raise UserError("samples forget: give the ids of requests (X-Request-Id) or of traces (tr-...)")
        _forget(spec, given, settings, as_json)
    elif given:
        raise UserError(f"samples {what}: takes nothing after it, not {given[0]!r}")
    elif what is What.sweep:
        swept = sweep(spec, settings, time.time())
        where = settings.workspace / "retention" / f"{spec.name}.json"
        shown = [*_gone(swept), *_stays(spec), f"written        {where}"]
        report(swept.plain(), as_json, "\n".join(shown))
    else:
        _list(spec, settings, as_json)


def sweep(spec: "Spec", settings: Settings, now: float) -> "Swept":
    """Delete what is older than the spec's `serving.review.keep_days` at `now` (seconds since the epoch). Raises Transient."""
    return _retention(spec, settings).sweep(now - spec.serving.review.keep_days * DAY)


def forget(spec: "Spec", ids: Sequence[str], settings: Settings) -> "Swept":
    """Delete all that there is of these requests, named by their ids or those of traces. Raises Transient."""
    return _retention(spec, settings).forget(ids)


def _retention(spec: "Spec", settings: Settings) -> "Retention":
    from pipelines.registry.retention import Retention, Stores

    stores = Stores(settings.mlflow, settings.database, settings.workspace, settings.hmac_key, settings.artifacts)
    return Retention(stores, spec.name)


def _forget(spec: "Spec", ids: Sequence[str], settings: Settings, as_json: bool) -> None:
    """Raises UserError: of some there was nothing; the others are forgotten."""
    swept = forget(spec, ids, settings)
    if len(swept.unknown) < len(ids):
        gone = [each for each in ids if each not in swept.unknown]
        report({**swept.plain(), "forgotten": gone}, as_json, "\n".join([*_gone(swept), *_stays(spec)]))
    if swept.unknown:
        named = ", ".join(swept.unknown)
        raise UserError(
            f"samples forget: nothing is here of {named}: forgotten before, gone by age, or mistyped "
            f"(`seqline samples {spec.name} export --all FILE.json` names what there is)"
        )


def strangeness(listed: "Sequence[Listed]", name: str, settings: Settings) -> Mapping[str, float]:
    """How little the source of each answer is like training: the share of its words that few training texts hold, and one
    more where it holds a word that came with a drift. Empty before the first `seqline drift`, which says what training holds.
    """
    from pipelines.monitoring import Tools
    from pipelines.monitoring.facts import facts

    made = (settings.workspace / "work" / name).glob("profile-input-*/profile.json")
    newest = max(made, key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return {}
    known = json.loads(newest.read_text(encoding="utf-8"))["words"]
    came = _came(settings.workspace / "drift" / f"{name}.json")
    read = facts([each.source for each in listed], Tools())
    return {
        each.trace: sum(word not in known for word in fact.words) / max(1, len(fact.words)) + bool(fact.words & came)
        for each, fact in zip(listed, read, strict=True)
    }


def _came(look: Path) -> frozenset[str]:
    """The words that came with a drift of what is asked, as the last look at it told."""
    if not look.is_file():
        return frozenset()
    sides = json.loads(look.read_text(encoding="utf-8")).get("sides", [])
    return frozenset(word for side in sides if side["side"] == "input" for word in side.get("came", []))


def _list(spec: "Spec", settings: Settings, as_json: bool) -> None:
    from pipelines.registry.queues import Queues
    from pipelines.registry.samples import counted

    queues = Queues(settings.mlflow, spec.name, settings.artifacts)
    days = spec.serving.review.keep_days
    found = counted(queues.listed(), queues.waiting(), time.time(), days)
    lines = [f"{spec.name}: {found['samples']} sampled answers, {found['waiting']} wait for a person"]
    lines += [f"  {name:<14} {n['drawn']:>6}, {n['waiting']} wait" for name, n in found["strata"].items()]
    lines += [f"  {name:<14} {count:>6}" for name, count in found["ages"].items()]
    lines += [f"  {f'version {name}':<14} {count:>6}" for name, count in found["versions"].items()]
    lines.append(f"kept           {days} days; {found['due']} are due")
    lines.append(f"next           `seqline labels {spec.name} fill`, `seqline samples {spec.name} export FILE.json`")
    report({"name": spec.name, "keep_days": days, **found}, as_json, "\n".join(lines))


def _export(spec: "Spec", path: Path, everything: bool, settings: Settings, as_json: bool) -> None:
    """Raises UserError: nothing waits, or the file cannot be written."""
    from pipelines.registry.samples import CONFIG, Samples

    store = Samples(settings.mlflow, spec.name, settings.artifacts)
    waiting = store.waiting()
    listed = [each for each in store.listed() if everything or each.trace in waiting]
    if not listed:
        raise UserError(f"{spec.name}: nothing waits in the queue: `seqline labels {spec.name} fill` first, or give --all")
    tasks, config = store.tasks(listed), path.with_name(f"{path.stem}.label-studio.xml")
    try:
        path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        config.write_text(CONFIG, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): give another file") from None
    shown = [
        f"{spec.name}: {len(tasks)} tasks in {path}; labeling config {config}",
        "not reached    by `samples forget` and `sweep`: delete these files yourself when they are done with",
        "next           Label Studio: Settings > Labeling Interface > Code: paste the config; Import: the JSON",
    ]
    report({"name": spec.name, "tasks": len(tasks), "file": str(path), "config": str(config)}, as_json, "\n".join(shown))


def _gone(swept: "Swept") -> list[str]:
    did = "deleted" if swept.before is None else "unlinked"
    lines = [f"{swept.name}: {swept.traces} sampled answers deleted, {swept.kept} kept"]
    lines.append(f"journal        {swept.events} rows {did}{'' if swept.before is None else ' from request and sender'}")
    lines += [f"labels         {swept.labels} counted on without their texts"] if swept.labels else []
    lines += [f"rewritten      {path}" for path in swept.files]
    lines += [f"not reached    {path}: put aside by a restore: delete it when nobody needs it" for path in swept.unreached]
    return lines


def _stays(spec: "Spec") -> list[str]:
    return [
        f"not deleted    what labels became in a version of the data: `seqline data forget {spec.name} ID` does that",
        "not deleted    what labels of answers that went by age had said (verdict, answer, time; no text, no id of a request)",
    ]
