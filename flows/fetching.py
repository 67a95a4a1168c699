"""A registered judge, brought here. Light to import: the judge's own process does it too."""

from pathlib import Path

from flows.settings import Settings
from pipelines.errors import UserError


def fetched(reference: str, settings: Settings) -> Path:
    """The folder of the registered judge NAME@ALIAS or NAME@VERSION: whole, signed by the key that engines trust.

    Raises:
        UserError: there is no such version. Corrupt: its bytes are not those that were registered.
    """
    from pipelines.registry import Registry

    name, _, which = reference.partition("@")
    registry = Registry(settings.mlflow, settings.artifacts)
    version = registry.version(name, which) if which.isdigit() else registry.by_alias(name, which)
    if version is None:
        raise UserError(
            f"scoring.judge: {reference}: no version has this alias; `seqline retrain models/{name}.yaml` makes one"
        )
    return registry.fetch(name, version.version, settings.folder("live", name), settings.signer)
