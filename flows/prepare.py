"""The first arrows of every line: raw ──▶ clean ──▶ dataset."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.settings import Settings
from flows.steps import step
from pipelines import dataset, sources
from pipelines.artifact import Clean, Dataset, Raw
from pipelines.dataset.store import read_pointer
from pipelines.scrub.audit import expire
from pipelines.scrub.step import Keys, scrub
from pipelines.spec import Spec


@dataclass(frozen=True)
class Prepared:
    raw: Raw
    clean: Clean
    pairs: Dataset


def prepare(spec: Spec, path: Path, settings: Settings, learnt: Sequence[tuple[str, str]] = ()) -> Prepared:
    """Read, scrub, curate and split the data of the spec in `path`; what the quarantine may no longer keep goes first.

    `learnt` are the data, (model, md5) each, that the version in production and the teacher were trained on: what is published
    may be other data (an older version, restored), and nothing that they learned from may join the test set.
    """
    work, quarantine = settings.folder("work", spec.name), settings.quarantine(spec.name)
    expire(quarantine, spec.privacy.quarantine_days)
    sources.expire(settings.source_cache, spec.privacy.quarantine_days)
    forgotten = dataset.forgotten(settings.project, spec.name)
    raw = step("ingest", sources.ingest)(spec.data, path.parent, settings.source_cache, quarantine, settings.source_urls)
    clean = step("scrub", scrub)(raw, spec.privacy, work, quarantine, Keys(settings.hmac_key, settings.vault_key), forgotten)
    published = _published(spec, settings, learnt)
    pairs = step("curate and split", dataset.split)(clean, spec.data, work, published, forgotten)
    return Prepared(raw, clean, pairs)


def _published(spec: Spec, settings: Settings, learnt: Sequence[tuple[str, str]]) -> dataset.Frozen | None:
    """The published test set, which knows what was learned elsewhere, too."""
    found = dataset.frozen(settings.project / "data" / spec.name)
    if found is None or not spec.data.splits.fresh:
        return found
    pointer = read_pointer(settings.project)
    elsewhere = [each for each in learnt if each[1] and each != (spec.name, pointer.md5 if pointer else "")]
    return replace(found, known=(*found.known, *(p for each in elsewhere for p in dataset.learnt(settings.project, *each))))
