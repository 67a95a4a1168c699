"""The answers that something doubted (a filter, the judge, a sender) and that were kept for people: counted, and linked."""

from typing import NamedTuple

from pipelines.registry.connect import Connection, asking
from pipelines.registry.traces import REASON

PAGE = 500  # traces asked for at once
VERSION = "seqline.version"
REASONS = ("filter", "judge", "feedback")


class Doubted(NamedTuple):
    """A trace: why it was kept, by which version, when (seconds since the epoch)."""

    trace: str
    reason: str
    version: str
    at: float


class Doubts(Connection):
    @asking
    def since(self, name: str, since: float, until: float, most: int = 10_000) -> tuple[list[Doubted], str] | None:
        """The traces of model `name` in [since, until] that were kept for a doubt, the newest first, at most `most`, and their
        experiment's id; None where nothing of it was ever sampled."""
        found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            return None
        doubted: list[Doubted] = []
        for reason in REASONS:
            doubted += self._kept(found.experiment_id, reason, since, until, most)
        return sorted(doubted, key=lambda each: -each.at)[:most], str(found.experiment_id)

    def _kept(self, experiment: str, reason: str, since: float, until: float, most: int) -> list[Doubted]:
        window = f"timestamp_ms >= {round(since * 1000)} AND timestamp_ms <= {round(until * 1000)}"
        found: list[Doubted] = []
        token = None
        while len(found) < most:
            page = self.client.search_traces(
                locations=[experiment],
                filter_string=f"tag.`{REASON}` = '{reason}' AND {window}",
                max_results=PAGE,
                order_by=["timestamp_ms DESC"],
                page_token=token,
                include_spans=False,
            )
            infos = (trace.info for trace in page)
            found += [Doubted(each.trace_id, reason, each.tags.get(VERSION, ""), each.request_time / 1000) for each in infos]
            token = page.token
            if not token:
                break
        return found
