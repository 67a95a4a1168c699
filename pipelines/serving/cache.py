"""Answers kept for those who ask the same, and the one decoding that several who ask at once share.

The key is the sha256 of version, decoding and scrubbed text: senders whose texts differ only in personal data share an answer,
and neither the text nor the data is kept. The answer that is kept is the model's, with placeholders.
"""

import asyncio
import hashlib
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import orjson
from cachetools import LRUCache

from pipelines.serving.exchange import Output
from pipelines.spec import Cache as Bounds
from pipelines.spec import Decoding

BEAMS = range(16, 0, -1)  # what an answer may have been decoded with, the best first
LONGEST = 16_384  # characters: a longer answer is not kept, so that `entries` bounds the memory

Kind = Literal["fresh", "stale"]


def key(version: str, decoding: Decoding, text: str) -> bytes:
    """Of an answer that is not drawn: only what then matters of `decoding` is in it."""
    return hashlib.sha256(_stated(version, decoding) + text.encode("utf-8", "surrogatepass")).digest()


@lru_cache(256)
def _stated(version: str, decoding: Decoding) -> bytes:
    fields = decoding.model_dump(exclude={"temperature", "top_k", "top_p", "seed"})
    return orjson.dumps([version, fields], option=orjson.OPT_SORT_KEYS) + b"\0"


@dataclass(frozen=True)
class _Kept:
    version: str
    output: Output
    at: float


class Cache:
    """Bounded by number, least recently used first. Answers past their time stay for `stale` ones to be found."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._kept: LRUCache[bytes, _Kept] = LRUCache(max(1, bounds.entries))

    def __len__(self) -> int:
        return len(self._kept)

    def usable(self, decoding: Decoding) -> bool:
        """Whether answers decoded so may be kept at all: drawn ones differ each time."""
        return self._bounds.entries > 0 and decoding.temperature == 0

    def find(self, version: str, decoding: Decoding, text: str, now: float) -> Output | None:
        """The answer, if it is within its time. `now` as in `keep`."""
        kept = self._kept.get(key(version, decoding, text)) if self.usable(decoding) else None
        fresh = kept is not None and now - kept.at < self._bounds.seconds
        return kept.output.model_copy(update={"cached": True}) if kept and fresh else None

    def find_stale(self, version: str, decoding: Decoding, text: str) -> Output | None:
        """The answer of the largest beam, however old."""
        if self.usable(decoding):
            for beam in BEAMS:
                kept = self._kept.get(key(version, decoding.model_copy(update={"beam": beam}), text))
                if kept:
                    return kept.output.model_copy(update={"cached": True})
        return None

    def keep(self, version: str, decoding: Decoding, text: str, output: Output, now: float) -> None:
        """Keep an answer (`now` in seconds of any clock that does not go back); not one that a filter refused."""
        if self.usable(decoding) and not output.withheld and len(output.text) <= LONGEST:
            self._kept[key(version, decoding, text)] = _Kept(version, output, now)

    def retain(self, versions: Set[str]) -> None:
        """Forget the answers of all other versions."""
        for each in [each for each, kept in self._kept.items() if kept.version not in versions]:
            del self._kept[each]


class Flights:
    """Answers that are being made. Who asks first leads; the others wait for its answer, and ask themselves if none comes."""

    def __init__(self) -> None:
        self._flights: dict[bytes, asyncio.Future[Output | None]] = {}

    def join(self, each: bytes) -> asyncio.Future[Output | None] | None:
        """The answer being made under this key, or None: then the caller leads, and must `land` it however it ends."""
        flight = self._flights.get(each)
        if flight is None:
            self._flights[each] = asyncio.get_running_loop().create_future()
        return flight

    def land(self, each: bytes, output: Output | None) -> None:
        """Give the answer (None: there is none) to those who wait."""
        self._flights.pop(each).set_result(output)
