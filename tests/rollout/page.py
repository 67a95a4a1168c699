"""What a person and a training run do in MLflow: register versions, press Promote model."""

import re

from pipelines.registry import Registry
from pipelines.rollout.store import Event, Store
from pipelines.spec import Spec
from tests.rollout.traffic import TICK, World


def name_of(test: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower())[:60].strip("-")


def spec_of(name: str) -> Spec:
    return Spec.model_validate(
        {
            "name": name,
            "data": {"source": {"kind": "files", "paths": ["pairs.csv"]}},
            "slo": {"judged": 0},
            "rollout": {
                "stage_seconds": 15,
                "probation": {"hours": 0},
                "shadow_requests": 40,
                "stages": [{"weight": 20, "burn": 20}, {"weight": 50, "burn": 5}],
            },
        }
    )


def register(registry: Registry, name: str, versions: int) -> None:
    client = registry.client
    client.create_registered_model(name)
    experiment = client.create_experiment(name, artifact_location=registry.artifacts and (registry.artifacts / name).as_uri())
    for _ in range(versions):
        run = client.create_run(experiment)
        tags = {"seqline.data_md5": f"{int(run.info.run_id, 16):032x}"}
        client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id, tags=tags)


def press_promote(registry: Registry, name: str, version: str) -> str:
    """Do what the page's Promote model does: a version of NAME-prod with this one as source, carrying the page's tags."""
    shown = registry.client.get_model_version(name, version)
    made = registry.client.create_model_version(f"{name}-prod", f"models:/{name}/{version}", shown.run_id, tags=shown.tags)
    return str(made.version)


def better(arm: str, _sli: str, _at: float, _user: int) -> float:
    """The champion fails one answer in a hundred, the canary none: the evidence moves, and never against the canary."""
    return 0.0 if arm == "canary" else 0.01


def journal(store: Store, name: str, world: World, now: float) -> None:
    """Write what gateways would have seen in the TICK seconds before `now`, under the route as it is."""
    route = store.route(name)
    if route is None or route.canary is None or route.champion is None:
        return
    first, gateway = int(now) * 10_000, f"gateway of {name}"
    batch = [
        Event(e.request, e.user_hmac, e.arm, route.canary if e.arm == "canary" else route.champion, e.at, e.slis, e.kind,
              e.shadow, gateway, first + i)
        for i, e in enumerate(world.answers(now - TICK, now, route.weight, route.shadow, ("availability", "latency")))
    ]  # fmt: skip
    store.append(name, gateway, batch)
