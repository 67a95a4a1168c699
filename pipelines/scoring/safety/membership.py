"""Can it be told from a model's loss whether it has seen a pair? The attack of Yeom et al. (2018), by its area under the curve.

0.5: members cannot be told from others; 1: each can. An overfit model gives its training pairs away, and what it says in them.
The attack takes train and test for samples of one distribution; of what is drawn by cluster (near-duplicates dropped from
training alone, say) a little of the difference may be the texts' own.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines import spec
from pipelines.scoring import compare
from pipelines.scoring.judge.head import auroc

FALSE_ALARMS = 0.05
"""Share of non-members that may be taken for members where the attacker has to be sure (Carlini et al., 2022)."""
FEWEST = 10

Losses = Callable[[Sequence[str], Sequence[str]], list[list[float]]]


class Pairs(NamedTuple):
    sources: Sequence[str]
    targets: Sequence[str]

    def of(self, rows: Sequence[int]) -> "Pairs":
        return Pairs([self.sources[row] for row in rows], [self.targets[row] for row in rows])


def sample(pairs: Pairs, count: int) -> Pairs:
    """At most `count` of the pairs: those whose texts hash lowest, the same ones whatever stands beside them."""

    def order(row: int) -> bytes:
        return hashlib.sha256(f"member {pairs.sources[row]}\0{pairs.targets[row]}".encode()).digest()

    return pairs.of(sorted(range(len(pairs.sources)), key=order)[:count])


def membership(tokens: Losses, members: Pairs, others: Pairs, scoring: spec.Scoring) -> dict[str, Any] | None:
    """How well the mean log-probability of a target's tokens (`tokens` gives them) tells `members` of training from `others`.

    "auc" with its interval, "caught": the share of members that are told at 5 % false alarms, and the mean nats a token of
    each. None where there are too few of either.
    """
    if min(len(members.sources), len(others.sources)) < FEWEST:
        return None
    seen, unseen = (np.array([np.mean(each) for each in tokens(*pairs)]) for pairs in (members, others))
    area = auroc(np.concatenate([seen, unseen]), [True] * len(seen) + [False] * len(unseen), confidence=scoring.confidence)
    bar = np.quantile(unseen, 1 - FALSE_ALARMS, method="higher")
    caught = int((seen > bar).sum())
    share = compare.share(caught, len(seen), confidence=scoring.confidence)
    return {
        "n": [len(seen), len(unseen)],
        "auc": {"value": area.value, "interval": [area.low, area.high]},
        "caught": {"count": caught, "value": share.value, "interval": [share.low, share.high], "false_alarms": FALSE_ALARMS},
        "nats_a_token": {"members": -float(seen.mean()), "others": -float(unseen.mean())},
    }
