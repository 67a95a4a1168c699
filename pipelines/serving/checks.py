"""The filters at work: what becomes of an answer that one of them doubts, and of a request that matches a pattern."""

import asyncio
from collections.abc import Callable, Sequence

from pipelines.filters import Inspector
from pipelines.serving.exchange import Output
from pipelines.serving.guard import Guard, redact
from pipelines.serving.intake import Refused
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Spec

LEAK = "leak"


class Checks:
    """The filters of a spec, over scrubbed texts. `guard` finds personal data; each hit is counted by version."""

    def __init__(self, spec: Spec, guard: Callable[[], Guard], telemetry: Telemetry) -> None:
        language = spec.privacy.target_language or spec.privacy.language
        self._inspector = Inspector(spec.serving.filters, spec.task, language)
        self._leak, self._patterns = spec.serving.filters.leak, spec.serving.filters.input_patterns
        self._guard, self._telemetry = guard, telemetry

    @property
    def whole(self) -> bool:
        """Must an answer be whole before its sender may see any of it? So it is where a filter changes or refuses answers."""
        actions = [self._leak, *(self._inspector.action(name) for name in self._inspector.on)]
        return any(action in ("redact", "refuse") for action in actions)

    async def requests(self, version: str, texts: Sequence[str]) -> None:
        """Raises:
        Refused: 400, naming the input and the pattern (by number) that it matches.
        """
        if not self._patterns:
            return
        hits = await asyncio.to_thread(lambda: [self._inspector.request(text) for text in texts])
        for place, hit in enumerate(hits):
            if hit:
                self._telemetry.guard_hits(version, "input_patterns").inc()
                raise Refused(400, f"inputs[{place}]: matches {hit}, which this model's policy refuses")

    async def answers(self, version: str, sources: Sequence[str], outputs: Sequence[Output]) -> list[Output]:
        """The outputs with `flags` and `withheld`, and leaks redacted. A withheld one keeps its text: the gateway hides it.

        Raises:
            GuardDown: leaks cannot be looked for now, so that the outputs must not be used.
        """
        if self._inspector.slow:
            found = await asyncio.to_thread(self._inspected, sources, outputs)
        else:
            found = self._inspected(sources, outputs)
        texts = [output.text for output in outputs]
        leaks = await self._guard().leaks(texts, sources) if self._leak != "off" else [[] for _ in outputs]
        checked = []
        for source, output, flags, leaked in zip(sources, outputs, found, leaks, strict=True):
            if leaked:
                flags = [*flags, LEAK]  # noqa: PLW2901
                if self._leak != "flag":
                    output = output.model_copy(update={"text": redact(output.text, leaked, source)})  # noqa: PLW2901
            checked.append(self._marked(version, output, flags))
        return checked

    def _inspected(self, sources: Sequence[str], outputs: Sequence[Output]) -> list[list[str]]:
        inspect = self._inspector.answer
        return [inspect(source, each.text, finished=each.finished) for source, each in zip(sources, outputs, strict=True)]

    def _marked(self, version: str, output: Output, flags: list[str]) -> Output:
        if not flags:
            return output
        for flag in flags:
            self._telemetry.guard_hits(version, flag).inc()
        refused = any(self._inspector.action(flag) == "refuse" for flag in flags)
        return output.model_copy(update={"flags": flags, "withheld": output.withheld or refused})
