"""What a watch looks at before it decides: each look by itself, so that one that cannot be told says why and keeps no other
from being told."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows.settings import Settings
from pipelines.errors import SeqlineError
from pipelines.monitoring.triggers import LEAST, Observed, Rate, Share
from pipelines.spec.watch import Kind

if TYPE_CHECKING:
    from flows.commands.drift import Seen
    from pipelines.monitoring import Drift
    from pipelines.registry import Registry
    from pipelines.spec import Spec

T = TypeVar("T")


@dataclass
class Looks:
    """All looks at one model. `untold` gathers why one could not be told, `drift` is the whole of its verdict."""

    spec: "Spec"
    path: Path
    registry: "Registry"
    settings: Settings
    now: float
    keep: bool = True
    """Whether what labels say is written down as `seqline labels NAME status` does."""
    drift: "Drift | None" = None
    untold: list[tuple[Kind, str]] = field(default_factory=list)

    def observed(self, busy: str, tried_at: float | None) -> Observed:
        """Everything, now. `busy` is what keeps a retrain from starting, `tried_at` when one was last started by a watch."""
        made = self.registry.made(self.spec.name)
        champion = self.registry.champion(self.spec.name)
        times = [each for each in (made[-1].at if made else None, tried_at) if each is not None]
        version = champion.version if champion else None
        trained = next((each for each in made if each.version == version), None)
        seen = self._told("drift", self._seen) if champion else None
        scores = self.registry.scores(champion.run_id) if champion else {}
        self.drift = self._told("drift", lambda: self._drift(seen)) if seen else None
        self.untold += [("drift", f"unknown: {why}")] if (why := self._why("unknown")) else []
        return Observed(
            now=self.now,
            version=version,
            busy=busy,
            trained_at=max(times, default=None),
            drifted={"drifted": True, "not drifted": False}.get(self.drift.verdict) if self.drift else None,
            moved=self._why("drifted"),
            doubted=self._told("quality", lambda: doubted(seen, scores, self.spec)) if seen else None,
            disliked=self._told("quality", lambda: disliked(seen, self.spec)) if seen else None,
            unsupported=self._told("hallucination", lambda: self._unsupported(version)) if version else None,
            labels=self._told("labels", lambda: self._labels(trained.at)) if trained else None,
            changed=self._told("source", self._changed),
            untold=tuple(self.untold),
        )

    def _why(self, verdict: str) -> str:
        """What the drift look says of the first side of which it says `verdict`."""
        sides = self.drift.sides if self.drift else ()
        return next((f"{side.side}: {side.why}" for side in sides if side.verdict == verdict), "")

    def _told(self, kind: Kind, look: Callable[[], T]) -> T | None:
        """What `look` tells; a fault of ours is said, and leaves this one reason out."""
        try:
            return look()
        except SeqlineError as error:
            self.untold.append((kind, str(error).splitlines()[0]))
            return None

    def _seen(self) -> "Seen":
        from flows.commands.drift import seen

        return seen(self.spec, self.settings, self.now)

    def _drift(self, seen: "Seen") -> "Drift":
        from flows.commands.drift import look

        return look(self.spec, self.settings, self.now, read=seen)

    def _unsupported(self, version: str) -> Rate | None:
        """By people's labels alone, read anew."""
        from flows.commands.labels import Read, how_of, keep

        read = Read(self.spec.name, self.settings)
        told = read.told(how_of(self.spec, self.settings))
        if self.keep:
            keep(self.spec.name, told, read.answered, self.settings)
        return corrected([each.plain() for each in told], version, self.spec)

    def _labels(self, since: float) -> int:
        from pipelines.registry.traffic import Traffic

        return Traffic(self.settings.mlflow, self.settings.artifacts).labelled(self.spec.name, since)

    def _changed(self) -> tuple[str, ...]:
        """Beside data/NAME.json, which says what the data of the last run was read from."""
        from pipelines.sources.changed import changed, seen

        published = self.settings.project / "data" / f"{self.spec.name}.json"
        if not published.is_file():
            raise SeqlineError("the data last trained on is not here (data.dvc: `dvc pull` brings it)")
        trained: dict[str, str] = json.loads(published.read_text(encoding="utf-8"))["facts"].get("inputs", {})
        found = seen(self.spec.data, self.path.parent, self.settings.source_cache, self.settings.source_urls)
        if found.untold:
            self.untold.append(
                ("source", "; ".join(("nothing told has changed" if found.inputs else "", *found.untold)).strip("; "))
            )
        return changed(found, trained)


def doubted(seen: "Seen", scores: dict[str, Any], spec: "Spec") -> Share:
    """Answers of the version in production that a filter doubted; the bar is a multiple of its share of held-out outputs."""
    own = [each for each in seen.answers if each.version == seen.version.version]
    heldout = sum(each["outputs"]["value"] for each in scores.get("filters", {}).values() if each["action"] != "off")
    return Share(sum(bool(each.flags) for each in own), len(own), min(0.99, max(LEAST, spec.watch.doubted * heldout)))


def disliked(seen: "Seen", spec: "Spec") -> Share:
    """Answers of the version in production that their senders rated down, of those that they rated."""
    rated = [each.bad for each in seen.traffic.rated(spec.name, seen.begun, seen.now) if each.version == seen.version.version]
    known = [bad for bad in rated if bad is not None]
    return Share(sum(known), len(known), spec.watch.disliked)


def corrected(versions: list[dict[str, Any]], version: str, spec: "Spec") -> Rate | None:
    """The rate of unsupported answers that labels tell of `version`; None while they cannot: the judge's own counts nothing."""
    found: Any = next((each["corrected"] for each in versions if each["version"] == version), "unknown")
    if found == "unknown":
        return None
    low, high = found["interval"]
    bar = spec.scoring.max_unsupported if spec.scoring.max_unsupported < 1 else spec.watch.unsupported
    return Rate(found["value"], low, high, bar)
