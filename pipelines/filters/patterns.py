"""The user's own regular expressions, in bounded time: one that runs away counts as a hit."""

from collections.abc import Sequence

import regex

from pipelines.errors import UserError

BUDGET = 0.05  # seconds of CPU for all the patterns on one text


class Patterns:
    """`key[N]` names pattern N; `timeouts` counts the searches that were given up.

    Raises:
        UserError: a pattern does not compile.
    """

    def __init__(self, key: str, patterns: Sequence[str]) -> None:
        self._patterns = []
        self.timeouts = 0
        for number, pattern in enumerate(patterns):
            try:
                self._patterns.append((f"{key}[{number}]", regex.compile(pattern)))
            except regex.error as error:
                raise UserError(f"serving.filters.{key}: {pattern}: not a regular expression: {error}") from None

    def hit(self, text: str) -> str | None:
        """The first pattern that the text matches, or whose search ran out of its time."""
        for name, pattern in self._patterns:
            try:
                if pattern.search(text, timeout=BUDGET / len(self._patterns), concurrent=True):
                    return name
            except TimeoutError:
                self.timeouts += 1
                return name
        return None
