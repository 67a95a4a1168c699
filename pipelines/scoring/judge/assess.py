"""The report of a judge: how well it tells references from their corruptions, kind by kind and domain by domain, and its gate.

Nothing is pooled over domains. Baselines of the same run: the lexical judge, the evidence alone, the champion.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import artifact, spec
from pipelines.artifact import Dataset, Report
from pipelines.scoring import figures
from pipelines.scoring.compare import SEED, Estimate
from pipelines.scoring.gate import Rule
from pipelines.scoring.judge.cascade import Cascade, Opened
from pipelines.scoring.judge.corpus import Row, read
from pipelines.scoring.judge.head import auroc, calibration
from pipelines.scoring.judge.learn import Trained
from pipelines.scoring.judge.lexical import Lexical
from pipelines.scoring.judge.people import PEOPLE, SUPPORTED
from pipelines.scoring.judge.verdict import Judge

CODE_VERSION = 1
RESAMPLES = 500  # of the difference from the champion
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The rows of one domain's test pairs with each judge's P(unsupported); `judges` has "model" and the baselines."""

    rows: Sequence[Row]
    judges: Mapping[str, Floats]
    escalated: float
    """Share of the sentences that the cross-encoder read."""

    def of(self, kinds: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where the true rows and those of `kinds` are, and which are corrupted. Beside what people called unsupported the true
        ones are those that people called supported."""
        true = SUPPORTED if tuple(kinds) == (PEOPLE,) else ""
        at = np.array([place for place, row in enumerate(self.rows) if row.kind == true or row.kind in kinds], dtype=np.intp)
        return at, np.array([self.rows[place].kind != true for place in at], dtype=np.bool_)


def assess(trained: Trained, dataset: Dataset, how: spec.Judge, champion: Path | None, out: Path) -> Report:
    """Score a judge on the test pairs of `dataset`, beside the champion's folder if there is one.

    The report holds scores.json, gate.json, report.md and outputs.parquet (id, domain, kind, probability).
    """
    rival = Opened(champion) if champion else None
    told = how.corruptions.held_out, how.gate, rival.sha256 if rival else None
    key = artifact.digest("assess", CODE_VERSION, trained, dataset, *told)
    return artifact.make(Report, out / f"report-{key[:16]}", lambda folder: _write(folder, trained, dataset, how, rival))


def _write(folder: Path, trained: Trained, dataset: Dataset, how: spec.Judge, rival: Opened | None) -> None:
    opened, rows = Opened(trained.path), read(dataset, "test")
    domains = sorted({row.domain for row in rows})
    scored = {name: score([row for row in rows if row.domain == name], name, opened, rival) for name in domains}
    scores = scores_of(scored, how, opened.facts)
    rules = list(gate(scored, scores, how))
    verdict = {"passed": all(rule.passed for rule in rules), "rules": [asdict(rule) for rule in rules]}
    for name, content in (("scores.json", scores), ("gate.json", verdict)):
        figures.write(folder / name, content)
    _table(folder / "outputs.parquet", scored)
    (folder / "report.md").write_text(markdown(scores, verdict), encoding="utf-8")


def score(rows: Sequence[Row], domain: str, opened: Opened, rival: Opened | None) -> Scored:
    """Judge every row by the judge, its evidence alone, the lexical judge and the champion."""
    known = opened.domain(domain)
    model = Cascade(known, opened.cross, opened.rarity, name="model", threshold=0.5)
    judges: dict[str, Judge] = {"model": model, "lexical": Lexical(0.75)}
    if known.full:
        judges["evidence"] = Cascade(known, None, opened.rarity, name="evidence", threshold=0.5)
    if rival:
        judges["champion"] = Cascade(rival.domain(domain), rival.cross, rival.rarity, name="champion", threshold=0.5)
    sources, targets = [row.source for row in rows], [row.target for row in rows]
    found = {name: np.array([v.probability for v in judge.judge(sources, targets)]) for name, judge in judges.items()}
    return Scored(rows, found, model.read / max(model.asked, 1))


def scores_of(scored: Mapping[str, Scored], how: spec.Judge, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of scores.json: AUROC (0 to 1) of references against corruptions by `DOMAIN` (of the gate's kinds) and
    `DOMAIN.KIND`, with DeLong's intervals; calibration; thresholds with their exact rates."""
    systems = sorted({system for each in scored.values() for system in each.judges})
    tables = {
        system: {name: value for domain, each in scored.items() for name, value in _aurocs(each, domain, system, how)}
        for system in systems
    }
    return {
        "metric": "auroc",
        "n": sum(len(each.rows) for each in scored.values()),
        "confidence": 0.95,
        "model": tables.pop("model"),
        "baselines": tables,
        "held_out": list(how.corruptions.held_out),
        "gated": list(gated(how)),
        "prevalence": how.prevalence,
        "calibration": {domain: _calibration(each, how).plain() for domain, each in scored.items()},
        "escalated": {domain: each.escalated for domain, each in scored.items()},
        "thresholds": {name: each["threshold"] for name, each in facts["domains"].items() if each["threshold"]},
    }


def gated(how: spec.Judge) -> tuple[str, ...]:
    """The kinds that the gate's AUROC is of: those held out, or all where none is."""
    return how.corruptions.held_out or how.corruptions.learnt


def _aurocs(scored: Scored, domain: str, system: str, how: spec.Judge) -> Iterator[tuple[str, dict[str, Any]]]:
    present = dict.fromkeys(row.kind for row in scored.rows if row.kind not in ("", SUPPORTED))
    for name, kinds in ((domain, gated(how)), *((f"{domain}.{kind}", (kind,)) for kind in present)):
        at, wrong = scored.of(kinds)
        if min(wrong.sum(), (~wrong).sum()) >= 2:
            yield name, _plain(auroc(scored.judges[system][at], wrong))


def _calibration(scored: Scored, how: spec.Judge) -> Any:
    """On as many corruptions as references, of the kinds learnt; the probabilities, which are at `prevalence`, are moved to a
    half."""
    learnt = [place for place, row in enumerate(scored.rows) if row.kind in how.corruptions.learnt]
    true = [place for place, row in enumerate(scored.rows) if not row.kind]
    drawn = np.random.default_rng(SEED).permutation(learnt)[: len(true)]
    at = np.concatenate([np.array(true), drawn]).astype(np.intp)
    p = np.clip(scored.judges["model"][at], 1e-9, 1 - 1e-9)
    odds = p / (1 - p) * (1 - how.prevalence) / how.prevalence
    return calibration(odds / (1 + odds), np.arange(len(at)) >= len(true))


def gate(scored: Mapping[str, Scored], scores: Mapping[str, Any], how: spec.Judge) -> Iterator[Rule]:
    """A rule a domain and bar; a rule passes only when its whole interval does."""
    of = f"{' and '.join(gated(how))}{' (held out)' if how.corruptions.held_out else ''}"
    for domain, each in scored.items():
        bar = how.gate.auroc
        if domain not in scores["model"]:
            yield Rule(
                f"auroc.{domain}", None, None, bar, "inconclusive", False, f"{domain}: nothing could be corrupted by {of}"
            )
            continue
        found = scores["model"][domain]
        low, high = found["interval"]
        outcome = "within" if low >= bar else "beyond" if high < bar else "inconclusive"
        reason = f"references of {domain} against {of}: the lower end must reach {bar:g}"
        yield Rule(f"auroc.{domain}", found["value"], (low, high), bar, outcome, low >= bar, reason)
        yield _brier(domain, scores["calibration"][domain]["brier"], how.gate.brier)
        yield _champion(domain, each, how)


def _brier(domain: str, found: Mapping[str, float], bar: float) -> Rule:
    low, high = found["low"], found["high"]
    outcome = "within" if high <= bar else "beyond" if low > bar else "inconclusive"
    reason = f"Brier score on {domain}, as many corruptions as references; the upper end must not exceed {bar:g}"
    return Rule(f"brier.{domain}", found["value"], (low, high), bar, outcome, high <= bar, reason)


def _champion(domain: str, scored: Scored, how: spec.Judge) -> Rule:
    name, margin = f"champion.{domain}", how.gate.margin
    if "champion" not in scored.judges:
        reason = "there is no champion yet: the first version is let in by the other rules alone"
        return Rule(name, None, None, -margin, "skipped", True, reason)
    at, wrong = scored.of(gated(how))
    gain = gain_over(scored.judges["model"][at], scored.judges["champion"][at], wrong)
    outcome = "not worse" if gain.low >= -margin else "worse" if gain.high < -margin else "inconclusive"
    reason = f"AUROC on {domain} minus the champion's; the lower end must reach -{margin:g}"
    return Rule(name, gain.value, (gain.low, gain.high), -margin, outcome, outcome == "not worse", reason)


def gain_over(ours: Floats, theirs: Floats, wrong: NDArray[np.bool_]) -> Estimate:
    """The difference of two AUROCs on the same rows, with the percentile interval of a stratified paired bootstrap."""
    from scipy.stats import rankdata

    def area(scores: Floats, bad: NDArray[np.intp], good: NDArray[np.intp]) -> float:
        ranks = rankdata(np.concatenate([scores[bad], scores[good]]))[: len(bad)]
        return float((ranks.sum() - len(bad) * (len(bad) + 1) / 2) / (len(bad) * len(good)))

    rng, bad, good = np.random.default_rng(SEED), np.flatnonzero(wrong), np.flatnonzero(~wrong)
    draws = [(rng.choice(bad, len(bad)), rng.choice(good, len(good))) for _ in range(RESAMPLES)]
    drawn = [area(ours, b, g) - area(theirs, b, g) for b, g in draws]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(area(ours, bad, good) - area(theirs, bad, good), float(low), float(high), len(wrong))


def markdown(scores: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """The report for a person."""
    systems = {"this judge": scores["model"], **scores["baselines"]}
    lines = [f"# Judge: the gate is {'open' if verdict['passed'] else 'closed'}", ""]
    lines += [
        f"- {'passed' if rule['passed'] else 'FAILED'} {rule['rule']}: {_cell(rule)}, {rule['verdict']}; {rule['reason']}"
        for rule in verdict["rules"]
    ]
    lines += ["", "AUROC of references against corruptions, with 95 % intervals:", "", "| | " + " | ".join(systems) + " |"]
    lines += ["|---" * (1 + len(systems)) + "|"]
    held = scores["held_out"]
    for name in scores["model"]:
        star = " (held out)" if name.partition(".")[2] in held else ""
        lines.append(f"| {name}{star} | " + " | ".join(_cell(table.get(name)) for table in systems.values()) + " |")
    lines += [
        "",
        f"Thresholds for {scores['prevalence']:.0%} unsupported outputs, with their rates on pairs that did not choose them:",
        "",
    ]
    for name, found in scores["thresholds"].items():
        tpr, fpr = (
            f"{found[rate]['value']:.1%} [{found[rate]['low']:.1%}, {found[rate]['high']:.1%}]" for rate in ("tpr", "fpr")
        )
        asked = scores["escalated"].get(name, 0.0)
        lines.append(
            f"- {name}: {found['threshold']:.4f}: TPR {tpr}, FPR {fpr}; the cross-encoder read {asked:.0%} of the sentences"
        )
    return "\n".join(lines) + "\n"


def _cell(measured: Any) -> str:
    if not measured or measured["value"] is None:
        return "-"
    return f"{measured['value']:.3f} [{measured['interval'][0]:.3f}, {measured['interval'][1]:.3f}]"


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}


def _table(path: Path, scored: Mapping[str, Scored]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(row, float(p)) for each in scored.values() for row, p in zip(each.rows, each.judges["model"], strict=True)]
    columns = {name: [getattr(row, name) for row, _ in rows] for name in ("id", "domain", "kind")}
    pq.write_table(pa.table({**columns, "probability": [round(p, 6) for _, p in rows]}), path, compression="zstd")
