"""Personal data in texts, found by Presidio, replaced by placeholders. The gateway and the scrub step share this detector."""

import hashlib
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from pipelines.errors import UserError
from pipelines.scrub.engine import Engine, Undetected
from pipelines.scrub.spans import Scrubbed, Span, agree, lookalikes, placeholders, replace, restore
from pipelines.spec import Language, Privacy

__all__ = ["Detector", "Scrubbed", "Span", "Undetected", "applied", "placeholders", "restore"]

REMEMBERED = 4_096  # texts whose spans a detector keeps: by hash, as offsets, never the text
SURROGATE = re.compile(r"[\ud800-\udfff]")


class Detector:
    """Presidio's spans for a policy, at its level: `exact`, `fast` (patterns and a small tagger), or `patterns`.

    Making one takes seconds at level `exact` (it loads the tagger). A text of 500 characters then takes some 4 ms of CPU
    at `exact`, and a tenth of that without names. Any thread may use it; one at a time is served.

    Args:
        language: of the texts; the policy's own by default.
        tagger: folder of the distilled tagger; used, and needed, at level `fast` alone.

    Raises:
        UserError: the tagger, its package, or a recognizer of the user's is not there.
    """

    def __init__(self, privacy: Privacy, *, language: Language | None = None, tagger: Path | None = None) -> None:
        self.privacy = privacy
        self._engine = _engine(privacy, language or privacy.language)
        self._fast = _fast_tagger(tagger) if privacy.level == "fast" else None
        self._seen: LRUCache[bytes, list[Span]] = LRUCache(REMEMBERED)
        self._lock = threading.Lock()

    def find(self, texts: Sequence[str]) -> list[list[Span]]:
        """The spans of the policy's entities in each text, sorted: what AnalyzerEngine.analyze gives, and lookalikes.

        They may overlap; `resolve` makes them disjoint. A text that was seen lately costs a hash. What is found in a text
        does not depend on the others.

        Raises:
            Undetected: a recognizer failed on one of the texts.
        """
        found: list[list[Span]] = []
        for spans in self.attempt(texts):
            if isinstance(spans, Undetected):
                raise spans
            found.append(spans)
        return found

    def attempt(self, texts: Sequence[str]) -> list[list[Span] | Undetected]:
        """As `find`, with an Undetected in the place of a text on which a recognizer failed; the others are found."""
        with self._lock:
            keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
            new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._seen}
            found = dict(zip(new, self._attempt(list(new.values())), strict=True))
            spans = [found[key] if key in found else self._seen[key] for key in keys]
            self._seen.update((key, each) for key, each in found.items() if not isinstance(each, Undetected))
            return spans

    def _attempt(self, texts: Sequence[str]) -> list[list[Span] | Undetected]:
        """Halves a batch that fails until the failing texts stand alone."""
        if not texts:
            return []
        try:
            return list(self._find(texts))
        except Exception as error:
            if len(texts) > 1:
                middle = len(texts) // 2
                return self._attempt(texts[:middle]) + self._attempt(texts[middle:])
            # Presidio's and spaCy's messages may quote the text: nothing of them goes on
            return [error if isinstance(error, Undetected) else Undetected(_reason(error))]

    def _find(self, texts: Sequence[str]) -> list[list[Span]]:
        # spaCy and hyperscan take no lone surrogate; one character for another keeps the offsets
        texts = [text if text.isascii() else SURROGATE.sub("\ufffd", text) for text in texts]
        found = self._engine.find(texts)
        if self._fast:
            allow = frozenset(self.privacy.allow)
            for text, spans, more in zip(texts, found, self._fast.find(texts), strict=True):
                wanted = [span for span in more if span.entity in self.privacy.entities and span.score >= self.privacy.score]
                spans += [span for span in wanted if text[span.start : span.end] not in allow]
        entities = self.privacy.entities
        return [sorted({*spans, *lookalikes(text, entities)}) for text, spans in zip(texts, found, strict=True)]

    def scrub(self, texts: Sequence[str]) -> Scrubbed:
        """The texts of one request or one pair, with the same placeholder for the same value in all of them."""
        return replace(texts, agree(texts, self.find(texts)), self.privacy.placeholders)

    def scrub_each(self, texts: Sequence[str]) -> list[Scrubbed]:
        """Each text for itself, all found in one pass."""
        found = zip(texts, self.find(texts), strict=True)
        return [replace([text], agree([text], [spans]), self.privacy.placeholders) for text, spans in found]


def applied(folder: Path, default: Privacy) -> tuple[Privacy, Path | None]:
    """The policy that a version was trained by, and its tagger, from policy/ in its export; `default` if it has none."""
    stated = folder / "privacy.json"
    privacy = Privacy.model_validate_json(stated.read_text()) if stated.is_file() else default
    tagger = folder / f"tagger-{privacy.language}"
    return privacy, tagger if tagger.is_dir() else None


@lru_cache(maxsize=2)
def _engine(privacy: Privacy, language: Language) -> Engine:
    from pipelines.scrub.engine import presidio

    return Engine(presidio.load(privacy, language), privacy)


def _fast_tagger(folder: Path | None) -> Any:
    from pipelines.scrub.tagger import FastTagger

    if folder is None:
        raise UserError("privacy.level: fast needs the tagger that the scrub step distils; use `exact` where there is none")
    return FastTagger(folder)


def _reason(error: Exception) -> str:
    """The classes of what was raised and, if one of a recognizer's methods raised it, of the recognizer."""
    frame, recognizer = error.__traceback__, ""
    while frame:
        owner = frame.tb_frame.f_locals.get("recognizer")
        if owner is not None and hasattr(owner, "supported_entities"):
            recognizer = f" in {type(owner).__name__}"
        frame = frame.tb_next
    return f"{type(error).__name__}{recognizer}"
