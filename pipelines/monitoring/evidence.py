"""What the traffic so far says against "as in training", block by block. Pure: the same texts in the same order, the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.monitoring.profile import Profile
from pipelines.monitoring.wagers import BLOCK, THETAS, TILTS, Array, Wealth, paid, paid_whole

WHOLE = 1 / 4
"""Share of the evidence for the texts as wholes; the rest is the questions'."""
SEED = 20_261_122


@dataclass(frozen=True)
class Evidence:
    """`logs`: a row a block, a column a question and at last the whole: log e-value, weighed so that 1/alpha is each one's bar.

    `yeses`: how many of each block's BLOCK texts answer each question with yes.
    """

    logs: Array
    yeses: NDArray[np.int64]

    def crossed(self, alpha: float) -> int | None:
        """The first block (0 is the first) at whose end any of them has passed 1/alpha; None so far."""
        over = np.flatnonzero((self.logs >= -np.log(alpha)).any(axis=1))
        return int(over[0]) if over.size else None

    def moved(self, alpha: float) -> NDArray[np.int64]:
        """The columns that ever passed 1/alpha, the one with most evidence first."""
        most = self.logs.max(axis=0, initial=-np.inf)
        columns = np.flatnonzero(most >= -np.log(alpha))
        return columns[np.argsort(-most[columns], kind="stable")]


def weighed(profile: Profile, answers: NDArray[np.bool_], vectors: NDArray[np.float32]) -> Evidence:
    """The evidence after each whole block of texts, in the order in which they came; what is left over waits."""
    blocks = len(answers) // BLOCK
    yeses = answers[: blocks * BLOCK].reshape(blocks, BLOCK, answers.shape[1]).sum(axis=1, dtype=np.int64)
    shares = np.append((1 - WHOLE) * profile.questions.shares, WHOLE)
    asked, whole = Wealth.start(len(profile.yeses), len(THETAS)), Wealth.start(1, len(TILTS))
    logs = np.empty((blocks, len(shares)))
    bag = np.vstack([profile.vectors, vectors[: blocks * BLOCK]]) if blocks else profile.vectors
    rng = np.random.default_rng(SEED)
    before = profile.yeses.copy()
    for block, x in enumerate(yeses):
        before += x
        n = profile.texts + (block + 1) * BLOCK
        asked = asked.after(paid(n, before, x))
        whole = whole.after(paid_whole(bag[:n], rng)[None, :])
        logs[block] = np.append(asked.log, whole.log) + np.log(shares)
    return Evidence(logs, yeses)


def onset(profile: Profile, evidence: Evidence, column: int) -> int:
    """The block with which the change that `column` shows most likely began: from there on the bets on it won most.

    For the whole, of which only the evidence is kept: the block before it began to rise for good.
    """
    if column == evidence.yeses.shape[1]:
        curve = evidence.logs[: int(evidence.logs[:, column].argmax()) + 1, column]
        return int(np.flatnonzero(curve == curve.min())[-1]) if len(curve) > 1 else 0
    x = evidence.yeses[:, column]
    k = profile.yeses[column] + np.cumsum(x)
    won = np.vstack([paid(profile.texts + (at + 1) * BLOCK, k[at : at + 1], x[at : at + 1]) for at in range(len(x))])
    left = np.cumsum(won[::-1], axis=0)[::-1]  # won from this block to the last
    return int(np.unravel_index(int(left.argmax()), left.shape)[0])


def shares_by_block(profile: Profile, evidence: Evidence, columns: Sequence[int]) -> dict[str, list[float]]:
    """For a picture: the share of yeses in each block, by question."""
    names = profile.questions.names
    return {names[column]: (evidence.yeses[:, column] / BLOCK).tolist() for column in columns if column < len(names)}
