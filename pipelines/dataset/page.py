"""The data page: what came, what went and why, what is left; one HTML file with its pictures in it, and no network.

It is an artifact of its own beside the Dataset: a page that looks better is no new version of the data.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Artifact, Clean, Dataset, Tokens
from pipelines.dataset.splits import SPLITS, Pair, read_pairs

TEMPLATE = Path(__file__).with_name("page.html")
CODE_VERSION = 1
LANGUAGE_SAMPLE = 2_000  # train pairs whose languages are told: enough for a share to two points, in a second
LANGUAGES = 6  # shown by name
SAMPLES = 5  # pairs that stayed, to look at
Json = Mapping[str, Any]


def draw_page(clean: Clean, pairs: Dataset, tokens: Tokens, out: Path) -> Artifact:
    """data.html in a sealed folder. It holds what its inputs hold: scrubbed text."""
    key = artifact.digest("page", CODE_VERSION, artifact.file_sha256(TEMPLATE), clean, pairs, tokens)[:16]
    return artifact.make(Artifact, out / f"page-{key}", lambda folder: _write(folder / "data.html", clean, pairs, tokens))


def _write(path: Path, clean: Clean, pairs: Dataset, tokens: Tokens) -> None:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from pipelines.dataset import pictures

    told, scrubbed = (json.loads(each.read_text()) for each in (pairs.path / "dataset.json", clean.path / "scrub.json"))
    texts = {name: read_pairs(pairs.path / f"{name}.parquet") for name in SPLITS}
    encoded = json.loads((tokens.path / "tokens.json").read_text())
    page = {
        "version": pairs.sha256[:12],
        "facts": told,
        "waterfall": Markup(pictures.waterfall(told["filters"], told["rows"])),  # noqa: S704  (our own SVG; texts are escaped)
        "clusters": Markup(pictures.clusters(told["cluster_sizes"])),  # noqa: S704
        "words": Markup(pictures.lengths(_words(texts))),  # noqa: S704
        "tokens": Markup(pictures.lengths(_tokens(tokens.path, encoded))),  # noqa: S704
        "encoded": encoded,
        "languages": {side: _languages(texts["train"], side) for side in ("source", "target")},
        "samples": _samples(pairs.path / "dropped.parquet"),
        "kept": sorted(texts["train"], key=_rank)[:SAMPLES],
        "quarantined": scrubbed.get("quarantined", {}),
        "entities": scrubbed.get("entities", {}),
        "recall": [{"what": what, **found} for what, found in _recalls(scrubbed)],
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    path.write_text(environment.from_string(TEMPLATE.read_text()).render(page), encoding="utf-8")


def _rank(pair: Pair) -> bytes:
    return hashlib.sha256(pair.id.encode()).digest()


def _words(texts: Mapping[str, Sequence[Pair]]) -> list[tuple[str, dict[str, list[int]], None]]:
    sides = ("source", "target")
    return [
        (
            f"words of a {side}",
            {name: [len(getattr(pair, side).split()) for pair in pairs] for name, pairs in texts.items()},
            None,
        )
        for side in sides
    ]


def _tokens(folder: Path, encoded: Json) -> list[tuple[str, dict[str, list[int]], int]]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def lengths(split: str, side: str) -> list[int]:
        column = pq.read_table(folder / f"{split}.parquet", columns=[f"{side}_ids"])[f"{side}_ids"]
        found: list[int] = pc.list_value_length(column).to_pylist()
        return found

    return [
        (f"tokens of a {side}", {split: lengths(split, side) for split in ("train", "validation")}, encoded[f"max_{side}"])
        for side in ("source", "target")
    ]


def _languages(pairs: Sequence[Pair], side: str) -> dict[str, float]:
    """The share of each language among a sample of the texts that are long enough, the most frequent first."""
    from pipelines.dataset.languages import language

    chosen = sorted(pairs, key=_rank)[:LANGUAGE_SAMPLE]
    counts = Counter(name for pair in chosen if (name := language(getattr(pair, side))))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shares = {name: count / counts.total() for name, count in ranked[:LANGUAGES]}
    others = sum(count for _, count in ranked[LANGUAGES:])
    return shares | ({"others": others / counts.total()} if others else {})


def _samples(path: Path) -> dict[str, list[dict[str, str]]]:
    import pyarrow.parquet as pq

    found: dict[str, list[dict[str, str]]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault(row["filter"], []).append(row)
    return found


def _recalls(told: object, where: str = "") -> Iterator[tuple[str, Json]]:
    """Every measured recall in scrub.json, however deep, with the way to it as its name."""
    if not isinstance(told, Mapping):
        return
    if "recall" in told and "interval" in told:
        yield where, told
        return
    for name, inner in told.items():
        yield from _recalls(inner, f"{where}, {name}" if where else str(name))
