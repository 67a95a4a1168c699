"""The draft of a postmortem: what the history knows of a rollout that went wrong, blanks for what only people know. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.rollout.evidence import Count

BLANK = "> **To fill in:**"
"""Begins each line that a person must write."""
SHOWN = 20  # trace links, rows of the spec's difference


@dataclass(frozen=True)
class Impact:
    """What users met in one SLI, from the rollout's beginning to its end: of the version, and of what served beside it.

    `users` are those (by pseudonym) of the version's bad answers, but for `unknown` answers whose sender is gone by age.
    """

    sli: str
    version: Count
    users: int
    beside: Count
    unknown: int = 0


@dataclass(frozen=True)
class Moment:
    at: float
    said: str


@dataclass(frozen=True)
class Link:
    at: float
    reason: str
    url: str


@dataclass(frozen=True)
class Story:
    """A rollout as it is remembered; times are in seconds since the epoch.

    `served_at` is the version's first answer to a user, `bad_at` its first bad answer of all (`bad_mirrored`: to a mirrored
    request, which no user saw), `ended_at` the decision that took it back, with its `reasons` (None: it was not taken back).
    `hurt` are the answers to users that were bad in anything promised, of so many `users`, but for `unknown` answers whose
    sender is gone by age; `judged` the judge's flags, which nobody has corrected. `lineages` are the registry's, by version:
    none where it did not answer.
    """

    model: str
    rollout: int
    version: str
    champion: str | None
    outcome: str
    opened_at: float
    served_at: float | None
    bad_at: float | None
    bad_mirrored: bool
    ended_at: float | None
    reasons: Sequence[str]
    hurt: int
    users: int
    impacts: Sequence[Impact]
    judged: Count
    moments: Sequence[Moment]
    lineages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    samples: Sequence[Link] = ()
    kept: int = 0
    unknown: int = 0

    @property
    def detection(self) -> float | None:
        """Seconds from the first bad answer to the decision."""
        return self.ended_at - self.bad_at if self.ended_at is not None and self.bad_at is not None else None


def draft(story: Story, now: float) -> str:
    """The postmortem as Markdown."""
    parts = (_head(story, now), _impact(story), _timeline(story), _causes(story), _samples(story), _people())
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(story: Story, now: float) -> Iterator[str]:
    yield f"# Postmortem: {story.model} version {story.version} (rollout {story.rollout})"
    yield ""
    yield f"Drafted {_clock(now)} from the history by `seqline postmortem`. What only people know is marked."
    yield ""
    yield f"{BLANK} title, severity, owner, date of the review."
    yield ""
    yield "## In short"
    yield ""
    against = f"against version {story.champion}" if story.champion else "with no champion to fall back to"
    yield f"- **Deploy:** version {story.version} {against}, opened {_clock(story.opened_at)}; outcome: {story.outcome}."
    yield f"- **Detection:** {_detection(story)}"
    yield f"- **Hurt:** {_hurt(story)}"
    yield f"- **Why it ended:** {'; '.join(story.reasons) or 'it was not taken back'}."


def _detection(story: Story) -> str:
    if story.bad_at is None:
        return "the journal has no bad answer of it in anything promised: if something was wrong, its SLIs do not see it."
    first = f"first bad answer {_clock(story.bad_at)} ({'mirrored: no user saw it' if story.bad_mirrored else 'a user got it'})"
    if story.detection is None:
        return f"{first}; it was not taken back."
    how = "a person" if any(reason.startswith("by hand") for reason in story.reasons) else "the test"
    return f"{first}, taken back by {how} {_lasted(story.detection)} later."


def _hurt(story: Story) -> str:
    if not story.hurt:
        return "0 requests of users were counted bad."
    who = f"{story.hurt:,} requests of {users(story.users, story.unknown)} were counted bad"
    return f"{who} (where a canary gave no answer, the champion did: late)."


def users(known: int, unknown: int, what: str = " users") -> str:
    """So many, as far as the journal still tells them apart."""
    return f"{known:,}{what}" + (f" (users unknown for {unknown:,} rows)" if unknown else "")


def _impact(story: Story) -> Iterator[str]:
    yield "## Impact"
    yield ""
    yield "What users met from the rollout's beginning to its end; intervals are of 95 %."
    yield ""
    yield f"| SLI | version {story.version} | its users hurt | beside it |"
    yield "|---|---|---|---|"
    for each in story.impacts:
        yield f"| {each.sli} | {_rate(each.version)} | {users(each.users, each.unknown, '')} | {_rate(each.beside)} |"
    if story.judged.n:
        yield f"| judge's flags (uncorrected) | {_rate(story.judged)} | | |"
    yield ""
    yield f"{BLANK} what it meant to them; who was told, and when."


def _timeline(story: Story) -> Iterator[str]:
    yield "## Timeline (UTC)"
    yield ""
    for moment in sorted(story.moments, key=lambda each: each.at):
        yield f"- {_clock(moment.at)}  {moment.said}"
    yield f"- {BLANK[2:]} who noticed, who was called, what was tried."


def _causes(story: Story) -> Iterator[str]:
    yield "## What was deployed"
    yield ""
    versions = [version for version in (story.champion, story.version) if version and version in story.lineages]
    if story.version not in versions:
        yield f"The registry did not tell: `seqline lineage {story.model}@{story.version}`."
    else:
        yield f"| | {' | '.join(f'version {version}' for version in versions)} |"
        yield f"|---|{'---|' * len(versions)}"
        for name, key in FACTS.items():
            cells = [str(story.lineages[version].get(key, "unknown")).removesuffix(".dir")[:16] for version in versions]
            yield f"| {name} | {' | '.join(cells)} |"
        yield f"| approved by | {' | '.join(_approver(story.lineages[version]) for version in versions)} |"
        if len(versions) > 1:
            yield ""
            yield from _changes(story, *versions)
    yield ""
    yield f"{BLANK} root cause; why the gates let it in (`seqline gate {story.model}`); why it was not seen sooner."


FACTS = {"data (md5)": "data_md5", "code (commit)": "commit", "spec (sha256)": "spec_sha256", "uncommitted changes": "dirty"}


def _changes(story: Story, one: str, other: str) -> Iterator[str]:
    before, after = (dict(_flat(story.lineages[each].get("spec", {}))) for each in (one, other))
    moved = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if not moved:
        yield "Both come from the same spec: what differs is the data, the code or chance."
        return
    yield f"What changed in the spec ({len(moved)} keys):"
    yield ""
    for key in moved[:SHOWN]:
        yield f"- `{key}`: {_short(before.get(key))} -> {_short(after.get(key))}"
    if len(moved) > SHOWN:
        yield f"- and {len(moved) - SHOWN} more: `seqline lineage {story.model}@{other} --json`"


def _samples(story: Story) -> Iterator[str]:
    yield "## Samples"
    yield ""
    if not story.samples:
        yield "No answer of it that a filter, the judge or a sender doubted is in MLflow."
    else:
        shown = f"; the newest {SHOWN}" if story.kept > len(story.samples) else ""
        yield f"{story.kept:,} of its answers were doubted and kept, scrubbed{shown}:"
        yield ""
        yield from (f"- {_clock(each.at)} [{each.reason}]({each.url})" for each in story.samples)
    yield ""
    yield f"{BLANK} which of them show the fault; correct them: `seqline labels {story.model} fill`."


def _people() -> Iterator[str]:
    yield "## What we learned"
    yield ""
    for what in ("what went well", "what went badly", "where we were lucky"):
        yield f"{BLANK} {what}."
        yield ""
    yield "## What we do"
    yield ""
    yield "| action | owner | due | done |"
    yield "|---|---|---|---|"
    yield f"| {BLANK[2:]} prevent it | | | |"
    yield f"| {BLANK[2:]} see it sooner (an SLI, a gate's rule, an alert) | | | |"
    yield f"| {BLANK[2:]} make it hurt less | | | |"


def _approver(lineage: Mapping[str, Any]) -> str:
    approval = lineage.get("production")
    return str(approval.get("approver") or "unknown") if approval else "never let in"


def _rate(count: Count) -> str:
    if not count.n:
        return "no answer"
    low, high = count.interval()
    return f"{count.bad:,} of {count.n:,} bad = {count.bad / count.n:.2%} ({low:.2%} to {high:.2%})"


def _flat(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _short(value: object) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _lasted(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"
