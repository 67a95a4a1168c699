"""The report as one HTML file that an approver signs on: the verdict first, then numbers with their intervals, then texts.

It is drawn from a report's own files (scores.json, gate.json, outputs.parquet) and the test split, and asks nobody
for anything: no network, no script. What a file lacks is said to be not measured.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.scoring.report import drawn, facts, sections
from pipelines.scoring.report.markdown import METRIC_NAMES

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = Path(__file__).with_name("page.html")
NAME = "report.html"
WORST = 20
DRAWN = 10
LONGEST = 2_000  # characters of a text that are shown
DOTS = 2_000  # pairs in the cloud of scores and confidence
FIRST = [("rules", "Rules"), ("scores", "Scores"), ("slices", "Slices"), ("judge", "Judge")]
LAST = [("charts", "Lengths"), ("worst", "Worst outputs"), ("random", "Random outputs"), ("lineage", "Lineage")]
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Piece:
    """A stretch of text; `mark` is the kind of what the judge does not find in the source ("": nothing to mark)."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Shown:
    """One pair with its answers, cut and ready to be shown; `champion` is None where there is none."""

    id: str
    source: list[Piece]
    reference: list[Piece]
    output: list[Piece]
    champion: list[Piece] | None
    same: bool
    told: list[str]


def html(report: Path, test: Path) -> str:
    """The page of the report folder `report` over the parquet file `test` (id, source, target): equal files, equal pages."""
    scores, gate = (json.loads((report / name).read_text(encoding="utf-8")) for name in ("scores.json", "gate.json"))
    return _template().render(_numbers(scores, gate) | _texts(_pairs(report / "outputs.parquet", test), scores))


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _numbers(scores: Json, gate: Json) -> dict[str, Any]:
    measured = facts.measured(scores)
    found = [each for each in measured if each.facts]
    return {
        "gate": {"passed": gate["passed"], "said": _verdict(gate), "rules": sections.rules(gate)},
        "metric": METRIC_NAMES.get(scores.get("metric", ""), scores.get("metric", "")),
        "n": f"{scores.get('n', 0):,}",
        "confidence": f"{scores.get('confidence', 0.95):.0%}",
        "headline": sections.headline(scores),
        "sections": [*FIRST, *((each.anchor, each.short) for each in found), *LAST],
        "systems": sections.systems(scores),
        "every": sections.every(scores),
        "tasks": facts.told(scores.get("tasks") or {}),
        "slices": sections.slices(scores),
        "judge": facts.judge(scores),
        "measured": found,
        "missing": [each.title for each in measured if not each.facts],
        "lineage": facts.told(scores.get("lineage") or {}),
    }


def _texts(pairs: Sequence[Json], scores: Json) -> dict[str, Any]:
    return {
        "charts": _charts(pairs, scores),
        "order": _order(pairs),
        "worst": [_shown(pair) for pair in sorted(pairs, key=_badness)[:WORST]],
        "drawn": [_shown(pair) for pair in sorted(pairs, key=_lot)[:DRAWN]],
    }


def _pairs(outputs: Path, test: Path) -> list[Json]:
    """The rows of both files, joined by id, in the test split's order."""
    from pyarrow import parquet

    answers = {row["id"]: row for row in parquet.read_table(outputs).to_pylist()}
    rows = parquet.read_table(test, columns=["id", "source", "target"]).to_pylist()
    return [{**row, **answers[row["id"]]} for row in rows if row["id"] in answers]


def _verdict(gate: Json) -> str:
    closed = [rule["rule"] for rule in gate["rules"] if not rule["passed"]]
    if gate["passed"]:
        skipped = sum(rule["verdict"] == "skipped" for rule in gate["rules"])
        beside = f" ({skipped} skipped)" if skipped else ""
        return f"\u2713 The gate is open: {len(gate['rules'])} of {len(gate['rules'])} rules passed{beside}."
    return f"\u2717 The gate is closed by {len(closed)} of {len(gate['rules'])} rules: {', '.join(closed)}."


def _badness(pair: Json) -> tuple[float, float, float, str]:
    """What the judge doubts most comes first, then what scores lowest, then what the model itself believed least."""
    return -(pair.get("probability") or 0.0), pair.get("score") or 0.0, pair.get("logprob") or 0.0, pair["id"]


def _order(pairs: Sequence[Json]) -> str:
    if pairs and pairs[0].get("probability") is not None:
        return "Those that the judge doubts most; among equals, those with the lowest score."
    return "Those with the lowest score." if pairs and pairs[0].get("score") is not None else "No score was kept: by id."


def _lot(pair: Json) -> bytes:
    return hashlib.sha256(f"sample {pair['id']}".encode()).digest()


def _shown(pair: Json) -> Shown:
    champion = pair.get("champion")
    return Shown(
        id=pair["id"],
        source=marked(pair["source"], []),
        reference=marked(pair["target"], []),
        output=marked(pair["output"], json.loads(pair.get("spans") or "[]")),
        champion=None if champion is None else marked(champion, []),
        same=champion == pair["output"],
        told=_told(pair),
    )


def _told(pair: Json) -> list[str]:
    said = []
    if pair.get("score") is not None:
        said.append(f"score {pair['score']:.1f}")
    if pair.get("probability") is not None:
        said.append(f"P(unsupported) {pair['probability']:.2f}")
    if pair.get("logprob") is not None:
        said.append(f"log-probability {pair['logprob']:.2f} a token")
    if pair.get("finished") is False:
        said.append("cut off at the longest answer allowed")
    return said or ["no score kept"]


def marked(text: str, spans: Sequence[Json]) -> list[Piece]:
    """`text` cut at `spans` ({"start", "end", "kind"}: characters), these marked; what lies outside or overlaps is cut off.

    What is longer than LONGEST is shortened, and control characters are shown as pictures of themselves.
    """
    pieces, at, shown = [], 0, text[:LONGEST]
    for span in sorted(spans, key=lambda span: (span["start"], span["end"])):
        start, end = max(span["start"], at), min(span["end"], len(shown))
        if start < end:
            pieces += [Piece(shown[at:start]), Piece(shown[start:end], str(span.get("kind") or "unsupported"))]
            at = end
    pieces.append(Piece(shown[at:]))
    if len(text) > LONGEST:
        pieces.append(Piece(f" [{len(text) - LONGEST:,} more characters]"))
    return [Piece(_visible(piece.text), piece.mark) for piece in pieces if piece.text]


def _visible(text: str) -> str:
    kept = {"\n": "\n", "\t": "\t"}
    return "".join(
        kept.get(each, chr(0x2400 + ord(each))) if each < " " else "\u2421" if each == "\x7f" else each for each in text
    )


def _charts(pairs: Sequence[Json], scores: Json) -> list[drawn.Chart]:
    if len(pairs) < drawn.FEWEST:
        return []
    words = ([len(pair[side].split()) for pair in pairs] for side in ("output", "target"))
    charts = [drawn.lengths("Words of outputs and references", *words)]
    sure = [
        (pair["logprob"], pair["score"])
        for pair in sorted(pairs, key=_lot)
        if pair.get("logprob") is not None and pair.get("score") is not None
    ]
    if len(sure) >= drawn.FEWEST:
        unit = "mean log-probability of a token"
        charts.append(drawn.spread("How sure the model is", [logprob for logprob, _ in sure], unit))
        metric = METRIC_NAMES.get(scores.get("metric", ""), "score")
        charts.append(drawn.cloud(f"{metric} by how sure the model is", sure[:DOTS], unit, _related(sure)))
    return charts


def _related(points: Sequence[drawn.Pair]) -> str:
    """Whether surer answers score higher: Spearman's rank correlation, its 95 % interval by Bonett and Wright (2000)."""
    import numpy as np
    from scipy import stats

    x, y = np.array(points).T
    if len(points) < 10 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return "Too few pairs that differ to say whether surer answers score higher."
    rank = float(stats.spearmanr(x, y).statistic)
    reach = 1.96 * ((1 + rank**2 / 2) / (len(points) - 3)) ** 0.5
    low, high = np.tanh(np.arctanh(min(max(rank, -0.999999), 0.999999)) + np.array([-reach, reach]))
    return f"Rank correlation {rank:+.2f} [{low:+.2f}, {high:+.2f}]."
