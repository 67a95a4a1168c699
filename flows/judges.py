"""The judge that a model's spec names, opened: by name, from a folder, or from the registry."""

from pathlib import Path

from flows.settings import Settings
from pipelines.scoring.judge import Judge, open_judge
from pipelines.spec import Spec


def opened(spec: Spec, settings: Settings) -> Judge:
    """What `scoring.judge` names, with the threshold that it was frozen at for this model, else `scoring.judge_threshold`.

    Raises:
        UserError: no such judge. Corrupt: its bytes are not those that were sealed or registered.
    """

    def fetch(reference: str) -> Path:
        from flows.fetching import fetched

        return fetched(reference, settings)

    said = spec.scoring
    return open_judge(said.judge, threshold=said.judge_threshold, domain=spec.name, task=spec.task, fetch=fetch)
