"""Did what a model was trained on change? By checksums alone, and only where these are cheap: no row is read.

files, a folder of `hub`   sha256 of each file
hub                        the commit that the hub names
debian                     sha256 of the index files, after an `apt-get update` at most every ten minutes (unchanged: some 304s)
sql with a cursor          how many rows, and the largest value of the cursor
sql without                untold: every row would have to be read
catalogs                   cannot change: the spec pins each wheel's version
labels                     untold here: people's answers are counted, not compared (`labels` of flows/watch.py)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipelines import spec
from pipelines.sources import debian, debian_translations, files, hub, sql


class Seen(NamedTuple):
    """{input: version} as facts.json tells them, of the sources where that is cheap; and a line for each of the others."""

    inputs: Mapping[str, str]
    untold: tuple[str, ...]


def seen(data: spec.Data, base: Path, cache: Path, urls: Mapping[str, str]) -> Seen:
    """What would be read now; arguments and errors as those of `pipelines.sources.ingest`."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    inputs: dict[str, str] = {}
    untold: list[str] = []
    for source in (data.source, *data.extra):
        found = _inputs(source, base, cache, urls)
        if isinstance(found, str):
            untold.append(found)
        else:
            inputs |= found
    return Seen(inputs, tuple(untold))


def changed(now: Seen, trained: Mapping[str, str]) -> tuple[str, ...]:
    """The inputs of `now` that are not as in `trained`, and, if all are known, those that are gone; in order."""
    other = {name for name, version in now.inputs.items() if trained.get(name) != version}
    gone = () if now.untold else set(trained) - set(now.inputs)
    return tuple(sorted({*other, *gone}))


def _inputs(  # noqa: PLR0911 (a kind each)
    source: spec.Source, base: Path, cache: Path, urls: Mapping[str, str]
) -> Mapping[str, str] | str:
    """{input: version}, or why that is not told."""
    match source:
        case spec.FilesSource():
            return files.reading(source, base).inputs
        case spec.HubSource():
            return hub.reading(source, base, cache).inputs
        case spec.DebianSource():
            return debian.reading(source, cache / "apt").inputs
        case spec.DebianTranslationsSource():
            return debian_translations.reading(source, cache / f"apt-{source.language}").inputs
        case spec.SqlSource():
            return sql.counted(source, base, urls) or "sql: a change shows without reading all only with data.source.cursor"
        case spec.CatalogsSource():
            return "catalogs: pinned by the spec"
        case spec.LabelsSource():
            return "labels: counted"
