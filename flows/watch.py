"""The hourly watch: is there a reason to train again? If so, train again (flows/watching/look.py)."""

import time

from prefect import flow

from flows import showing
from flows.settings import Settings, find_spec
from flows.sole import Busy
from flows.watching import look as watching


@flow(name="watch", flow_run_name=showing.named)
def watch(name: str) -> str:
    """One look at model `name`: what was decided, and what was started."""
    settings = Settings().apply()
    with showing.shown(name):
        try:
            found = watching.look(find_spec(name, settings), settings, time.time())
        except Busy as busy:
            return str(busy)
        showing.tabled(
            name,
            "watch",
            [{"reason": each.kind, "fired": each.fired, "seen": each.said} for each in found.decision.triggers],
            f"Why {name} is trained again, or not: {found.decision.why}",
        )
    return f"{found.decision.why}. {found.started}".strip()
