"""A pipeline step as a Prefect task."""

import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from rich.console import Console

from flows import showing
from pipelines.errors import Transient

P = ParamSpec("P")
R = TypeVar("R")
console = Console(highlight=False)


def step(name: str, work: Callable[P, R]) -> Callable[P, R]:
    """`work` as a task. Steps are content-addressed themselves, so Prefect's own cache stays out of it."""

    def transient(_task: object, _run: object, state: Any) -> bool:
        return isinstance(state.result(raise_on_failure=False), Transient)

    as_task: Any = task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_condition_fn=transient,
    )
    run: Callable[P, R] = as_task(work)

    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        console.print(f"{time.strftime('%H:%M:%S')} {name}")
        with showing.step(name) as made:
            result = run(*args, **kwargs)
            made(result)
        return result

    return timed
