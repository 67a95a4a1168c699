"""The daily retention: sampled answers older than `serving.review.keep_days` are gone from every store."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect import flow

from flows import showing
from flows.commands import samples
from flows.settings import Settings, spec_of

if TYPE_CHECKING:
    from pipelines.registry.retention import Swept


@flow(name="retention", flow_run_name=showing.named)
def retention(name: str) -> str:
    """What `seqline samples NAME sweep` does; returns what was deleted and what is left, in a line."""
    settings = Settings().apply()
    spec = spec_of(name, settings)
    with showing.shown(spec.name):
        swept = samples.sweep(spec, settings, time.time())
        summary = (
            f"{swept.traces} sampled answers and {swept.events} senders of journal rows deleted: older than "
            f"{spec.serving.review.keep_days} days; {swept.kept} answers are kept"
        )
        showing.tabled(spec.name, "retention", list(_rows(swept)), summary)
    return summary


def _rows(swept: "Swept") -> Iterator[dict[str, str | int]]:
    """For a person."""
    yield {"what": "made before this were deleted", "value": _day(swept.before)}
    yield {"what": "sampled answers deleted", "value": swept.traces}
    yield {"what": "journal rows that lost their sender", "value": swept.events}
    yield {"what": "labels of which only the count is kept", "value": swept.labels}
    yield {"what": "files rewritten", "value": len(swept.files)}
    yield {"what": "sampled answers kept", "value": swept.kept}
    yield {"what": "the oldest of them", "value": _day(swept.oldest_at)}


def _day(at: float | None) -> str:
    return "none" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
