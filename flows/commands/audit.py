"""`seqline audit`: how well a model's data was scrubbed, what personal data stands in a file, whether a person was in it."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import audit_file
from flows.reporting import report
from flows.settings import Settings, find_spec
from pipelines import artifact
from pipelines.errors import UserError
from pipelines.spec import Spec, load
from pipelines.spec.privacy import Privacy

if TYPE_CHECKING:
    from rich.table import Table


def audit(
    target: Annotated[str, typer.Argument(help="A model (its name, or the path of its YAML), or a file of texts.")],
    spec: Annotated[Path | None, typer.Option(help="For a file: the YAML whose privacy says what to look for.")] = None,
    who: Annotated[
        str | None, typer.Option(help="For a model: was this value (a name, an address) in its data? `-` reads it from stdin.")
    ] = None,
    restore: Annotated[
        Path | None, typer.Option(help="For a model with a vault: write the original pairs to this Parquet file.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="For a file: print the values too, to a terminal only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What was scrubbed and what was missed; what personal data stands in a file; whether a person was in the data."""

    settings = Settings().apply()
    if show and (as_json or not sys.stdout.isatty()):
        raise UserError("--show: values are printed to a terminal only, not to a file, a pipe or JSON")
    if audit_file.is_file(target):
        if who or restore:
            raise UserError(f"{'--who' if who else '--restore'}: needs a model, not a file: give its name or its YAML")
        privacy = load(spec).privacy if spec else Privacy()
        found = audit_file.audit(Path(target), privacy, show=show)
        report(found, as_json, audit_file.table(found))
        return
    model = load(find_spec(target, settings))
    if who:
        records = look_up(model, sys.stdin.readline().strip() if who == "-" else who, settings)
        report(records, as_json, _people(records))
    elif restore:
        count = write_originals(model, restore, settings)
        report({"pairs": count, "path": str(restore)}, as_json, f"{count} original pairs in {restore} (readable by you alone)")
    else:
        facts = of_model(model, settings)
        report(facts, as_json, measures(facts))


def cleans(name: str, settings: Settings) -> list[Path]:
    """The whole Clean artifacts of a model, the newest last."""
    found = (settings.workspace / "work" / name).glob("clean-*")
    return sorted((path for path in found if (path / artifact.MANIFEST).is_file()), key=lambda path: path.stat().st_mtime)


def of_model(spec: Spec, settings: Settings) -> dict[str, Any]:
    """The newest slice's measures; without one those of the champion's package.

    Raises:
        UserError: there is neither.
    """
    from pipelines.scrub.audit import verdicts

    here = cleans(spec.name, settings)
    if here:
        clean = here[-1]
        scrubbed, policy, where = json.loads((clean / "scrub.json").read_text()), spec.privacy, clean.name
        log = clean / "trail.parquet"
    else:
        from pipelines.registry import Registry

        lineage = Registry(settings.mlflow, settings.artifacts).lineage(spec.name)
        scrubbed, policy, where = lineage["scrub"], Privacy.model_validate(lineage["privacy"]), f"version {lineage['version']}"
        log = None
    known, planted = (_by_language(scrubbed.get(key, {}), policy) for key in ("known", "audit"))
    return {
        "name": spec.name,
        "of": where,
        "pairs": scrubbed.get("pairs"),
        "entities": scrubbed.get("entities", {}),
        "recall": verdicts(policy, known, planted),
        "quarantined": scrubbed.get("quarantined", {}),
        "false_positives": scrubbed.get("false_positives"),
        "trail": os.path.relpath(log) if log and log.is_file() else None,
    }


def _by_language(recalls: dict[str, Any], policy: Privacy) -> dict[str, Any]:
    """Packages of older versions have {entity: measure}, of one language."""
    flat = any("recall" in measure for measure in recalls.values())
    return {policy.language: recalls} if flat else recalls


def look_up(spec: Spec, value: str, settings: Settings) -> list[dict[str, Any]]:
    """The records of the model's slices in which `value` was replaced, and the versions trained on them. Never the value.

    Raises:
        UserError: there is no audit log, or nothing to look for.
    """
    from pipelines.scrub import trail

    logs = [clean for clean in cleans(spec.name, settings) if (clean / "trail.parquet").is_file()]
    if not value:
        raise UserError("--who: names nobody: give a name, an address or a number")
    if not logs:
        raise UserError(f"{spec.name}: there is no audit log here: `seqline retrain` writes one")
    trained = _versions(spec.name, settings)
    return [
        {"clean": clean.name, "versions": trained.get(_same(clean), []), **record._asdict()}
        for clean in logs
        for record in trail.look_up(clean / "trail.parquet", settings.hmac_key, value)
    ]


def _same(clean: Path) -> str:
    """By which a version's package and the slice that it was trained on know each other."""
    return artifact.digest(json.loads((clean / "scrub.json").read_text()))


def _versions(name: str, settings: Settings) -> dict[str, list[str]]:
    from pipelines.registry import Registry

    registry = Registry(settings.mlflow, settings.artifacts)
    trained: dict[str, list[str]] = {}
    for entry in registry.history(name):
        if entry.event == "registered":
            trained.setdefault(artifact.digest(registry.lineage(name, entry.version)["scrub"]), []).append(entry.version)
    return trained


def write_originals(spec: Spec, path: Path, settings: Settings) -> int:
    """Restore the newest slice from its vault, to a Parquet file (id, source, target; mode 0600); returns the pairs.

    Raises:
        UserError: no vault, no key, the wrong key, or the file is there. Corrupt: something changed since it was sealed.
    """
    from pipelines.scrub.vault import Vault, write_restored

    vaults = [
        (clean, vault)
        for clean in cleans(spec.name, settings)
        if (vault := settings.quarantine(spec.name) / clean.name.replace("clean-", "scrub-") / "vault.parquet").is_file()
    ]
    if not vaults:
        raise UserError(f"{spec.name}: has no vault here: set `privacy.vault: true` in its YAML and retrain")
    if settings.vault_key is None:
        raise UserError("SEQLINE_VAULT_KEY: is not set: a vault opens with the key it was written with")
    if path.exists():
        raise UserError(f"{path}: is there already: name another file")
    clean, vault = vaults[-1]
    return write_restored(Vault(settings.vault_key).restore(clean / "pairs.parquet", vault), path)


def measures(facts: dict[str, Any]) -> "Table":
    from rich.table import Table

    table = Table("language", "type", "spans", "known values", "planted values", box=None)
    table.title = f"{facts['name']}: {facts['pairs']} pairs of {facts['of']}"
    table.title_justify = table.caption_justify = "left"
    for language, entities in facts["recall"].items():
        for entity, found in entities.items():
            spans = str(facts["entities"].get(entity, {}).get("spans", 0))
            table.add_row(language, entity, spans, _recall(found["known"]), _recall(found["planted"]))
    table.caption = "\n".join(_notes(facts))
    return table


def _recall(measured: dict[str, Any] | None) -> str:
    if not measured:
        return "not measured"
    low, high = measured["interval"]
    return f"{measured['missed']} of {measured['values']} missed: recall {measured['recall']:.1%} [{low:.1%}, {high:.1%}]"


def _notes(facts: dict[str, Any]) -> Iterator[str]:
    """What stands below the table."""
    quarantined = facts["quarantined"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in quarantined.items())
    yield f"quarantined      {sum(quarantined.values())} pairs{f': {reasons}' if reasons else ''}"
    if wrong := facts["false_positives"]:
        yield f"false persons    {wrong['after']} per 1,000 words of text that names nobody ({wrong['words']} words, at least)"
    yield f"audit log        {facts['trail'] or 'none here'}"
    unmeasured = [f"{language} {entity}" for language, its in facts["recall"].items() for entity, found in its.items()
                  if found["verdict"] != "measured"]  # fmt: skip
    if unmeasured:
        yield f"not measured, so not to be called scrubbed: {', '.join(unmeasured)}"


def _people(records: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    if not records:
        return "in none of the audit logs here, as it is written: other spellings and parts of a name are other values"
    table = Table("slice", "versions", "record", "side", "type", "placeholder", box=None)
    for each in records:
        versions = ", ".join(each["versions"]) or "none"
        table.add_row(each["clean"], versions, each["id"], each["side"], each["entity"], each["placeholder"])
    return table
