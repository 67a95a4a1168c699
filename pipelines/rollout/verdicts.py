"""How many answers of each version the judge read, and how many of these it flagged: the strata that labels are drawn from."""

import json
from typing import NamedTuple

import sqlalchemy as sa

from pipelines.rollout.store import Store
from pipelines.rollout.tables import events


class Verdicts(NamedTuple):
    """Answers that the judge flagged, and those it passed."""

    flagged: int = 0
    passed: int = 0


def verdicts(store: Store, name: str) -> dict[str, Verdicts]:
    """By version of model `name`, shadow answers too: they answer the same requests. Raises Transient."""
    text = sa.cast(events.c.slis, sa.Text)  # JSON cannot be grouped by; of a kind of event there are few texts
    query = (
        sa.select(events.c.version, text, sa.func.count())
        .where(events.c.name == name, events.c.kind == "verdict")
        .group_by(events.c.version, text)
    )
    found: dict[str, Verdicts] = {}
    with store.transaction() as connection:
        for version, slis, count in connection.execute(query):
            good = json.loads(slis).get("judge")
            if good is not None:  # else a sender's feedback
                flagged, passed = found.get(version, Verdicts())
                found[version] = Verdicts(flagged + count * (not good), passed + count * good)
    return found
