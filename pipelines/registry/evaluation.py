"""Held-out pairs as a table on a version's run: MLflow's pages sort it, filter it, and lay it beside another version's.

The worst pairs, and a sample that is the same for every version of a test set. It lies beside the version's sealed files, not
among them, so that `seqline data forget` can take a record out of it and the version stays whole.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.registry.connect import Connection, asking
from pipelines.registry.records import Candidate

if TYPE_CHECKING:
    import pandas as pd

FILE = "evaluation.json"
WORST, SAMPLED = 20, 200
LONGEST = 2_000  # characters of a text
LOGGED = "mlflow.loggedArtifacts"
"""The tag by which MLflow's pages know which files of a run are tables."""
PAGE = 200

Pair = Mapping[str, Any]


def table(candidate: Candidate) -> "pd.DataFrame | None":
    """A row a pair: why it is here (worst, sample), probability (the judge's P(unsupported)), score (of the metric that gates,
    0 to 100), output, reference, unsupported (what of the output the judge does not find in the source), champion (its output),
    champion_score, gain (the difference of the scores), source, logprob (a token's mean, natural), id.

    All texts are scrubbed. None without a test split.
    """
    import pandas as pd
    from pyarrow import parquet

    outputs, test = candidate.report.path / "outputs.parquet", candidate.dataset.path / "test.parquet"
    if candidate.kind == "judge" or not test.is_file():
        return None
    answers = {row["id"]: row for row in parquet.read_table(outputs).to_pylist()}
    texts = parquet.read_table(test, columns=["id", "source", "target"]).to_pylist()
    pairs = [{**row, **answers[row["id"]]} for row in texts if row["id"] in answers]
    worst = sorted(pairs, key=_badness)[:WORST]
    known = {pair["id"] for pair in worst}
    sample = [pair for pair in sorted(pairs, key=_lot)[:SAMPLED] if pair["id"] not in known]
    rows = [*(_row(pair, "worst") for pair in worst), *(_row(pair, "sample") for pair in sample)]
    return pd.DataFrame(rows, dtype=object)  # of strings MLflow warns: it asks pandas for them in a way that pandas 4 drops


class Evaluations(Connection):
    @asking
    def forget_pairs(self, name: str, ids: Collection[str]) -> list[str]:
        """Take these records out of the tables of all runs of model `name`; the names of the runs that had one."""
        from mlflow.entities import ViewType

        experiment = self.client.get_experiment_by_name(name)
        changed: list[str] = []
        token = None
        while experiment is not None:
            page = self.client.search_runs(
                [experiment.experiment_id], f"tags.`{LOGGED}` LIKE '%{FILE}%'", ViewType.ALL, PAGE, page_token=token
            )
            changed += [run.info.run_name for run in page if self._forget(run.info.run_id, ids)]
            token = page.token
            if not token:
                break
        return changed

    def _forget(self, run_id: str, ids: Collection[str]) -> bool:
        found = json.loads(self.text(run_id, FILE) or "{}")
        if not found:
            return False
        at = found["columns"].index("id")
        left = [row for row in found["data"] if row[at] not in ids]
        if len(left) == len(found["data"]):
            return False
        self.client.log_text(run_id, json.dumps({**found, "data": left}, ensure_ascii=False), FILE)
        return True


def _row(pair: Pair, why: str) -> dict[str, Any]:
    score, theirs = pair["score"], pair.get("champion_score")
    gain = round(score - theirs, 4) if score is not None and theirs is not None else None
    unsupported = ", ".join(span["text"] for span in json.loads(pair["spans"] or "[]"))
    return {
        "why": why, "probability": pair["probability"], "score": score,
        "output": _cut(pair["output"]), "reference": _cut(pair["target"]), "unsupported": _cut(unsupported),
        "champion": _cut(pair["champion"]), "champion_score": theirs, "gain": gain,
        "source": _cut(pair["source"]), "logprob": pair["logprob"], "id": pair["id"],
    }  # fmt: skip


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} [{len(text) - LONGEST:,} more characters]"


def _badness(pair: Pair) -> tuple[float, float, str]:
    """As in the report: what the judge doubts most, then what scores lowest."""
    return -(pair["probability"] or 0.0), pair["score"] or 0.0, pair["id"]


def _lot(pair: Pair) -> bytes:
    return hashlib.sha256(f"sample {pair['id']}".encode()).digest()
