"""Bets that unchanged traffic cannot win, however often one looks: what 50 new texts tell of all that came before them.

If traffic is drawn as the training texts were, then of the bag of both, with n texts and k yeses, any BLOCK texts are as good
as any other: the yeses among them follow the hypergeometric law exactly, and independently of every earlier block (as conformal
p-values are independent: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, theorem 8.1). A bet on
odds exp(theta) times as high pays exp(theta x) / E exp(theta X), which is 1 on average; the product over blocks is a test
martingale, and passes 1/alpha with probability alpha at most, ever (Ville). No reference text is used up.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

BLOCK = 50
THETAS = np.array([-4.0, -2.0, -1.0, -0.4, 0.4, 1.0, 2.0, 4.0])
TILTS = np.array([0.5, 1.0, 2.0])
FIRST = 0.5  # share of the capital on a change from the first block on; the rest waits for a later one

Array = NDArray[np.float64]


def paid(n: int, k: NDArray[np.int64], x: NDArray[np.int64]) -> Array:
    """Log of what each bet (a row a question, a column each of THETAS) wins.

    `n` texts in the bag, this block included, with `k` yeses, `x` of them in the block.
    """
    j, logs = np.arange(BLOCK + 1), _logs(n + 1)
    probable = _choose(logs, k[:, None], j) + _choose(logs, (n - k)[:, None], BLOCK - j) - _choose(logs, n, BLOCK)
    # Neither side can overflow (exp(4 * 50)) nor, with fewer than a million texts, lose what counts (1 / (n over 50)).
    expected = np.exp(probable) @ np.exp(j[:, None] * THETAS)
    return np.asarray(x[:, None] * THETAS - np.log(expected), dtype=np.float64)


def _choose(logs: Array, n: NDArray[np.int64] | int, k: NDArray[np.int64] | int) -> Array:
    """Log of n over k, -inf where there is no such choice."""
    n, k = np.broadcast_arrays(n, k)
    within = (k >= 0) & (k <= n)
    kept = np.where(within, k, 0)
    return np.where(within, logs[n] - logs[kept] - logs[n - kept], -np.inf)


@lru_cache(maxsize=4)
def _table(size: int) -> Array:
    return np.asarray(gammaln(np.arange(size) + 1.0), dtype=np.float64)


def _logs(size: int) -> Array:
    """Log factorials of 0 to size - 1 at least; tables grow by doubling, so that few are made."""
    return _table(1 << (size - 1).bit_length())


def paid_whole(vectors: NDArray[np.float32], rng: np.random.Generator) -> Array:
    """The same for the texts as wholes: log of what each of TILTS wins; the block's are the last BLOCK of the bag's `vectors`.

    The distance of the block's mean from the bag's is an MMD; it is compared with that of disjoint blocks of the others, in a
    random order: exchangeable with it, so that the ratio to their mean is 1 on average (soft ranks: Ren and Barber 2024).
    """
    rest = len(vectors) - BLOCK
    order = rng.permutation(rest)[: rest // BLOCK * BLOCK]
    others = vectors[order].reshape(-1, BLOCK, vectors.shape[1]).mean(axis=1)
    means = np.vstack([vectors[rest:].mean(axis=0), others]).astype(np.float64)
    far = np.square(means - means.mean(axis=0)).sum(axis=1)
    standard = (far - far.mean()) / max(float(far.std()), 1e-12)
    tilted = standard[:, None] * TILTS
    return np.asarray(tilted[0] - logsumexp(tilted, axis=0) + np.log(len(far)), dtype=np.float64)


@dataclass(frozen=True)
class Wealth:
    """Log-wealth of each bet on each question (rows), over all blocks at which the change may have begun.

    The bet that starts with the b-th block gets the share R(b-1) - R(b) of the capital, R(0) = 1 and R(b) = (1 - FIRST) /
    (1 + ln b): a change at block b costs some ln b nats more than one at the first.
    """

    blocks: int
    logs: Array

    @classmethod
    def start(cls, questions: int, bets: int) -> "Wealth":
        return cls(0, np.full((questions, bets), -np.inf))

    def after(self, won: Array) -> "Wealth":
        """After one more block that paid `won` (logs)."""
        fresh = np.log(_cash(self.blocks) - _cash(self.blocks + 1))
        return Wealth(self.blocks + 1, np.logaddexp(self.logs, fresh) + won)

    @property
    def log(self) -> Array:
        """Natural log of each question's e-value now."""
        mixed = logsumexp(self.logs, axis=1) - np.log(self.logs.shape[1])
        return np.asarray(np.logaddexp(np.log(_cash(self.blocks)), mixed), dtype=np.float64)


def _cash(blocks: int) -> float:
    return 1.0 if not blocks else (1 - FIRST) / (1 + float(np.log(blocks)))
