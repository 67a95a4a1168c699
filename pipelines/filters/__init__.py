"""What is doubtful about an answer, by its text and its source alone: pure, no model, linear in the texts.

    inspector = Inspector(spec.serving.filters, spec.task, "en")
    inspector.answer(source, output, finished=True)  # ["numbers"]

Both texts are scrubbed ones: placeholders are neither numbers nor names.
"""

from typing import Literal

from pipelines.filters.echo import echoes
from pipelines.filters.figures import new_numbers
from pipelines.filters.loops import loops
from pipelines.filters.names import new_names
from pipelines.filters.patterns import Patterns
from pipelines.spec import Filters

NAMES = ("length", "repetition", "echo", "numbers", "names", "pattern")
SHORT = 40  # characters that an answer may have over the ratio: short sources say much in few words
Action = Literal["off", "flag", "redact", "refuse"]

__all__ = ["NAMES", "Action", "Inspector"]


class Inspector:
    """The filters that are on, for answers in `language` to a `task`.

    `timeouts` counts the searches of `patterns` and `input_patterns` that were given up (they count as hits). Searches for
    patterns of the user's take up to patterns.BUDGET seconds of CPU a text, off the GIL: where `slow` is true, call
    from a thread rather than on an event loop.

    Raises:
        UserError: a pattern does not compile.
    """

    def __init__(self, filters: Filters, task: str, language: str) -> None:
        self._filters, self._language = filters, language
        self._on = frozenset(name for name in NAMES if getattr(filters, name) != "off")
        if task != "translation":
            self._on -= {"echo"}
        self._outputs = Patterns("patterns", filters.patterns)
        self._inputs = Patterns("input_patterns", filters.input_patterns)

    @property
    def on(self) -> tuple[str, ...]:
        """The filters that can doubt an answer here, in their order."""
        return tuple(name for name in NAMES if name in self._on and (name != "pattern" or self._filters.patterns))

    @property
    def slow(self) -> bool:
        """Whether there are patterns of the user's."""
        return bool(self._filters.patterns or self._filters.input_patterns)

    @property
    def timeouts(self) -> int:
        return self._outputs.timeouts + self._inputs.timeouts

    def answer(self, source: str, output: str, *, finished: bool) -> list[str]:
        """The names of the filters that doubt `output`, in their order; `finished` as in Output."""
        return [name for name in NAMES if name in self._on and self._doubts(name, source, output, finished)]

    def _doubts(self, name: str, source: str, output: str, finished: bool) -> bool:
        match name:
            case "length":
                return not finished or len(output) > self._filters.longest_ratio * len(source) + SHORT
            case "repetition":
                return loops(source, output)
            case "echo":
                return echoes(source, output)
            case "numbers":
                return bool(new_numbers(source, output))
            case "names":
                return bool(new_names(source, output, self._language))
            case _:
                return self._outputs.hit(output) is not None

    def request(self, text: str) -> str | None:
        """Which of `input_patterns` the text matches, as `input_patterns[N]`; None if it may be answered."""
        return self._inputs.hit(text)

    def action(self, name: str) -> Action:
        """What becomes of an answer that filter `name` (also: leak) doubts.

        Raises:
            KeyError: there is no such filter.
        """
        if name not in (*NAMES, "leak"):
            raise KeyError(name)
        action: Action = getattr(self._filters, name)
        return action
