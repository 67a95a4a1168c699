"""What was asked and answered lately, and what people said of it: read from the sampled traces of a model's experiment."""

import tempfile
from collections import Counter
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import SeqlineError
from pipelines.registry.connect import Connection, asking
from pipelines.registry.labels import EXPECTED, QUESTION
from pipelines.registry.records import Version
from pipelines.registry.traces import REASON, SHARE, WEIGHT
from pipelines.registry.versions import MODEL

if TYPE_CHECKING:
    from mlflow.entities import Assessment, TraceInfo

PAGE = 500  # traces asked for at once
DAILY = 2_000
"""Most answers of a day (UTC): its first ones, so that those of a day that is over never change."""
DAY = 86_400.0  # seconds
VERSION, FLAGS, FEEDBACK = "seqline.version", "seqline.flags", "seqline.feedback"
RANDOM = "random"


class Answered(NamedTuple):
    """A scrubbed source and output (their first 1,000 characters), the version that gave it, when, and what filters doubted.

    `at` is in seconds since the epoch.
    """

    source: str
    output: str
    version: str
    at: float
    flags: tuple[str, ...] = ()


class Rated(NamedTuple):
    """What a sender said last of an answer of `version`: `bad` or not, None where no rating tells (a comment, three stars)."""

    version: str
    bad: bool | None


class Traffic(Connection):
    @asking
    def sampled(
        self,
        name: str,
        since: float,
        until: float,
        drawn: Callable[[str, float], bool],
        share: float,
        skipped: Container[str] = frozenset(),
    ) -> list[Answered]:
        """Answers of model `name` in [since, until), oldest first, one a request and version: an even sample of the requests.

        The traces are none: they hold all that a filter, the judge or a sender picked out. Of them exactly those are taken
        whose request the gateway drew at random, `drawn` by its id and the share in force as there, picked out or not: the
        same requests at every look, whatever their answers were, and a request of many inputs counts once. (Of these its random
        one, where the trace tells; where the answer drawn was itself picked out, the first one picked.) In an hour so busy that
        review kept only a part, as much of each kind is missing. Left out: requests in `skipped`, and those without an id.

        The share in force stands on the trace; `share` is that of traces which do not tell. Were it today's for all, a share
        that was raised would bring, of the time before, what was picked out alone. Empty where nothing was sampled yet.
        """
        experiment = self._found(name)
        if experiment is None:
            return []
        taken: dict[tuple[str, str], tuple[bool, Answered]] = {}
        days: Counter[int] = Counter()
        for info in self._infos(experiment, *_between(since, until)):
            request, version = info.client_request_id or "", info.tags.get(VERSION, "")
            if WEIGHT not in info.tags or not request or request in skipped:
                continue
            if not drawn(request, float(info.tags.get(SHARE, share))):
                continue
            at, random = info.request_time / 1000, info.tags.get(REASON) == RANDOM
            before = taken.get((request, version))
            if before is None and days[day := int(at // DAY)] < DAILY:
                days[day] += 1
            elif before is None or before[0] or not random:
                continue
            taken[request, version] = random, _answered(info, version, at)
        return [each for _, each in taken.values()]

    @asking
    def rated(self, name: str, since: float, until: float) -> list[Rated]:
        """What senders said of the answers given in [since, until): each answer once."""
        experiment = self._found(name)
        if experiment is None:
            return []
        wanted = (*_between(since, until), f"tag.`{FEEDBACK}` LIKE '%'")
        return [Rated(info.tags.get(VERSION, ""), _bad(info.tags[FEEDBACK])) for info in self._infos(experiment, *wanted)]

    @asking
    def labelled(self, name: str, since: float) -> int:
        """On how many traces of model `name` a person answered the review queue's question, or corrected the answer, since."""
        experiment = self._found(name)
        if experiment is None:
            return 0
        said = {
            info.trace_id
            for about in (f"feedback.{QUESTION} IS NOT NULL", f"expectation.{EXPECTED} IS NOT NULL")
            for info in self._infos(experiment, about)
            if any(_said_since(each, since) for each in info.assessments)
        }
        return len(said)

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

    def _found(self, name: str) -> str | None:
        """The id of the model's experiment, None where there is none."""
        found = self.client.get_experiment_by_name(name)
        return None if found is None or found.lifecycle_stage != "active" else str(found.experiment_id)

    def _infos(self, experiment: str, *wanted: str) -> "Iterator[TraceInfo]":
        """All traces of which every one of `wanted` is true, the oldest first."""
        token = None
        while True:
            page = self.client.search_traces(
                locations=[experiment],
                filter_string=" AND ".join(wanted),
                max_results=PAGE,
                order_by=["timestamp_ms ASC"],
                page_token=token,
                include_spans=False,
            )
            yield from (trace.info for trace in page)
            token = page.token
            if not token:
                return


def _between(since: float, until: float) -> tuple[str, str]:
    return f"timestamp_ms >= {round(since * 1000)}", f"timestamp_ms < {round(until * 1000)}"


def _answered(info: "TraceInfo", version: str, at: float) -> Answered:
    flags = tuple(name for name in info.tags.get(FLAGS, "").split(",") if name)
    return Answered(info.request_preview or "", info.response_preview or "", version, at, flags)


def _bad(rating: str) -> bool | None:
    """As the gateway counts it: down, one or two stars are bad; up, four or five are good."""
    return {"down": True, "1": True, "2": True, "up": False, "4": False, "5": False}.get(rating)


def _said_since(assessment: "Assessment", since: float) -> bool:
    told = assessment.last_update_time_ms or assessment.create_time_ms or 0
    return assessment.name in (QUESTION, EXPECTED) and assessment.source.source_type == "HUMAN" and told / 1000 > since
