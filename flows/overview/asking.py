"""What the status page asks of servers, over HTTP alone: MLflow's and Prefect's own clients would cost 400 MB and seconds.

Each request ends within PATIENT seconds or raises httpx.HTTPError; what comes in another shape raises KeyError, TypeError or
ValueError.
"""

import os
from collections import deque
from collections.abc import Mapping
from typing import Any

import httpx

from pipelines.overview import answers
from pipelines.overview.facts import Alert, Doubts, Gateway, Memory, Scheduled

SOON = 2.0  # seconds: a gateway that needs longer does not answer
PATIENT = 10.0  # seconds for the others, which a busy machine may keep waiting
WINDOW = 300.0  # seconds that a p95 looks back
PAGE = 500  # items that MLflow gives at once
MOST_PAGES = 20
DOUBT_DAYS, DOUBT_STEP = 14, 21_600  # of the trend of doubted answers: days back, seconds between two points
DOUBTED = "max by (model) (seqline:doubted:ratio_rate6h)"  # the worst version's
BEGUN = ("RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLING")
"""Not CANCELLED: so end the runs that were due while the one before was at work."""
LAST_RUNS = 3
EACH = 10  # runs asked for, for each deployment of a kind
KINDS = ("retrain", "rollout", "watch")


def client(**options: Any) -> httpx.Client:
    """To ask servers of this machine with: no proxy of the environment stands between."""
    return httpx.Client(**{"timeout": PATIENT, "trust_env": False, **options})


def mlflow_client() -> httpx.Client:
    """With the name and password that MLflow's own client would take from the environment."""
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{what}") for what in ("USERNAME", "PASSWORD"))
    return client(auth=(user, password or "") if user else None)


class Asked:
    """A gateway, whose latencies over the last WINDOW seconds need what it counted before."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http, self._url = http, url
        self._earlier: deque[tuple[float, answers.Buckets]] = deque()

    def __call__(self, now: float) -> Gateway:
        health = self._http.get(f"{self._url}/healthz", timeout=SOON).json()
        metrics = self._http.get(f"{self._url}/metrics", timeout=SOON).raise_for_status().text
        while len(self._earlier) > 1 and now - self._earlier[1][0] >= WINDOW:
            self._earlier.popleft()
        found, buckets = answers.gateway(health, metrics, self._earlier, now)
        self._earlier.append((now, buckets))
        return found


def alerts(http: httpx.Client, prometheus: str) -> dict[str, tuple[Alert, ...]]:
    """Model -> what fires."""
    return answers.alerts(http.get(f"{prometheus}/api/v1/alerts").raise_for_status().json())


def doubts(http: httpx.Client, prometheus: str, now: float) -> dict[str, Doubts]:
    """Model -> the share of its answers that filters doubt, over DOUBT_DAYS."""
    asked: dict[str, str | float] = {"query": DOUBTED, "start": now - DOUBT_DAYS * 86_400, "end": now, "step": DOUBT_STEP}
    return answers.doubts(http.get(f"{prometheus}/api/v1/query_range", params=asked).raise_for_status().json())


def memory(http: httpx.Client, mlflow: str, name: str) -> Memory:
    """What MLflow knows of a model."""
    asked = {"filter": f"name = '{name}'", "max_results": 1, "order_by": "creation_timestamp DESC"}
    versions = _get(http, f"{mlflow}/api/2.0/mlflow/model-versions/search", asked)
    experiment = _get(http, f"{mlflow}/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": name})
    number = str(experiment["experiment"]["experiment_id"]) if experiment else None
    return answers.memory(versions, _waiting(http, mlflow, name, number) if number else None, number)


def _waiting(http: httpx.Client, mlflow: str, name: str, experiment: str) -> int | None:
    """How many answers wait in the model's review queue; None where there is none."""
    queues = f"{mlflow}/api/3.0/mlflow/review-queues"
    found = _get(http, f"{queues}/get-by-name", {"experiment_id": experiment, "name": name})
    if not found:
        return None
    asked = {"queue_id": found["review_queue"]["queue_id"], "status": "PENDING", "max_results": PAGE}
    count = 0
    for _ in range(MOST_PAGES):
        page = _get(http, f"{queues}/items/list", asked)
        count += len(page.get("items") or [])
        if not page.get("next_page_token"):
            break
        asked["page_token"] = page["next_page_token"]
    return count


def _get(http: httpx.Client, url: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """MLflow's answer; empty where what was asked for is not there."""
    answer = http.get(url, params=dict(asked))
    if answer.status_code == 404 and "RESOURCE_DOES_NOT_EXIST" in answer.text:
        return {}
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def scheduled(http: httpx.Client, api: str) -> tuple[Scheduled, ...]:
    """Every deployment of the Prefect server at `api`, with its next run and its last ones."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for each in _post(http, f"{api}/deployments/filter", {"limit": 200}):
        kinds.setdefault(str(each["entrypoint"]), []).append(each)
    found = []
    for some in kinds.values():
        due = _runs(http, api, some, ("SCHEDULED",), "EXPECTED_START_TIME_ASC")
        last = _runs(http, api, some, BEGUN, "START_TIME_DESC")
        found += [answers.scheduled(each, due[each["id"]][:1], last[each["id"]][:LAST_RUNS]) for each in some]
    return tuple(sorted(found, key=_place))


def _place(each: Scheduled) -> tuple[str, int, str]:
    """By model, what matters most first."""
    return each.model, KINDS.index(each.kind) if each.kind in KINDS else len(KINDS), each.kind


def _runs(
    http: httpx.Client, api: str, deployments: list[dict[str, Any]], states: tuple[str, ...], sort: str
) -> dict[str, list[dict[str, Any]]]:
    """The first runs of each of `deployments`, asked for together; those that others left no room for, alone."""
    most = min(200, EACH * len(deployments))
    which = {"state": {"type": {"any_": list(states)}}, "deployment_id": {"any_": [each["id"] for each in deployments]}}
    came = _post(http, f"{api}/flow_runs/filter", {"flow_runs": which, "sort": sort, "limit": most})
    found: dict[str, list[dict[str, Any]]] = {each["id"]: [] for each in deployments}
    for run in came:
        found[run["deployment_id"]].append(run)
    if len(came) == most and len(deployments) > 1:
        for each in deployments:
            found[each["id"]] = found[each["id"]] or _runs(http, api, [each], states, sort)[each["id"]]
    return found


def _post(http: httpx.Client, url: str, asked: Mapping[str, Any]) -> Any:
    return http.post(url, json=dict(asked)).raise_for_status().json()
