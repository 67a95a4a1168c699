"""What was asked and answered lately: the sampled traces of a model's experiment, thinned to an even sample of the traffic."""

import hashlib
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import SeqlineError
from pipelines.registry.connect import Connection, asking
from pipelines.registry.records import Version
from pipelines.registry.traces import WEIGHT
from pipelines.registry.versions import MODEL

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

PAGE = 500  # traces asked for at once
DAILY = 2_000
"""Most answers of a day (UTC): its first ones, so that those of a day that is over never change."""
DAY = 86_400.0  # seconds
VERSION = "seqline.version"


class Answered(NamedTuple):
    """A scrubbed source and output (their first 1,000 characters), the version that gave it, and when.

    `at` is in seconds since the epoch.
    """

    source: str
    output: str
    version: str
    at: float


class Traffic(Connection):
    @asking
    def sampled(self, name: str, since: float, until: float, share: float) -> list[Answered]:
        """The answers of model `name` in [since, until), oldest first, each of all answers with the same probability, `share`.

        What a filter, the judge or a sender picked out is in the traces with more: its weight says with how much, and a hash of
        its id lets in as much of it as of the rest. Empty where nothing was sampled yet.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            return []
        taken: list[Answered] = []
        days: dict[int, int] = {}
        for info in self._infos(found.experiment_id, since, until):
            weight = info.tags.get(WEIGHT)
            at = info.request_time / 1000
            if weight is None or unit(info.trace_id) >= float(weight) * share or days.get(int(at // DAY), 0) >= DAILY:
                continue
            days[int(at // DAY)] = days.get(int(at // DAY), 0) + 1
            taken.append(Answered(info.request_preview or "", info.response_preview or "", info.tags.get(VERSION, ""), at))
        return taken

    @asking
    def outputs(self, version: Version) -> list[str]:
        """What `version` answered to the held-out sources when it was scored.

        Raises:
            SeqlineError: they are not among its files.
        """
        import pyarrow.parquet as pq

        path = f"{MODEL}/report/outputs.parquet"
        if path not in {each.path for each in self.client.list_artifacts(version.run_id, f"{MODEL}/report")}:
            raise SeqlineError(f"{version.name} version {version.version}: report/outputs.parquet is missing from its files")
        with tempfile.TemporaryDirectory() as scratch:
            came = pq.read_table(self.client.download_artifacts(version.run_id, path, scratch), columns=["output"])
            return [str(each) for each in came["output"].to_pylist()]

    def _infos(self, experiment: str, since: float, until: float) -> "Iterator[TraceInfo]":
        wanted = f"timestamp_ms >= {round(since * 1000)} AND timestamp_ms < {round(until * 1000)}"
        token = None
        while True:
            page = self.client.search_traces(
                locations=[experiment],
                filter_string=wanted,
                max_results=PAGE,
                order_by=["timestamp_ms ASC"],
                page_token=token,
                include_spans=False,
            )
            yield from (trace.info for trace in page)
            token = page.token
            if not token:
                return


def unit(trace: str) -> float:
    """A number in [0, 1) that is a trace's for ever."""
    return int.from_bytes(hashlib.sha256(f"traffic {trace}".encode()).digest()[:8], "big") / 2**64
