"""`seqline drift NAME`: does what is asked, and what is answered, still look like what the model in production learned from?"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.monitoring import Drift, Profile, Side, TooFew, Tools
    from pipelines.registry import Registry, Version
    from pipelines.registry.traffic import Answered, Traffic
    from pipelines.spec import Spec

Name = Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")]
Out = Annotated[Path | None, typer.Option(help="Where to write the page; by default the workspace.")]
Meanings = Annotated[bool, typer.Option("--embeddings", help="Compare meanings too (extra `judge`); slower: 10 ms a text.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def drift(name: Name, out: Out = None, embeddings: Meanings = False, as_json: Json = False) -> None:
    """Whether the traffic still looks like the training data: what moved, since when, with examples; and a page of it.

    Looked at every day it cries wolf in one month of a hundred at most.
    """
    from pipelines.monitoring import page

    settings = Settings().apply()
    spec = spec_of(name, settings)
    found = look(spec, settings, time.time(), embeddings)
    path = out or settings.folder("pages") / f"drift-{spec.name}.html"
    path.write_text(page.draw(found), encoding="utf-8")
    report({**found.plain(), "page": str(path)}, as_json, "\n".join([*lines(found), f"page           {path}"]))


@dataclass(frozen=True)
class Seen:
    """The sampled traffic from `begun` to `now` (seconds since the epoch) under the `version` in production; no replays."""

    registry: "Registry"
    traffic: "Traffic"
    version: "Version"
    begun: float
    now: float
    answers: "list[Answered]"


def seen(spec: "Spec", settings: Settings, now: float) -> Seen:
    """Read what was asked and answered since the champion was promoted, or since the test began that speaks `now`.

    Raises:
        UserError: no version is in production.
    """
    from flows.watching.replayed import pseudonyms, replayed
    from pipelines.monitoring import since
    from pipelines.registry import Registry
    from pipelines.registry.traffic import Traffic
    from pipelines.rollout.store import Store
    from pipelines.serving import split

    registry = Registry(settings.mlflow, settings.artifacts)
    version = registry.champion(spec.name)
    if version is None:
        raise UserError(f"{spec.name}: no version is in production, so that there is nothing to drift from: `seqline retrain`")
    begun = since(now, promoted(registry, spec.name, version.version))
    store = Store(settings.database)
    store.create()
    ours = replayed(store, spec.name, begun, pseudonyms(settings.hmac_key, spec.rollout.replay.users))
    traffic = Traffic(settings.mlflow, settings.artifacts)
    answers = traffic.sampled(spec.name, begun, now, split.sampled, spec.serving.review.share, ours)
    return Seen(registry, traffic, version, begun, now, answers)


def promoted(registry: "Registry", name: str, version: str) -> float:
    """Since when `version` is in production (seconds since the epoch), as the registry remembers it; 0 where it does not."""
    from pipelines.rollout import production

    reigns = [each for each in production.reigns(registry.history(name)) if not (each.canary or each.former)]
    return reigns[-1].since if reigns and reigns[-1].version == version else 0.0


def look(spec: "Spec", settings: Settings, now: float, embeddings: bool = False, read: Seen | None = None) -> "Drift":
    """The sampled traffic of `spec` up to `now` (seconds since the epoch) beside the references of the version in production.

    With `embeddings` the texts as wholes are compared by meaning (all-MiniLM-L6-v2), else by their hashed words. What was
    `read` already is not read again.

    Raises:
        UserError: no version is in production, the data that it learned from is not on this machine, or no encoder is.
    """
    from pipelines.monitoring import Text, watched

    read = read or seen(spec, settings, now)
    registry, version, answers = read.registry, read.version, read.answers
    asked, said = tools(spec, registry, version, settings, embeddings)
    facts = registry.lineage(spec.name, version.version)
    references = (
        ("input", asked, lambda: sources(spec.name, facts, settings), [Text(each.source, each.at) for each in answers]),
        (
            "output",
            said,
            lambda: read.traffic.outputs(version),
            [Text(each.output, each.at) for each in answers if each.version == version.version],
        ),
    )
    sides = [
        (side, profile(settings.folder("work", spec.name), spec, (side, version.manifest), texts, made_by), seen, made_by)
        for side, made_by, texts, seen in references
    ]
    return watched(spec.name, version.version, sides, read.begun, now)


def tools(
    spec: "Spec", registry: "Registry", version: "Version", settings: Settings, embeddings: bool
) -> tuple["Tools", "Tools"]:
    """What reads a source and what reads an output: the language, the version's own tokenizer, and an encoder if wanted."""
    from pipelines.dataset.languages import language
    from pipelines.monitoring import Tools
    from pipelines.monitoring.pieces import counter

    folder = registry.fetch(spec.name, version.version, settings.folder("live", spec.name))
    tokenizer = folder / "hf" / "tokenizer.json"
    limits = spec.tokens.max_source, spec.serving.decoding.max_tokens
    asked, said = (Tools(language, counter(tokenizer, limit)) for limit in limits)
    if embeddings:
        from pipelines.scoring.judge.embeddings import PACKAGED, Embedder, encoder_folder

        embed = Embedder(encoder_folder(PACKAGED, settings.project)).embed
        asked, said = (replace(each, embed=embed, embedder=PACKAGED) for each in (asked, said))
    return asked, said


def profile(
    work: Path, spec: "Spec", of: tuple[str, str], texts: Callable[[], list[str]], made_by: "Tools"
) -> "Profile | TooFew":
    """The reference of a side and a version's manifest: made of `texts` at the first look, and kept in `work`.

    Where they are too few for one, that: the other side is looked at all the same.
    """
    from pipelines import artifact
    from pipelines.monitoring import TooFew, load, made, save
    from pipelines.monitoring.profile import CODE_VERSION

    limits = spec.tokens.max_source, spec.serving.decoding.max_tokens
    key = artifact.digest("profile", CODE_VERSION, *of, limits, made_by.names, made_by.embedder)[:16]
    folder = work / f"profile-{of[0]}-{key}"
    if artifact.existing(artifact.Artifact, folder) is None:
        try:
            save(made(texts(), made_by), folder)
        except TooFew as few:
            return few
    return load(folder, made_by)


def sources(name: str, lineage: dict[str, Any], settings: Settings) -> list[str]:
    """The sources that a version learned from, in the very dataset that its lineage names.

    Raises:
        UserError: it is not on this machine.
    """
    from pipelines import artifact
    from pipelines.artifact import Dataset
    from pipelines.dataset.splits import read_pairs

    wanted = lineage["dataset_sha256"]
    for folder in (settings.project / "data" / name, *sorted((settings.workspace / "work" / name).glob("dataset-*"))):
        there = artifact.existing(Dataset, folder)
        if there and there.sha256 == wanted:
            artifact.verify(folder, wanted)
            return [pair.source for pair in read_pairs(folder / "train.parquet")]
    version = lineage["version"]
    raise UserError(
        f"{name}: the data of version {version} is not here: `seqline data restore {name} {name}@{version}` brings it back"
    )


def lines(found: "Drift") -> list[str]:
    """For a terminal."""
    shown = [f"{found.name} version {found.version}: {found.verdict}"]
    for side in found.sides:
        shown.append(f"{side.side:<14} {side.verdict}: {side.why}")
        if side.verdict == "drifted":
            shown += _details(side)
    return shown


def _details(side: "Side") -> list[str]:
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(side.since))
    shown = [f"  since        {began}, found after {side.found_after} of {side.texts} texts"]
    for each in side.moved[:6]:
        share = "" if each.training is None or each.now is None else f"{each.training:.1%} -> {each.now:.1%}"
        shown.append(f"  moved        {each.what} {share} (e-value 10^{each.e_value_log10:.1f})")
    told = (("words came", side.came), ("words went", side.went))
    return shown + [f"  {what:<12} {', '.join(words)}" for what, words in told if words]
