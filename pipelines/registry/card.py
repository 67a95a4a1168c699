"""The model card: what a version is, from which data, how good with which certainty, and what it must not be used for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.registry.records import Lineage

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """The artifacts' own words: scores.json, gate.json, dataset.json, scrub.json, export.json, training.json."""

    scores: Json
    gate: Json
    dataset: Json
    scrub: Json
    export: Json
    training: Json


def number(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def interval(measured: object) -> str:
    """`12.30 [11.90, 12.70]` of {"value", "interval"}; a plain number as it is."""
    if not isinstance(measured, Mapping):
        return number(measured)
    bounds = measured.get("interval")
    value = number(measured.get("value"))
    return f"{value} [{number(bounds[0])}, {number(bounds[1])}]" if bounds else value


def scores_table(scores: Json) -> str:
    """Markdown: a row a metric, the model and each baseline beside one another, intervals and all."""
    model: Json = scores.get("model", {})
    baselines: Json = scores.get("baselines", {})
    lines = [_row(["metric", "this model", *baselines]), _row(["---"] * (2 + len(baselines)))]
    lines += [
        _row([metric, interval(model[metric]), *(interval(b.get(metric, "-")) for b in baselines.values())]) for metric in model
    ]
    return "\n".join(lines)


def gate_table(gate: Json) -> str:
    """Markdown: a row a rule of the gate."""
    lines = [_row(["rule", "measured", "bar", "verdict", "why"]), _row(["---"] * 5)]
    lines += [_row([r["rule"], interval(r), number(r["bar"]), r["verdict"], r.get("reason", "")]) for r in gate["rules"]]
    return "\n".join(lines)


def filters_table(scores: Json) -> str:
    """Markdown: a row a filter of serving, with the share of good answers (held-out references) that it doubts."""
    found: Json = scores.get("filters", {})
    if not found:
        return "Not measured."

    def percent(measured: Json) -> str:
        low, high = measured["interval"]
        return f"{measured['value']:.1%} [{low:.1%}, {high:.1%}]"

    lines = [_row(["filter", "action", "good answers doubted", "this model's answers doubted"]), _row(["---"] * 4)]
    lines += [_row([name, f["action"], percent(f["references"]), percent(f["outputs"])]) for name, f in found.items()]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _recall_table(scrub: Json) -> str:
    lines = [_row(["entity", "language", "replaced", "recall on known values", "recall on planted values"]), _row(["---"] * 5)]
    for language, entities in scrub.get("verdicts", {}).items():
        for entity, verdict in entities.items():
            recalls = [
                interval({**measured, "value": measured["recall"]}) if (measured := verdict[where]) else "not measured"
                for where in ("known", "planted")
            ]
            count = scrub.get("entities", {}).get(entity, {}).get("spans", 0)
            lines.append(_row([entity, language, str(count), *recalls]))
    return "\n".join(lines)


def differential_privacy(private: Json | None) -> str:
    """Markdown: what training.json's `private` guarantees, and what it does not."""
    if not private:
        return "Trained without differential privacy: what a pair says may be memorised."
    return f"""\
Trained with differential privacy (DP-SGD): epsilon {private["epsilon"]:.2f} at delta {private["delta"]:.1e} \
(noise multiplier {private["noise_multiplier"]:.3g}, clip {private["clip"]:g}, {private["steps"]} steps at sample rate \
{private["sample_rate"]:.3g}, accountant {private["accountant"]}).
- Covered: what these weights tell of any one training pair (neighbours: with and without the pair). Who stands in k pairs \
is covered at k times that epsilon, and at a delta that grows faster still.
- Not covered: a tokenizer trained on the same text, deduplication and splits, the number of pairs and the counts in \
training/training.json, the training log, the weights it started from, and other versions trained on the same pairs (their \
epsilons add up).
- Not covered: the validation pairs. The checkpoint was chosen by their loss, without noise (for the training pairs the \
choice costs nothing: epsilon is that of all steps)."""


def summary(task: str, facts: Facts, lineage: Lineage) -> str:
    """A version's page in the MLflow UI before any rollout: scores, gate, origin; at most a few dozen lines."""
    state = " (with uncommitted changes)" if lineage.dirty else ""
    why = f"Retrained because of {lineage.why}.\n\n" if lineage.why else ""
    return f"""\
{why}{task.capitalize()}, scored on {facts.scores.get("n", "?")} held-out pairs by {facts.scores.get("metric", "?")}.

{scores_table(facts.scores)}

{gate_table(facts.gate)}

Data: data.dvc md5 `{lineage.data_md5}`. Code: commit `{lineage.commit}`{state}. \
The whole model card is README.md under the run's artifacts, in model/; \
evaluation.json beside it is a table of the worst pairs and a sample.
"""


def card(name: str, task: str, facts: Facts, lineage: Lineage, privacy: Json) -> str:
    """The README.md of a version (Markdown)."""
    rejected = ", ".join(f"{reason} {count}" for reason, count in facts.dataset.get("rejected", {}).items()) or "none"
    splits = ", ".join(f"{split} {rows}" for split, rows in facts.dataset.get("splits", {}).items()) or "?"
    state = " with uncommitted changes" if lineage.dirty else ""
    confidence = lineage.spec.get("scoring", {}).get("confidence", 0.95)
    entities = ", ".join(privacy.get("entities", ())) or "none"
    return f"""\
# Model card: {name}

## What it is
A sequence-to-sequence model for {task}: text in, text out, both with personal data replaced by placeholders.
Weights in Hugging Face format (artifacts/export/hf) and for CTranslate2, {facts.export.get("quantisation", "as exported")} \
(artifacts/export/ct2): the second is what serves, and what was scored. {_base(facts.training.get("base"))}\
{_teacher(lineage.teacher)}{_preferences(facts.training.get("preferences"))}

## Data
- Pairs kept {facts.dataset.get("kept", "?")} of {facts.dataset.get("rows", "?")}; rejected: {rejected}.
- Splits (near-duplicates never cross): {splits}.
- Source: {_source(lineage.spec)}. `dvc pull` with lineage/data.dvc gives the bytes back.

## Personal data
Replaced before training: {entities}. What is not named stays, and what the scrubber misses stays too:

{_recall_table(facts.scrub)}

{differential_privacy(facts.training.get("private"))}

## Scores
On {facts.scores.get("n", "?")} held-out pairs, in brackets the {confidence:.0%} interval; {facts.scores.get("metric")} gates.

{scores_table(facts.scores)}

Gate:

{gate_table(facts.gate)}

Filters of serving, on the same pairs:

{filters_table(facts.scores)}

## Limits
- It writes fluent text that its input may not support: see the judge's share of flagged outputs in report/scores.json.
- It was scored on data like its training data only, and on one language; elsewhere nothing is known.
- Long inputs are cut. Inputs must be scrubbed by the policy in policy/privacy.json, as seqline's gateway does.
- Not for decisions about people.

## Licence
The code is under Apache-2.0. The weights derive from the data named above, whose terms apply to them.

## Lineage
- data.dvc md5 `{lineage.data_md5}`, commit `{lineage.commit}`{state}
- spec sha256 `{lineage.spec_sha256}`, constraints sha256 `{lineage.constraints_sha256}`
- all of it: lineage/lineage.json, lineage/spec.json, lineage/data.dvc; every file's sha256: manifest.json

## Use
`mlflow.pyfunc.load_model("models:/{name}/VERSION").predict(["text"])` where seqline is installed at the commit above.
"""


def _source(spec: Json) -> str:
    source = spec.get("data", {}).get("source", {})
    return ", ".join(f"{key} {value}" for key, value in source.items() if key != "paths") or "?"


def _teacher(teacher: Mapping[str, str] | None) -> str:
    if not teacher:
        return ""
    which = f"{teacher['name']} version {teacher['version']} (export sha256 {teacher['export_sha256'][:12]})"
    return f" Its training targets are the answers of {which}."


def _preferences(preferences: Json | None) -> str:
    if not preferences:
        return ""
    accuracy = preferences["accuracy"]
    return f"""\
 Then tuned (DPO) on {preferences["learnt_from"]} answers that people corrected (sha256 {preferences["sha256"][:12]}): on \
{accuracy["after"]["n"]} more, which also chose the weights, the corrected answer was likelier than the model's own in \
{interval(accuracy["before"])} of them before and in {interval(accuracy["after"])} after."""


def _base(base: Json | None) -> str:
    if not base:
        return "Trained from scratch."
    learned = ", ".join(f"{name} {sha256[:12]}" for name, sha256 in base["datasets"].items()) or "data unknown to us"
    return f"Fine-tuned from a base (sha256 {base['sha256'][:12]}) that learned from: {learned}."
