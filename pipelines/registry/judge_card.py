"""The model card of a judge: what it learnt from, what it was never shown, how often it is wrong, and what it cannot tell."""

from typing import Any

from pipelines.registry.card import Facts, gate_table, scores_table
from pipelines.registry.records import Lineage


def card(name: str, facts: Facts, lineage: Lineage) -> str:
    """The README.md of a version (Markdown)."""
    judge, scores = facts.export, facts.scores
    splits = ", ".join(f"{split} {rows}" for split, rows in facts.dataset.get("splits", {}).items()) or "?"
    corpora = ", ".join(f"{domain} (dataset {sha256[:12]})" for domain, sha256 in facts.dataset.get("corpora", {}).items())
    state = " with uncommitted changes" if lineage.dirty else ""
    return f"""\
# Model card: {name}

## What it is
A judge: source and output in, P(unsupported) of the output and of each of its sentences out, with the words that it \
doubts. Texts are scrubbed. Calibrated logistic heads over cheap evidence; {_cross(judge)}

## Data
- True pairs of {corpora}, and the same pairs with one change that makes them untrue: {splits} rows.
- Kinds of change learnt: {", ".join(judge.get("learnt", ()))}. Never shown before the test: \
{", ".join(judge.get("held_out", ())) or "none"}.
- `dvc pull` with lineage/data.dvc gives the bytes back. What the corpora's scrubbers measured: policy/scrub.json.

## Scores
AUROC of held-out references against their corruptions, in brackets the 95 % interval (DeLong), domain by domain; \
`DOMAIN` alone is of {" and ".join(scores.get("gated", ())) or "all kinds"}.

{scores_table(scores)}

Gate:

{gate_table(facts.gate)}

Thresholds, chosen for {scores.get("prevalence", 0):.0%} unsupported outputs, and their rates on pairs that did not choose them:

{_thresholds(scores.get("thresholds", {}))}

## Limits
- Its errors here are those on corruptions made by rule. A model's own faults differ: only people's labels say how often it is \
right on those (the corrected rate), and a raw rate of flags is no rate of faults.
- It was scored on the domains named above. Elsewhere its probabilities are not calibrated and it has no threshold of its own.
- References are taken as true; where people wrote what the source does not say, it is blamed for noticing.
- Not for decisions about people.

## Licence
{lineage.spec.get("licence", "?")}, within the terms of the data named above.

## Lineage
- data.dvc md5 `{lineage.data_md5}`, commit `{lineage.commit}`{state}
- spec sha256 `{lineage.spec_sha256}`, constraints sha256 `{lineage.constraints_sha256}`
- all of it: lineage/lineage.json, lineage/spec.json, lineage/data.dvc; every file's sha256: manifest.json

## Use
`scoring: {{judge: {name}@champion}}` in a model's YAML; or \
`mlflow.pyfunc.load_model("models:/{name}/VERSION").predict(table)` with columns source, output and, if it knows it, domain.
"""


def _cross(judge: Any) -> str:
    if not judge.get("parameters"):
        return "no neural network."
    return (
        f"a cross-encoder of {judge['parameters'] / 1e6:.1f}M parameters, started from {judge['encoder']}, reads the sentences "
        "that the evidence leaves undecided."
    )


def _thresholds(found: Any) -> str:
    lines = ["| domain | threshold | true positive rate | false positive rate |", "|---|---|---|---|"]
    for domain, each in found.items():
        tpr, fpr = (f"{each[rate]['value']:.1%} [{each[rate]['low']:.1%}, {each[rate]['high']:.1%}]" for rate in ("tpr", "fpr"))
        lines.append(f"| {domain} | {each['threshold']:.4f} | {tpr} | {fpr} |")
    return "\n".join(lines)
