"""Every fault of the game day by its name, in the order in which they are faced."""

from collections.abc import Callable, Mapping

from tests.gameday.facing import Facing
from tests.gameday.faults import clock, corruption, disk, meaning, processes, rollouts

Fault = Callable[[Facing], None]
ALL: Mapping[str, Fault] = {
    "engine": processes.engine,
    "gateway": processes.gateway,
    "mlflow": processes.mlflow,
    "prefect": processes.prefect,
    "model": corruption.model,
    "cache": corruption.cached,
    "checkpoint": corruption.checkpoint,
    "canary": rollouts.canary,
    "controller": rollouts.controller,
    "full-disk": disk.full,
    "slow-disk": disk.slow,
    "labels": meaning.labels,
    "drift": meaning.drift,
    "clock": clock.jump,
}
