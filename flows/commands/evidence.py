"""Fit the judge `evidence` anew, on corruptions of scrubbed pairs, and write pipelines/scoring/judge/evidence.json.

    python -m flows.commands.evidence --summaries synopsis=data/synopsis --after "Description: " \\
        --translations packages-de=data/packages-de=.seqline/work/packages-de/export-KEY

Heads and rarities come from train.parquet of each, calibration and thresholds from test.parquet. What a translation's model
makes of a text is read from its Export. The part that is not named stays as the file has it. One core, some minutes; the same
data and seed give the same bytes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.scoring.judge import fitting, shipped
from pipelines.scoring.judge.fitting import Fitted, How


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.evidence", description="fit the judge `evidence` anew")
    parser.add_argument("--summaries", help="NAME=DATASET of a model that says what its source says, shorter")
    parser.add_argument("--after", default="", help="quote what stands behind this text in a source")
    parser.add_argument("--translations", help="NAME=DATASET=EXPORT of a model that translates into German")
    parser.add_argument("--train", type=int, default=2_500, help="true pairs to learn from, of each")
    parser.add_argument("--test", type=int, default=1_000, help="true pairs to freeze with, of each")
    parser.add_argument("--prevalence", type=float, default=0.1, help="unsupported share of outputs expected in use")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=shipped.FILE)
    given = parser.parse_args(arguments)
    whole = given.summaries and given.translations
    if not whole and not (given.out.is_file() and (given.summaries or given.translations)):
        parser.error(f"--summaries and --translations: give both; one alone where {given.out} has the other")
    facts = shipped.blank() if whole else json.loads(given.out.read_text(encoding="utf-8"))
    how = How(given.train, given.test, given.prevalence, given.seed)
    if given.summaries:
        name, data = given.summaries.split("=")
        rarity, fitted = fitting.summaries(Path(data), name, given.after, how)
        facts["rarity"] = shipped.ranked(rarity)
        _put(facts, "summarization", name, fitted, how)
    if given.translations:
        name, data, export = given.translations.split("=")
        _put(facts, "translation", name, fitting.translations(Path(data), name, Path(export), how), how)
    given.out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _put(facts: dict[str, Any], task: str, name: str, fitted: Fitted, how: How) -> None:
    """What was fit of `task`, in the place of what was known of it."""
    facts["domains"].pop(facts["made"].get(task, {}).get("on"), None)
    facts["made"][task] = {"by": "python -m flows.commands.evidence", "on": name, **how._asdict()}
    facts["heads"][task], facts["domains"][name] = fitted.head.plain(), fitted.plain()


if __name__ == "__main__":
    main()
