"""How MLflow loads a registered judge: it calls `_load_pyfunc` with the judge's folder (no MLflow is imported here)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.scoring.judge.cascade import open_folder

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 0.5  # where the judge knows no domain and so has frozen none


class Table:
    """A judge of tables: columns source, output and, if it is known, domain (one of the judge's own)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def predict(self, model_input: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":  # noqa: ARG002
        """Columns probability (P(unsupported), 0 to 1) and flagged, a row a row."""
        domains = model_input["domain"] if "domain" in model_input else model_input["source"].map(lambda _: "")
        found = model_input.assign(domain=domains, probability=0.0, flagged=False)
        for domain, part in found.groupby("domain", sort=True):
            judge = open_folder(self._folder, name=self._folder.name, threshold=THRESHOLD, domain=str(domain))
            verdicts = judge.judge(part["source"].tolist(), part["output"].tolist())
            found.loc[part.index, "probability"] = [each.probability for each in verdicts]
            found.loc[part.index, "flagged"] = [each.flagged for each in verdicts]
        return found[["probability", "flagged"]]


def _load_pyfunc(path: str) -> Table:
    return Table(Path(path))
