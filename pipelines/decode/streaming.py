"""Text from tokens as they come."""

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"
"""What stands for the bytes of a character that is not whole yet."""


class Deltas:
    """Tells `on_text` of each piece of text once later tokens cannot change it; the pieces joined are the whole text.

    `text_of` gives the text of token ids, stripped. Held back are the bytes of a character that is not whole, and spaces, which
    at the end would be stripped.
    """

    def __init__(self, text_of: Callable[[Sequence[int]], str], on_text: Callable[[str], None]) -> None:
        self._text_of, self._on_text = text_of, on_text
        self._ids: list[int] = []
        self._told = ""

    def add(self, token: int) -> None:
        self._ids.append(token)
        self._tell(self._text_of(self._ids).rstrip(UNFINISHED).rstrip())

    def close(self, ids: Sequence[int]) -> None:
        """Tell the rest of the answer, whose tokens were `ids`."""
        self._tell(self._text_of(ids))

    def _tell(self, text: str) -> None:
        if text.startswith(self._told) and text != self._told:
            told, self._told = self._told, text
            self._on_text(text[len(told) :])
