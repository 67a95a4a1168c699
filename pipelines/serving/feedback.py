"""What senders say of the answers they got: checked, scrubbed, then a verdict in the journal and a sample for review."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.rollout.store import Event
from pipelines.serving.guard import GuardDown
from pipelines.serving.intake import Refused
from pipelines.serving.journal import Journal
from pipelines.serving.masking import Masking
from pipelines.serving.recent import Recent, Remembered
from pipelines.serving.samples import Samples
from pipelines.serving.telemetry import Telemetry

KEYS = frozenset({"request_id", "index", "rating", "correction", "comment"})
LONGEST_COMMENT = 2_000  # characters
MOST = 8  # times that one request can be spoken of
GOOD, BAD = 4, 2  # stars from which an answer is good, and to which it is bad


@dataclass(frozen=True)
class Said:
    """One valid feedback. `rating` is up, down or 1 to 5; `index` tells which answer of the request it is about."""

    request: str
    index: int | None = None
    rating: str | int | None = None
    correction: str | None = None
    comment: str | None = None

    @property
    def good(self) -> bool | None:
        """Was the answer good? None where that was not said."""
        if self.rating is None:
            return None if self.correction is None else False
        if isinstance(self.rating, str):
            return self.rating == "up"
        return True if self.rating >= GOOD else False if self.rating <= BAD else None


def said(content: Mapping[str, Any], longest: int) -> Said:
    """Read a feedback; a correction has at most `longest` characters.

    Raises:
        Refused: 400, naming the key and the rule.
    """
    request, index, rating = content.get("request_id"), content.get("index"), content.get("rating")
    if not isinstance(request, str) or not request:
        raise Refused(400, "request_id: must be the X-Request-Id of an answer")
    if index is not None and (isinstance(index, bool) or not isinstance(index, int) or index < 0):
        raise Refused(400, "index: must be the place of an answer in its request, from 0")
    number = isinstance(rating, int) and not isinstance(rating, bool) and 1 <= rating <= 5
    if rating is not None and not number and rating not in ("up", "down"):
        raise Refused(400, "rating: must be up, down, or a number from 1 to 5")
    correction = _text(content, "correction", longest)
    comment = _text(content, "comment", LONGEST_COMMENT)
    if rating is None and correction is None and comment is None:
        raise Refused(400, "rating: must be there when there is no correction and no comment")
    return Said(request, index, rating, correction, comment)


def _text(content: Mapping[str, Any], name: str, longest: int) -> str | None:
    text = content.get(name)
    if text is None:
        return None
    if not isinstance(text, str) or not text.strip():
        raise Refused(400, f"{name}: must be a text that is not empty")
    if len(text) > longest:
        raise Refused(400, f"{name}: must be at most {longest} characters, not {len(text)}")
    return text


class Feedback:
    """Takes feedback on the requests that `recent` holds. `review` is where it goes; without one the verdict alone stays."""

    def __init__(
        self, recent: Recent, masking: Masking, journal: Journal, telemetry: Telemetry, review: Samples | None, longest: int
    ) -> None:
        self._recent, self._masking, self._journal = recent, masking, journal
        self._telemetry, self._review, self._longest = telemetry, review, longest

    async def take(self, content: Mapping[str, Any]) -> dict[str, object]:
        """Take what a sender says; return what was taken.

        Raises:
            Refused: 400 naming key and rule; 404 for a request that is unknown or too long ago; 409 when enough was said of
                it; 503 when the texts cannot be scrubbed now.
        """
        given = said(content, self._longest)
        found = self._recent.get(given.request)
        if found is None:
            raise Refused(404, "request_id: not among the last requests that were answered here")
        index = _which(given, found)
        if found.told >= MOST:
            raise Refused(409, f"request_id: feedback was given {MOST} times already")
        found.told += 1
        texts = {name: text for name in ("correction", "comment") if (text := getattr(given, name)) is not None}
        try:
            clean = await self._masking.texts([*texts.values()], found.call.texts[index], found.marks[index]) if texts else []
        except GuardDown:
            found.told -= 1
            raise Refused(503, "personal data cannot be replaced right now: try again") from None
        self._tell(given, found, index, dict(zip(texts, clean, strict=True)))
        taken = [name for name in ("rating", "correction", "comment") if getattr(given, name) is not None]
        return {"request_id": given.request, "index": index, "taken": taken}

    def _tell(self, given: Said, found: Remembered, index: int, texts: Mapping[str, str]) -> None:
        call, kind = found.call, "comment" if given.good is None else "good" if given.good else "bad"
        self._telemetry.feedback(found.version, kind).inc()
        if given.good is not None:
            slis = {"feedback": given.good}
            self._journal.add(Event(call.request, call.user_hmac, found.arm, found.version, found.at, slis, kind="verdict"))
        if self._review:
            spoken = {"by": call.user_hmac[:16], "at": time.time(), "number": found.told, "rating": given.rating, **texts}
            self._review.offer(found.pair(index, reason="feedback", weight=1.0, feedback=spoken))


def _which(given: Said, found: Remembered) -> int:
    """The answer meant: it must be named where a request had several."""
    count = len(found.outputs)
    if given.index is None and count == 1:
        return 0
    if given.index is None or given.index >= count:
        raise Refused(400, f"index: must be from 0 to {count - 1}: the answers of that request")
    return given.index
