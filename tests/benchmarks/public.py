"""Readers of public sets of judged outputs. Their files are not in this repository: a reader takes the folder they lie in.

PATH/qags/mturk_{cnndm,xsum}.jsonl                github.com/W4ngatang/qags, data/ (Wang et al. 2020)
PATH/cliff/CLIFF_error_types.csv                  github.com/Liyan06/AggreFact, data/error_type_mapping/ (Cao & Wang 2021)
PATH/ende/annotated_corpus.csv                    github.com/deep-spin/hallucinations-in-nmt, data/ (Guerreiro et al. 2023)
PATH/xent/{train,test}.json                       github.com/mcao516/EntFA, data/ (Cao et al. 2022; entities of XSum summaries)
"""

import ast
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Labelled:
    """Outputs beside their sources, and what people said of them: True is unsupported."""

    domain: str
    sources: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    unsupported: list[bool] = field(default_factory=list)

    def add(self, source: str, output: str, unsupported: bool) -> None:
        self.sources.append(source)
        self.outputs.append(output)
        self.unsupported.append(unsupported)


def summaries(folder: Path) -> Iterator[Labelled]:
    """Each set of summaries that `folder` holds, a domain each."""
    for part in ("cnndm", "xsum"):
        if (path := folder / "qags" / f"mturk_{part}.jsonl").exists():
            yield qags(path, f"QAGS {part}")
    if (path := folder / "cliff" / "CLIFF_error_types.csv").exists():
        yield from (cliff(path, part) for part in ("cnndm", "xsum"))
    if (path := folder / "xent" / "test.json").exists():
        yield xent([folder / "xent" / f"{part}.json" for part in ("train", "test")])


def qags(path: Path, domain: str) -> Labelled:
    """A summary is unsupported where most workers say so of one of its sentences."""
    found = Labelled(domain)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        sentences = row["summary_sentences"]
        said = [[each["response"] == "no" for each in sentence["responses"]] for sentence in sentences]
        text = " ".join(sentence["sentence"] for sentence in sentences)
        found.add(row["article"], text, any(2 * sum(votes) > len(votes) for votes in said))
    return found


def cliff(path: Path, part: str) -> Labelled:
    """A summary is unsupported where it has an error of any type."""
    found = Labelled(f"CLIFF {part}")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["origin"] == part:
                found.add(row["doc"], row["summ"], row["error_type"] != "correct")
    return found


def spans(path: Path) -> list[tuple[str, str, list[str]]]:
    """(source, output, the spans that annotators marked) of CLIFF's summaries with an error."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["error_type"] != "correct"]
    return [(row["doc"], row["summ"], [str(each) for each in ast.literal_eval(row["annotated_span"])]) for row in rows]


def xent(paths: list[Path]) -> Labelled:
    """A summary is unsupported where one of its entities is not in its source (factual by chance or not)."""
    found = Labelled("XEnt xsum")
    for path in paths:
        for row in json.loads(path.read_text(encoding="utf-8")):
            said = [entity["label"] for entity in row["entities"]]
            found.add(row["source"], row["prediction"], any(label != "Non-hallucinated" for label in said))
    return found


def translations(path: Path) -> Labelled:
    """German to English; unsupported is a strongly or fully detached translation, or one that loops."""
    found = Labelled("Guerreiro de-en")
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.add(
                row["src"], row["mt"], any(row[kind] == "1" for kind in ("repetitions", "strong-unsupport", "full-unsupport"))
            )
    return found
