"""The report that someone who must sign reads in two minutes: verdict first, then numbers, then what the outputs look like."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SYSTEMS = {
    "model": "this model",
    "champion": "champion",
    "lead": "lead words",
    "sentence": "first sentence",
    "constant": "constant answer",
    "copy": "the source itself",
    "base": "the base alone",
    "other": "output for another source",
}
METRIC_NAMES = {
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "chrf": "chrF",
    "bleu": "BLEU",
    "meteor": "METEOR",
}
CORPUS_NAMES = {**METRIC_NAMES, "ter": "TER (less is better)"}


def summary(folder: Path) -> list[str]:
    """The report in `folder` as a few lines for a terminal: the scores beside the baselines', and the gate's rules."""
    scores, verdict = (json.loads((folder / name).read_text()) for name in ("scores.json", "gate.json"))
    names = [name for name in METRIC_NAMES if name in scores["model"]]
    lines = [f"{'':<26}" + "".join(f"{METRIC_NAMES[name]:>20}" for name in names)]
    for system, row in _rows(scores):
        cells = [f"{row[n]['value']:.1f} [{row[n]['interval'][0]:.1f}, {row[n]['interval'][1]:.1f}]" for n in names]
        lines.append(f"{SYSTEMS[system]:<26}" + "".join(f"{cell:>20}" for cell in cells))
    flagged = scores["judge"]["flagged"]
    low, high = flagged["interval"]
    lines.append(
        f"judge flags {flagged['value']:.0%} [{low:.0%}, {high:.0%}] of the outputs, uncorrected; n = {scores['n']} test pairs"
    )
    lines.append("gate: open" if verdict["passed"] else "gate: closed")
    lines += [f"  {'ok  ' if rule['passed'] else 'NOT '}{rule['rule']}: {rule['reason']}" for rule in verdict["rules"]]
    return lines


def _rows(scores: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found = {"model": scores["model"], **scores["baselines"]}
    return [(system, found[system]) for system in SYSTEMS if system in found]


def markdown(
    scores: Mapping[str, Any], verdict: Mapping[str, Any], constant: str, samples: Sequence[tuple[str, str, str]]
) -> str:
    metric, n = METRIC_NAMES[scores["metric"]], scores["n"]
    closed = [rule["rule"] for rule in verdict["rules"] if not rule["passed"]]
    head = "**The gate is open**: every rule passed." if not closed else f"**The gate is closed** by: {', '.join(closed)}."
    confidence = f"{scores['confidence']:.0%}"
    lines = [
        "# Report", "", head, "",
        f"{n} held-out pairs, scrubbed, decoded with the export that will serve. Every interval is at {confidence}; "
        f"{metric} is the metric that gates. Scores are means over the pairs, from 0 to 100.", "",
        "## Gate", "", *_gate_table(verdict), "",
        "## Scores beside the baselines'", "", *_score_table(scores), "",
        f"Constant answer: {_code(constant)}. This model: {scores['distinct']} distinct outputs, {scores['empty']} empty.", "",
        *[_corpus_line(CORPUS_NAMES[name], found) for name, found in sorted(scores["corpus"].items())], "",
        "![scores](scores.png)", "", "![differences](differences.png)", "",
        "## Slices", "", *_slice_table(scores, metric), "",
        "## Judge and leaks", "", *_judge_table(scores), "",
        "## Filters of serving", "", *_filter_table(scores), "",
        f"## {len(samples)} outputs, chosen by hash", "", *_sample_lines(samples),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _gate_table(verdict: Mapping[str, Any]) -> list[str]:
    rows = ["| rule | passed | verdict | why |", "|---|---|---|---|"]
    return rows + [
        f"| {rule['rule']} | {'yes' if rule['passed'] else '**no**'} | {rule['verdict']} | {rule['reason']} |"
        for rule in verdict["rules"]
    ]


def _score_table(scores: Mapping[str, Any]) -> list[str]:
    names = [name for name in METRIC_NAMES if name in scores["model"]]
    against = f"this model's {METRIC_NAMES[scores['metric']]} minus theirs"
    rows = [f"| | {' | '.join(METRIC_NAMES[name] for name in names)} | {against} |", "|---|" + "---:|" * (len(names) + 1)]
    for system, row in _rows(scores):
        gain = row.get("difference")
        shown = f"{_cell(gain, '+.1f')} {gain['verdict']}" if gain else ""
        rows.append(f"| {SYSTEMS[system]} | {' | '.join(_cell(row[name]) for name in names)} | {shown} |")
    return rows


def _slice_table(scores: Mapping[str, Any], metric: str) -> list[str]:
    if not scores["slices"]:
        return ["Too few test pairs to slice."]
    rows = [
        f"| by | slice | n | {metric} | minus {SYSTEMS[scores['slices'][0]['against']]} | p (Holm) |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for part in scores["slices"]:
        gain = part["difference"]
        name = f"{part['slice']} ({part['words'][0]}-{part['words'][1]} words)" if "words" in part else _code(part["slice"])
        shown = f"{_cell(gain, '+.1f')} {gain['verdict']}"
        p = f"{gain['p_adjusted']:.3f}"
        rows.append(f"| {part['dimension']} | {name} | {part['n']} | {_cell(part['model'])} | {shown} | {p} |")
    return rows


def _judge_table(scores: Mapping[str, Any]) -> list[str]:
    judge, leaks = scores["judge"], scores["leaks"]
    rows = ["| flagged by the judge, uncorrected | count | share |", "|---|---:|---:|"]
    shown = {
        "flagged": "outputs of this model", "champion": "outputs of the champion",
        "references": "references (false alarms)", "shuffled": "references of other sources (should be flagged)",
    }  # fmt: skip
    rows += [f"| {text} | {judge[key]['count']} | {_percent(judge[key])} |" for key, text in shown.items() if key in judge]
    kinds = ", ".join(f"{kind} {count}" for kind, count in leaks["kinds"].items()) or "none"
    return [
        *rows, "",
        f"Outputs with personal data that their source lacks: {leaks['outputs']['count']} of {leaks['n']} ({kinds}), "
        f"of the references {leaks['references']['count']}; outputs with a placeholder that it lacks: "
        f"{leaks['placeholders']['count']}. " + _copied(leaks.get("copied"), scores.get("masked")),
    ]  # fmt: skip


def _copied(share: Mapping[str, Any] | None, masked: Mapping[str, Any] | None) -> str:
    said = [f"Of the placeholders in the references, the outputs have {_percent(share)}."] if share else []
    if masked:
        said.append(
            f"Of {masked['n']} rare words that source and reference share, the outputs have {_percent(masked['words'])}; of "
            f"the same words masked by a placeholder, {_percent(masked['placeholders'])}."
        )
    return " ".join(said)


def _filter_table(scores: Mapping[str, Any]) -> list[str]:
    if not scores.get("filters"):
        return ["Not measured."]
    rows = ["| filter | an answer it doubts | references (false alarms) | outputs of this model |", "|---|---|---:|---:|"]
    shown = {"off": "goes out", "flag": "is marked", "redact": "is redacted", "refuse": "is withheld"}
    return rows + [
        f"| {name} | {shown[found['action']]} | {_percent(found['references'])} | {_percent(found['outputs'])} |"
        for name, found in scores["filters"].items()
    ]


def _sample_lines(samples: Sequence[tuple[str, str, str]]) -> list[str]:
    lines = []
    for number, (source, reference, output) in enumerate(samples, 1):
        lines += [f"{number}. output: {_code(output)}", f"   - reference: {_code(reference)}", f"   - source: {_code(source)}"]
    return lines


def _corpus_line(name: str, found: Mapping[str, Any]) -> str:
    return f"- Corpus {name} {_cell(found)} (95 %), `{found['signature']}`"


def _cell(found: Mapping[str, Any], form: str = ".1f") -> str:
    low, high = found["interval"]
    return f"{found['value']:{form}} [{low:{form}}, {high:{form}}]"


def _percent(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['value']:.1%} [{low:.1%}, {high:.1%}]"


def _code(text: str) -> str:
    """One line of code, so that nothing in a text is read as Markdown."""
    flat = " ".join(text.split()).replace("`", "'").replace("|", "¦")
    return f"`{flat}`" if flat else "(empty)"
