"""`seqline export`: a version as one folder for devices that have ctranslate2 and sentencepiece, and no torch."""

from pathlib import Path
from typing import Annotated

import typer

from flows.reporting import report
from flows.settings import Settings
from pipelines.errors import UserError


def export(
    name: Annotated[str, typer.Argument(help="NAME (its champion), NAME@ALIAS or NAME@VERSION.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not be there yet.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One folder that runs with ctranslate2 and sentencepiece alone: model, pieces, a short example, card, signature."""
    from pipelines import on_device, signature
    from pipelines.registry import Registry
    from pipelines.registry.package import CARD
    from pipelines.registry.versions import MODEL
    from pipelines.spec import Decoding

    settings = Settings().apply()
    model, _, which = name.partition("@")
    registry = Registry(settings.mlflow, settings.artifacts)
    version = registry.version(model, which) if which.isdigit() else registry.by_alias(model, which or "champion")
    if version is None:
        raise UserError(
            f"{name}: no version has the alias {which or 'champion'!r}: `seqline history {model}` lists what there is"
        )
    files = registry.fetch(model, version.version, settings.folder("live", model), settings.signer)
    served = registry.lineage(model, version.version)["spec"]["serving"]["decoding"]
    licence = settings.project / "LICENSE"
    about = on_device.About(
        name=model,
        version=version.version,
        card=registry.text(version.run_id, f"{MODEL}/{CARD}") or "",
        licence=licence.read_text(encoding="utf-8") if licence.is_file() else "",
    )
    sha256 = on_device.export(files, Decoding.model_validate(served), about, settings.signing_key, folder)
    signer = signature.fingerprint_of(settings.signing_key)
    told = {"name": model, "version": version.version, "folder": str(folder), "manifest": sha256, "signer": signer}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shown = [f"{model} {version.version} in {folder}: {size / 1e6:,.1f} MB, signed by {signer[:12]}"]
    shown += [
        "next           `pip install ctranslate2 sentencepiece`, then",
        f"               `python {folder}/example.py < text.txt`",
    ]
    report(told, as_json, "\n".join(shown))
