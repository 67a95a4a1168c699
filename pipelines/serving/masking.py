"""Personal data in what comes back: outputs of a model, and what people say of them, before anything of it is kept."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipelines.errors import SeqlineError
from pipelines.serving.guard import Guard
from pipelines.serving.pairs import Pair

GROUP = 8  # outputs in one call to the guard: what requests may have to wait behind
PLACEHOLDER = re.compile(r"<([A-Z_]+)_(\d+)>")
_key = secrets.token_bytes(32)  # of this process: marks mean nothing elsewhere, or after it

Marks = Mapping[bytes, str]
"""Keyed hashes of the values that a text's placeholders stand for -> the placeholders; no value can be read from them."""


def marks_of(values: Mapping[str, str]) -> Marks:
    """The marks of `values` (placeholder -> what it stands for)."""
    return {_mark(value): placeholder for placeholder, value in values.items()}


def _mark(value: str) -> bytes:
    return hmac.digest(_key, value.casefold().encode("utf-8", "surrogatepass"), hashlib.sha256)


def renumbered(scrubbed: str, values: Mapping[str, str], source: str, marks: Marks, most: int) -> str:
    """`scrubbed` (with its own placeholders for `values`) with the placeholders that fit `source`.

    What was a placeholder before stays that placeholder; a value of the source has the source's; others get numbers that
    neither uses, up to `most` (further ones share the last, as in the scrubber).
    """
    new: dict[str, str] = {}
    taken = set(PLACEHOLDER.findall(source)) | {each for value in values.values() for each in PLACEHOLDER.findall(value)}
    for placeholder, value in values.items():
        if PLACEHOLDER.fullmatch(value):
            new[placeholder] = value
        elif (known := marks.get(_mark(value))) is not None:
            new[placeholder] = known
    for placeholder in [placeholder for placeholder in values if placeholder not in new]:
        entity = placeholder[1:-1].rpartition("_")[0]
        free = (str(number) for number in range(1, most) if (entity, str(number)) not in taken)
        number = next(free, str(most))
        taken.add((entity, number))
        new[placeholder] = f"<{entity}_{number}>"
    return PLACEHOLDER.sub(lambda match: new.get(match[0], match[0]), scrubbed)


class Masking:
    """Scrubs outputs by the guard that scrubs requests now (`guard` finds it), with at most `most` placeholders an entity."""

    def __init__(self, guard: Callable[[], Guard], most: int) -> None:
        self._guard, self._most = guard, most

    async def texts(self, texts: Sequence[str], source: str, marks: Marks) -> list[str]:
        """`texts` that belong to the scrubbed `source`.

        Raises:
            GuardDown: they cannot be scrubbed now.
        """
        found = await self._guard().scrub(texts)
        return [renumbered(text, values, source, marks, self._most) for text, values in found]

    async def pairs(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The pairs with their outputs scrubbed; without those that cannot be now."""
        clean: list[Pair] = []
        for start in range(0, len(pairs), GROUP):
            group = pairs[start : start + GROUP]
            try:
                found = await self._guard().scrub([pair.output for pair in group])
            except SeqlineError:  # the guard is down, or there is no model in production
                continue
            clean += [
                replace(pair, output=renumbered(text, values, pair.source, {}, self._most))
                for pair, (text, values) in zip(group, found, strict=True)
            ]
        return clean
