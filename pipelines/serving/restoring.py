"""The sender's values, put back into answers: whole ones, and such as come in pieces."""

import re
from collections.abc import Callable, Mapping, Sequence

from pipelines.scrub.detect import placeholders, restore
from pipelines.serving.exchange import Delta, Output
from pipelines.spec import Privacy

_whole = re.compile(r"<[A-Z_]+_\d+>")
_part = re.compile(r"<(?:[A-Z_]+\d*)?\Z")  # the beginning of a placeholder, at the end of a text
LONGEST = 64  # characters of a placeholder


def unrestored(text: str, values: Mapping[str, str], known: frozenset[str]) -> bool:
    """Is there a placeholder in `text`, one of the `known`, that the sender gave no value for?"""
    return any(each in known and each not in values for each in _whole.findall(text))


def known(privacy: Privacy) -> frozenset[str]:
    """The placeholders that the scrubber writes."""
    return frozenset(placeholders(privacy))


def shown(output: Output, values: Mapping[str, str]) -> Output:
    """What the sender gets of an output: the own values back, or nothing where a filter withholds it."""
    text = "" if output.withheld else restore(output.text, values)
    return output if text == output.text else output.model_copy(update={"text": text})


class Restoring:
    """An answer that comes in pieces. A placeholder may be split over them: from `<` on it is held back until that is clear."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values, self._held = values, ""

    def feed(self, piece: str) -> str:
        """What can be shown once `piece` is there."""
        text = self._held + piece
        match = _part.search(text, max(0, len(text) - LONGEST))
        cut = match.start() if match else len(text)
        self._held = text[cut:]
        return restore(text[:cut], self._values)

    def rest(self) -> str:
        """What is held back still, when no more comes."""
        held, self._held = self._held, ""
        return held


class Pieces:
    """All answers of a request that come in pieces; `put` gets what can be shown. `begun` once there was anything."""

    def __init__(self, values: Sequence[Mapping[str, str]], put: Callable[[Delta], None]) -> None:
        self.begun = False
        self._answers, self._put = [Restoring(each) for each in values], put

    def tell(self, index: int, piece: str) -> None:
        """The next piece of answer `index` is there."""
        self.begun = True
        self._show(index, self._answers[index].feed(piece))

    def end(self) -> None:
        """No more comes."""
        for index, answer in enumerate(self._answers):
            self._show(index, answer.rest())

    def _show(self, index: int, text: str) -> None:
        if text:
            self._put(Delta(index, text))
