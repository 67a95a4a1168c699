"""One side of the traffic (what was asked, or what was answered) beside its reference: drifted, not, or too little to tell.

"Drifted" is said of unchanged traffic with probability `alpha` at most, over all looks together: look every hour if you like.
A text counts once, however often it comes: a client that repeats itself is no drift.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipelines.monitoring.evidence import Evidence, onset, shares_by_block, weighed
from pipelines.monitoring.facts import Facts, Tools, facts, vectors
from pipelines.monitoring.profile import SEVERAL, Profile
from pipelines.monitoring.questions import ANOTHER, family
from pipelines.monitoring.wagers import BLOCK

FEWEST = 200  # distinct texts before a silence means anything: half of the traffic gone elsewhere is then found as a rule
MOVED, EXAMPLES, WORDS = 12, 5, 12  # told, most telling first
PRIOR = 10.0  # texts
WHOLE = "the texts as wholes"
Verdict = Literal["drifted", "not drifted", "unknown"]


class Text(NamedTuple):
    """One scrubbed text of the traffic, and when it came (seconds since the epoch)."""

    text: str
    at: float


@dataclass(frozen=True)
class Moved:
    """A question whose answers changed: its share of yeses in training and since the change (with a 95 % interval).

    `e_value_log10`: of the evidence; None of shares where the texts as wholes changed, and no one question says how.
    """

    what: str
    training: float | None
    now: float | None
    interval: tuple[float, float] | None
    e_value_log10: float

    @property
    def rose(self) -> bool:
        return self.now is not None and self.training is not None and self.now > self.training


@dataclass(frozen=True)
class Side:
    """What is known of one side. `texts` were compared, in blocks; `alpha` bounds a false "drifted", looked at ever so often.

    Where it drifted: `found_after` so many texts, the change probably `since` (seconds since the epoch), `headline` what tells
    most, then all that `moved`, words that came and went, examples. `evidence` and `shares` by block are for a picture.
    """

    side: str
    verdict: Verdict
    why: str
    texts: int
    reference: int
    alpha: float
    headline: str | None = None
    found_after: int | None = None
    since: float | None = None
    moved: tuple[Moved, ...] = ()
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    evidence: tuple[float, ...] = ()
    shares: dict[str, list[float]] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def sided(side: str, profile: Profile, texts: Sequence[Text], tools: Tools, alpha: float) -> Side:
    """Compare `texts`, in the order in which they came, with their reference. `side` is its name: "input", "output"."""
    first: dict[str, Text] = {}
    for each in texts:
        first.setdefault(each.text, each)
    plain = list(first)
    return compared(side, profile, list(first.values()), facts(plain, tools), vectors(plain, tools), alpha)


def compared(
    side: str, profile: Profile, seen: Sequence[Text], read: Sequence[Facts], whole: NDArray[np.float32], alpha: float
) -> Side:
    """The same of distinct texts whose facts and vectors are read already."""
    evidence = weighed(profile, profile.questions.answers(read), whole)
    count = len(evidence.logs) * BLOCK
    curve = tuple(np.maximum.accumulate(evidence.logs.max(axis=1)).tolist()) if count else ()
    crossed = evidence.crossed(alpha)
    if crossed is None:
        few = f"{count} distinct texts were compared: {FEWEST} are needed"
        why = few if count < FEWEST else "as in training, as far as these texts can tell"
        verdict: Verdict = "unknown" if count < FEWEST else "not drifted"
        return Side(side, verdict, why, count, profile.texts, alpha, evidence=curve)
    columns = evidence.moved(alpha)
    began = onset(profile, evidence, int(columns[0]))
    new = read[began * BLOCK : count]
    moved = [_moved(profile, evidence, int(column), began, new) for column in columns]
    headline = _headline(moved)
    came, went = words_moved(profile, new)
    return Side(
        side,
        "drifted",
        _why(headline),
        count,
        profile.texts,
        alpha,
        headline.what,
        (crossed + 1) * BLOCK,
        seen[began * BLOCK].at,
        tuple(moved[:MOVED]),
        came,
        went,
        _examples(profile, columns.tolist(), seen[began * BLOCK : count], new),
        curve,
        shares_by_block(profile, evidence, columns[:4].tolist()),
    )


def _moved(profile: Profile, evidence: Evidence, column: int, began: int, new: Sequence[Facts]) -> Moved:
    most = float(evidence.logs[:, column].max() / np.log(10))
    names = profile.questions.names
    if column == len(names):
        return Moved(WHOLE, None, None, None, most)
    yeses = int(evidence.yeses[began:, column].sum())
    found = binomtest(yeses, len(new)).proportion_ci(method="exact")
    share = float(profile.yeses[column] / profile.texts)
    what = _named(names[column], profile, new)
    return Moved(what, share, yeses / len(new), (float(found.low), float(found.high)), most)


def _named(name: str, profile: Profile, new: Sequence[Facts]) -> str:
    """For "section: another", which one it mostly is; what fewer than SEVERAL texts hold may be somebody's own."""
    kind, _, value = name.partition(": ")
    if value != ANOTHER:
        return name
    known = set(profile.questions.marks)
    counted = Counter(mark for each in new for mark in each.marks if family(mark) == kind and mark not in known)
    return min((mark for mark, n in counted.items() if n >= SEVERAL), key=lambda mark: (-counted[mark], mark), default=name)


def _headline(moved: Sequence[Moved]) -> Moved:
    """What tells most: of what rose and is a kind (a language, a field's value), the first with half the top's evidence.

    A share that fell is the shadow of one that rose, and a word the shadow of its kind.
    """
    bar = moved[0].e_value_log10 / 2
    risen = [each for each in moved if each.rose and each.e_value_log10 >= bar]
    kinds = [each for each in risen if "more than" not in each.what and not each.what.startswith("word: ")]
    return next(iter(kinds or risen), moved[0])


def _why(headline: Moved) -> str:
    if headline.now is None or headline.training is None or headline.interval is None:
        return f"{headline.what} changed"
    low, high = headline.interval
    return f"{headline.what}: {headline.training:.1%} in training, {headline.now:.1%} now (95 %: {low:.1%} to {high:.1%})"


def words_moved(profile: Profile, new: Sequence[Facts]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words that came and words that went, the surest first: log odds ratios past 3 standard deviations.

    Both shares are drawn towards training's by a prior worth PRIOR texts (as Monroe et al., Fightin' Words, 2008).
    """
    counted = Counter(word for each in new for word in each.words)
    scored = []
    for word in {*counted, *profile.words}:
        share = (profile.words.get(word, 0) + 0.5) / (profile.read + 1)
        odds, variance = zip(
            *(_log_odds(n, of, share) for n, of in ((counted[word], len(new)), (profile.words.get(word, 0), profile.read))),
            strict=True,
        )
        scored.append(((odds[0] - odds[1]) / sum(variance) ** 0.5, word))
    scored.sort(key=lambda each: (-each[0], each[1]))
    came = tuple(word for score, word in scored[:WORDS] if score > 3 and counted[word] >= SEVERAL)
    return came, tuple(word for score, word in reversed(scored[-WORDS:]) if score < -3)


def _log_odds(yeses: int, of: int, share: float) -> tuple[float, float]:
    """Log odds of `yeses` of `of` beside a prior of PRIOR texts with this `share`, and their variance."""
    yes, no = yeses + PRIOR * share, of - yeses + PRIOR * (1 - share)
    return log(yes / no), 1 / yes + 1 / no


def _examples(profile: Profile, columns: Sequence[int], texts: Sequence[Text], new: Sequence[Facts]) -> tuple[str, ...]:
    """The texts since the change that say yes to most of what rose, weighed by how rare that was in training."""
    asked = [column for column in columns if column < len(profile.yeses)]
    if not asked:
        return tuple(each.text for each in texts[-EXAMPLES:])
    answers = profile.questions.answers(new)[:, asked].astype(np.float64)
    training = (profile.yeses[asked] + 0.5) / (profile.texts + 1)
    telling = answers @ np.log((answers.mean(axis=0) + 1e-3) / training)
    return tuple(texts[at].text for at in np.argsort(-telling, kind="stable")[:EXAMPLES])
