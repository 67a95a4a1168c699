"""`schedule:` of a spec: when Prefect runs what nobody starts by hand (flows/stack/deployments.py writes it out)."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

from pipelines.spec.section import Section

FIELDS = 5


def _cron(line: str) -> str:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(line, datetime.min)
        if len(line.split()) == FIELDS:
            return line
    except CronSimError:
        pass
    raise ValueError(f'must be a cron line of {FIELDS} fields (minute hour day month weekday, UTC), such as "0 3 * * 1"')


Cron = Annotated[str, AfterValidator(_cron)]


class Schedule(Section):
    """Cron lines, all in UTC. A run that is still at work is never joined by a second one of the same deployment."""

    retrain: Cron = "0 3 * * 1"
    """Raw data to a version in production; ends in a second when nothing changed."""
    rollout: Cron = "* * * * *"
    """While a rollout is open: starts its controller again if that died (it ticks every 2 s by itself)."""
    idle: Cron = "*/5 * * * *"
    """While none is open: pages a person who is needed, tells the registry what was undone by hand."""
    watch: Cron = "17 * * * *"
    """Drift, quality, labels and sources looked at; starts a retrain when there is a reason."""
    retention: Cron = "30 2 * * *"
    """Samples that are older than `serving.review.keep_days` deleted from every store."""
    audit: Cron = "0 4 1 * *"
    """What was scrubbed looked for wherever it may not stand."""
