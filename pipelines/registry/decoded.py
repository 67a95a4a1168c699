"""How sampled answers were decoded: the part of a trace that says what it cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.registry.connect import Connection, asking
from pipelines.registry.traces import WEIGHT

if TYPE_CHECKING:
    from mlflow.entities import Trace

MOST = 2_000  # traces, the newest: spans are read whole
PAGE = 500
VERSION = "seqline.version"


@dataclass(frozen=True)
class Decoded:
    """A sampled answer of `version` that stands for `weight` like it; `beam` is None where it was drawn (temperature > 0)."""

    version: str
    beam: int | None
    weight: float
    tokens_in: int
    tokens_out: int


class Decodings(Connection):
    @asking
    def sampled(self, name: str, since: float, most: int = MOST) -> list[Decoded]:
        """The newest traces of model `name` since then (seconds since the epoch), `most` at most; none before the first."""
        found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            return []
        taken = []
        for trace in self._traces(found.experiment_id, since):
            if (decoded := _decoded(trace)) is not None:
                taken.append(decoded)
            if len(taken) == most:
                break
        return taken

    def _traces(self, experiment: str, since: float) -> "Iterator[Trace]":
        token = None
        while True:
            page = self.client.search_traces(
                locations=[experiment],
                filter_string=f"timestamp_ms >= {round(since * 1000)}",
                max_results=PAGE,
                order_by=["timestamp_ms DESC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return


def _decoded(trace: "Trace") -> Decoded | None:
    """None of a trace that is none of ours, or whose writing broke off."""
    weight, version = trace.info.tags.get(WEIGHT), trace.info.tags.get(VERSION)
    span: Any = trace.data.spans[0] if trace.data.spans else None
    beam = span.attributes.get("seqline.beam") if span else None
    if weight is None or version is None or beam is None:
        return None
    drawn = float(span.attributes.get("gen_ai.request.temperature", 0.0)) > 0
    tokens = (int(span.attributes.get(f"gen_ai.usage.{what}_tokens", 0)) for what in ("input", "output"))
    return Decoded(version, None if drawn else int(beam), float(weight), *tokens)
