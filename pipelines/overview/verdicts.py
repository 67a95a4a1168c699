"""Whether a model is well, in one word and one line: what an on-call person reads first. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.overview.facts import Model, Overview, Standing
from pipelines.overview.wording import span

Tone = Literal["bad", "unknown", "wait", "good", "none"]
ORDER: tuple[Tone, ...] = ("bad", "unknown", "wait", "good", "none")
"""What is to be looked at first stands first."""
WORDS: dict[Tone, str] = {
    "bad": "NOT SAFE",
    "unknown": "NOT KNOWN",
    "wait": "SAFE, BUT",
    "good": "SAFE",
    "none": "NOT IN PRODUCTION",
}


@dataclass(frozen=True)
class Verdict:
    """`word` says it in capitals, `said` why; `act` is the one command, `runbook` the page, for who must do something."""

    tone: Tone
    said: str
    act: str = ""
    runbook: str = ""

    @property
    def word(self) -> str:
        return WORDS[self.tone]


def verdict(model: Model, now: float) -> Verdict:
    """Of one model. What is not known is never called safe; where nothing is in production nobody can be hurt."""
    standing = model.standing.value
    if standing is None:
        said = model.standing.problem or "nobody looked yet"
        return Verdict("unknown", said, f"seqline status {model.name}" if model.standing.problem else "")
    if not model.standing.fresh(now):
        age = span(now - (model.standing.at or now))
        why = model.standing.problem or "the rollout database is not looked at any more"
        return Verdict("unknown", f"{why}; what is shown is {age} old", f"seqline status {model.name}")
    if standing.production is None and standing.rollout is None:
        return Verdict("none", "nothing is in production yet", f"seqline retrain models/{model.name}.yaml")
    return _hurt(model, standing, now) or _unknown(model, now) or _waits(model, standing) or Verdict("good", standing.verdict)


def _hurt(model: Model, standing: Standing, now: float) -> Verdict | None:
    """What is wrong for users now."""
    if not standing.safe:
        return Verdict("bad", standing.verdict, _order(model, standing))
    gateway = model.gateway
    if gateway.problem and not gateway.fresh(now):
        return Verdict("bad", gateway.problem, f"seqline serve {model.name}")
    if gateway.fresh(now) and gateway.value and gateway.value.model not in ("", model.name):
        said = f"the gateway of {gateway.value.model} answers at its address: one of the two must have another serving.port"
        return Verdict("bad", said, f"seqline set {model.name} serving.port=...")
    if gateway.fresh(now) and gateway.value and not gateway.value.ok:
        return Verdict("bad", "the gateway has no engine that answers", f"seqline serve {model.name}")
    pages = [alert for alert in model.alerts.value or () if alert.severity == "page"]
    if pages and model.alerts.fresh(now):
        return Verdict("bad", "; ".join(alert.said for alert in pages), runbook=pages[0].runbook)
    return None


def _unknown(model: Model, now: float) -> Verdict | None:
    """What nobody can tell now, though no look has failed: one that hangs, or whose answer is still out."""
    gateway, alerts = model.gateway, model.alerts
    if not gateway.fresh(now):
        age = "was not asked yet" if gateway.at is None else f"was heard of {span(now - gateway.at)} ago"
        return Verdict("unknown", f"the gateway {age}", f"seqline serve {model.name}")
    if any(alert.severity == "page" for alert in alerts.value or ()) and not alerts.fresh(now):
        said = "; ".join(alert.said for alert in alerts.value or () if alert.severity == "page")
        return Verdict("unknown", f"nobody tells whether this goes on: {said} ({alerts.problem or 'old'})")
    return None


def _order(model: Model, standing: Standing) -> str:
    if standing.rollout and not standing.rollout.watched:
        return f"seqline rollout {model.name} --watch"
    return f"seqline rollback {model.name}" if standing.rollout else f"seqline status {model.name}"


def _waits(model: Model, standing: Standing) -> Verdict | None:
    """What is safe, and yet waits for a person."""
    rollout = standing.rollout
    if rollout and rollout.approval:
        return Verdict("wait", standing.verdict, f"press Promote model in MLflow: version {rollout.version} of {model.name}")
    if (standing.production or "").startswith("endpoint:"):
        return Verdict("wait", f"everybody is diverted: {standing.verdict}", f"seqline divert {model.name} --back")
    if standing.held:
        return Verdict("wait", f"{standing.verdict}; {standing.held}", f"seqline resume {model.name}")
    if model.gateway.value and not model.gateway.value.follows:
        said = f"{standing.verdict}; the gateway does not follow the newest route yet"
        return Verdict("wait", said, f"seqline doctor {model.name} --only everybody-on-champion")
    alerts = model.alerts.value or ()
    if alerts:
        return Verdict("wait", "; ".join([standing.verdict, *(each.said for each in alerts)]), runbook=alerts[0].runbook)
    return None


def ranked(overview: Overview) -> list[tuple[Model, Verdict]]:
    """The models, what must be looked at first on top, else by name."""
    found = [(model, verdict(model, overview.at)) for model in overview.models]
    return sorted(found, key=lambda each: (ORDER.index(each[1].tone), each[0].name))


def summary(verdicts: Iterable[Verdict]) -> str:
    """All in a few words, for the window's title and for screen readers."""
    counts: dict[Tone, int] = {}
    for each in verdicts:
        counts[each.tone] = counts.get(each.tone, 0) + 1
    named = {
        "bad": "not safe",
        "unknown": "not known",
        "wait": "waiting for a person",
        "good": "safe",
        "none": "not in production",
    }
    return ", ".join(f"{counts[tone]} {named[tone]}" for tone in ORDER if tone in counts) or "no models"
