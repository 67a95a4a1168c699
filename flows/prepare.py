"""The first arrows of every line: raw ──▶ clean ──▶ dataset."""

from dataclasses import dataclass
from pathlib import Path

from flows.settings import Settings
from flows.steps import step
from pipelines import dataset, sources
from pipelines.artifact import Clean, Dataset, Raw
from pipelines.scrub.audit import expire
from pipelines.scrub.step import Keys, scrub
from pipelines.spec import Spec


@dataclass(frozen=True)
class Prepared:
    raw: Raw
    clean: Clean
    pairs: Dataset


def prepare(spec: Spec, path: Path, settings: Settings) -> Prepared:
    """Read, scrub, curate and split the data of the spec in `path`; what the quarantine may no longer keep goes first."""
    work, quarantine = settings.folder("work", spec.name), settings.quarantine(spec.name)
    expire(quarantine, spec.privacy.quarantine_days)
    sources.expire(settings.source_cache, spec.privacy.quarantine_days)
    forgotten = dataset.forgotten(settings.project, spec.name)
    raw = step("ingest", sources.ingest)(spec.data, path.parent, settings.source_cache, quarantine, settings.source_urls)
    clean = step("scrub", scrub)(raw, spec.privacy, work, quarantine, Keys(settings.hmac_key, settings.vault_key), forgotten)
    published = dataset.frozen(settings.project / "data" / spec.name)
    pairs = step("curate and split", dataset.split)(clean, spec.data, work, published, forgotten)
    return Prepared(raw, clean, pairs)
