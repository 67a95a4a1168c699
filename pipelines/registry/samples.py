"""A model's sampled answers counted, and written for Label Studio: its import format, with the judge's verdict as a prediction.

https://labelstud.io/guide/tasks (Basic Label Studio JSON format), https://labelstud.io/guide/predictions
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from pipelines.registry.connect import asking
from pipelines.registry.labels import ANSWER_NAMES, ANSWERS, EXPECTED, QUESTION, SOURCES, SPAN, text_of
from pipelines.registry.queues import INSTRUCTIONS, Listed, Queues

DAY = 86_400.0  # seconds
AGES = ((1, "under a day"), (7, "1 to 7 days"), (30, "7 to 30 days"))
AT_ONCE = 100
JUDGE = "seqline.judge"

CHOICES = "".join(f'<Choice value="{escape(each)}"/>' for each in ANSWER_NAMES)
CONFIG = f"""<View>
  <Header value="Source"/>
  <Text name="source" value="$source" granularity="word"/>
  <Header value="Answer"/>
  <Labels name="{SPAN}" toName="output">
    <Label value="{ANSWER_NAMES[1]}" background="#d7301f"/>
  </Labels>
  <Text name="output" value="$output" granularity="word"/>
  <Header value="{escape(INSTRUCTIONS[QUESTION])}"/>
  <Choices name="{QUESTION}" toName="output" choice="single" required="true">
    {CHOICES}
  </Choices>
  <Header value="What should the answer have been? Leave it empty where the answer is right."/>
  <TextArea name="{EXPECTED}" toName="output" rows="3" maxSubmissions="1" editable="true"/>
</View>
"""
"""The labeling config that belongs to `tasks`: the same questions as MLflow's queue asks."""


def counted(listed: Sequence[Listed], waiting: frozenset[str], now: float, days: float) -> dict[str, Any]:
    """How many samples there are at `now` (seconds since the epoch): by stratum they were drawn by, age and version.

    Those older than `days` are due: the next sweep deletes them.
    """
    strata = Counter(name for each in listed for name in each.drawn or ("not drawn",))
    left = Counter(name for each in listed if each.trace in waiting for name in each.drawn)
    ages = Counter(_age(now - each.at) for each in listed)
    return {
        "samples": len(listed),
        "waiting": len(waiting),
        "strata": {name: {"drawn": strata[name], "waiting": left[name]} for name in sorted(strata)},
        "ages": {name: ages[name] for name in (*(name for _, name in AGES), "over 30 days") if ages[name]},
        "versions": dict(sorted(Counter(each.version for each in listed).items())),
        "oldest_at": min((each.at for each in listed), default=None),
        "due": sum(now - each.at > days * DAY for each in listed),
    }


def _age(seconds: float) -> str:
    return next((name for days, name in AGES if seconds < days * DAY), "over 30 days")


class Samples(Queues):
    """The sampled answers of a model, their texts whole."""

    @asking
    def texts(self, traces: Iterable[str]) -> Iterator[tuple[str, str, str]]:
        """(trace, source, output) of these, those left out that hold no such texts."""
        wanted = list(traces)
        for start in range(0, len(wanted), AT_ONCE):
            for trace in self._client().batch_get_traces(wanted[start : start + AT_ONCE]):
                source, output = text_of(trace.data.request, SOURCES), text_of(trace.data.response, ANSWERS)
                if source is not None and output is not None:
                    yield trace.info.trace_id, source, output

    def tasks(self, listed: Sequence[Listed]) -> list[dict[str, Any]]:
        """A task of Label Studio for each of `listed`; ids of traces lead an answer back to MLflow."""
        known = {each.trace: each for each in listed}
        return [_task(known[trace], source, output) for trace, source, output in self.texts(known)]


def _task(each: Listed, source: str, output: str) -> dict[str, Any]:
    told = {
        "trace": each.trace, "request": each.request, "version": each.version, "arm": each.arm, "at": each.at,
        "strata": sorted(each.drawn), "flags": sorted(each.flags), "feedback": each.feedback,
        "sampling_weight": each.sampled, "chance": each.chance,
    }  # fmt: skip
    task: dict[str, Any] = {"data": {"source": source, "output": output}, "meta": told}
    if each.flagged is not None:
        choice = ANSWER_NAMES[1] if each.flagged else ANSWER_NAMES[0]
        verdict = {"id": each.trace[-10:], "from_name": QUESTION, "to_name": "output", "type": "choices"}
        result = [{**verdict, "value": {"choices": [choice]}}]
        task["predictions"] = [{"model_version": JUDGE, "score": _sure(each), "result": result}]
    return task


def _sure(each: Listed) -> float:
    """How sure the judge is of its verdict, 0 to 1."""
    support = 0.5 if each.support is None else each.support
    return 1 - support if each.flagged else support
