"""kill -9 of each process that the system consists of, while requests come."""

import time

import httpx
import psutil

from tests.gameday.facing import Facing
from tests.gameday.site import MLFLOW, PREFECT


def engine(facing: Facing) -> None:
    """The only engine of the version in production."""
    site = facing.site
    champion = site.champion
    pid = site.engine(champion)
    assert pid
    facing.strike()
    psutil.Process(pid).kill()
    facing.detect(lambda: facing.said(r"engine of version \S+ died"))
    facing.mend("a new engine answers", lambda: site.engine(champion) not in (None, pid))


def gateway(facing: Facing) -> None:
    """The process that every request goes through."""
    site = facing.site
    champion, killed = site.champion, site.member("flows.cli", "serve")
    facing.strike()
    killed.kill()
    facing.detect(lambda: facing.said("exited: gateway"))
    facing.mend("another gateway serves the same version", lambda: site.health().get("ok") and site.champion == champion)


def mlflow(facing: Facing) -> None:
    """The registry's server."""
    killed = facing.site.member("mlflow", "server")
    family = {killed.pid, *(each.pid for each in killed.children(recursive=True))}
    facing.strike()
    killed.kill()
    facing.detect(lambda: facing.said("exited: mlflow"))
    facing.mend("the new process has the port, and answers", lambda: held_by(5000) - family and answers(f"{MLFLOW}/health"), 60)
    if left := held_by(5000) & family:
        facing.seen.notes.append(f"the port is held by {len(left)} process of the dead one: the new one cannot listen there")


def prefect(facing: Facing) -> None:
    """The scheduler's server: it is back when a scheduled run has ended that began after the blow."""
    killed = facing.site.member("prefect", "server")
    facing.strike()
    killed.kill()
    facing.detect(lambda: facing.said("exited: prefect"))
    facing.mend("a run that was due after the blow went through", lambda: runs("rollout", "COMPLETED", facing.seen.struck), 420)


def held_by(port: int) -> set[int]:
    """The processes of this machine that listen on a port."""
    found = psutil.net_connections("tcp4")
    return {each.pid for each in found if each.status == psutil.CONN_LISTEN and each.laddr[1] == port and each.pid}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def runs(flow: str, state: str, since: float) -> list[str]:
    """Names of the runs of a flow in that state that were due after `since` (seconds since the epoch); none while no server
    answers."""
    after = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
    wanted = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": [state]}}, "expected_start_time": {"after_": after}},
    }
    try:
        found = httpx.post(f"{PREFECT}/api/flow_runs/filter", json=wanted, timeout=30, trust_env=False)
    except httpx.TransportError:
        return []
    return [run["name"] for run in found.json()] if found.status_code == 200 else []
