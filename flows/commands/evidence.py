"""Fit the judge `evidence` anew, on corruptions of scrubbed pairs, and write pipelines/scoring/judge/evidence.json.

    python -m flows.commands.evidence --summaries synopsis=data/synopsis --after "Description: " \\
        --translations packages-de=data/packages-de=.seqline/work/packages-de/export-KEY

Heads and rarities come from train.parquet of each, calibration and thresholds from test.parquet. What a translation's model
makes of a text is read from its Export. One core, some minutes; the same data and seed give the same bytes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.scoring.judge import fitting, shipped


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.commands.evidence", description="fit the judge `evidence` anew")
    parser.add_argument("--summaries", required=True, help="NAME=DATASET of a model that says what its source says, shorter")
    parser.add_argument("--after", default="", help="quote what stands behind this text in a source")
    parser.add_argument("--translations", required=True, help="NAME=DATASET=EXPORT of a model that translates into German")
    parser.add_argument("--train", type=int, default=2_500, help="true pairs to learn from, of each")
    parser.add_argument("--test", type=int, default=1_000, help="true pairs to freeze with, of each")
    parser.add_argument("--prevalence", type=float, default=0.1, help="unsupported share of outputs expected in use")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=shipped.FILE)
    given = parser.parse_args(arguments)
    told, data = given.summaries.split("=")
    translated, translations, export = given.translations.split("=")
    how = fitting.How(given.train, given.test, given.prevalence, given.seed)
    rarity, summarizes = fitting.summaries(Path(data), told, given.after, how)
    translates = fitting.translations(Path(translations), translated, Path(export), how)
    facts: dict[str, Any] = {
        "made": {"by": "python -m flows.commands.evidence", "on": [told, translated], **how._asdict()},
        "rarity": shipped.ranked(rarity),
        "heads": {"summarization": summarizes.head.plain(), "translation": translates.head.plain()},
        "domains": {told: summarizes.plain(), translated: translates.plain()},
    }
    given.out.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
