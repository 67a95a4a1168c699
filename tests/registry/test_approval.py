"""Who may let a version into production: by the pure rule, and on a real MLflow server with the UI's own request."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry import Approval, Registry, Version
from pipelines.registry.approval import refusal
from tests.registry.conftest import KEY, Make

EVIDENCE = "| stage | requests |\n|---|---|\n| 50 % | 3,000 |"
DIGEST = "e" * 64
WAITING = Version("tiny", "2", "r2", "m2")


@given(
    source=st.sampled_from(
        ["models:/tiny/2", "models:/tiny/1", "models:/tiny/22", "models:/tiny@canary", "runs:/r2/model", "", None]
    ),
    digest=st.sampled_from([DIGEST, "f" * 64, "", None]),
    age=st.floats(-1e6, 1e6),
)
def test_accepts_exactly_the_waiting_version_with_its_evidence_made_since(source: str, digest: str, age: float) -> None:
    opened = 1.8e9
    reason = refusal(source, digest, opened + age, WAITING, DIGEST, opened)
    assert (reason is None) == (source == "models:/tiny/2" and digest == DIGEST and opened + age >= opened)


def press_promote(server: str, version: str, *, name: str = "tiny", to: str = "tiny-prod", **other: str) -> str:
    """What the page of `version` posts when a person presses Promote model; returns the number of the new version."""
    page = requests.get(f"{server}/api/2.0/mlflow/model-versions/get", {"name": name, "version": version}, timeout=20).json()
    shown: Mapping[str, Any] = page["model_version"]
    asked = {
        "name": to,
        "source": f"models:/{name}/{version}",
        "run_id": shown["run_id"],
        "tags": shown.get("tags", []),
    } | other
    answer = requests.post(f"{server}/api/2.0/mlflow/model-versions/create", json=asked, timeout=20)
    answer.raise_for_status()
    return str(answer.json()["model_version"]["version"])


def reasons(judged: Iterable[Approval]) -> dict[str, str]:
    return {approval.prod_version: approval.reason for approval in judged}


def test_only_the_right_press_of_promote_model_is_an_approval(server: str, candidate: Make) -> None:
    registry = Registry(server)
    first, second = registry.register("tiny", candidate("k1"), KEY), registry.register("tiny", candidate("k2"), KEY)
    why = "no champion: let in by the gates alone"
    assert registry.let_in(first, EVIDENCE, "1" * 64, why) == "1" == registry.let_in(first, EVIDENCE, "1" * 64, why)
    early = press_promote(server, "2")

    opened = time.time()
    registry.open_gate(second, EVIDENCE, DIGEST, opened)
    registry.open_gate(second, EVIDENCE, DIGEST, opened)
    page = registry.client.get_model_version("tiny", "2")
    assert "press **Promote model**" in page.description
    assert EVIDENCE in page.description

    wrong = press_promote(server, "1")
    run_artifact = press_promote(server, "2", source=registry.client.get_model_version("tiny", "2").source)
    again = press_promote(server, "1", name="tiny-prod")
    bare = press_promote(server, "2", tags=[])
    told = reasons(registry.approvals(second, DIGEST, opened))
    assert list(told) == [early, wrong, run_artifact, again, bare]
    assert "before the gate opened" in told[early]
    assert told[wrong] == "its source is models:/tiny/1, while models:/tiny/2 waits for approval"
    assert "its source is mlflow-artifacts:/" in told[run_artifact]
    assert told[again].startswith("its source is models:/tiny-prod/1")
    assert "carries no seqline.evidence tag" in told[bare]
    for number, reason in told.items():
        registry.refuse("tiny-prod", number, reason)
    assert registry.approvals(second, DIGEST, opened) == []
    assert "Not accepted" in registry.client.get_model_version("tiny-prod", wrong).description

    right = press_promote(server, "2")
    [approval] = registry.approvals(second, DIGEST, opened)
    assert (approval.prod_version, approval.accepted, approval.user) == (right, True, None)
    assert approval.at >= int(opened)
    registry.confirm(second, approval, EVIDENCE, DIGEST)
    registry.close_gate(second, "promoted")
    assert registry.approvals(second, DIGEST, opened) == [approval]
    approved = registry.client.get_model_version("tiny-prod", right)
    assert EVIDENCE in approved.description
    assert approved.tags["seqline.state"] == "approved"
    assert registry.client.get_model_version("tiny", "2").description.startswith("## Promoted\n\n| stage")
    registry.usable("tiny-prod", right)

    let_in = [entry for entry in registry.history("tiny") if entry.event == "let in"]
    assert [(entry.version, entry.detail["evidence"]) for entry in let_in] == [("1", "1" * 64), ("2", DIGEST)]
    registry.set_alias("tiny", "champion", "2")
    production = registry.lineage("tiny")["production"]
    assert (production["version"], production["evidence"]) == (right, DIGEST)
    assert production["approver"].startswith("unknown")


def test_the_servers_page_shows_the_signature(server: str, candidate: Make) -> None:
    made = Registry(server).register("shown", candidate(), KEY)
    query = {"path": "MLmodel", "name": "shown", "version": made.version}
    answer = requests.get(f"{server}/model-versions/get-artifact", query, timeout=20)
    assert answer.status_code == 200
    assert 'inputs: \'[{"type": "string"' in answer.text


@pytest.mark.parametrize("outcome", ["rolled back: errors"])
def test_a_version_that_never_reached_the_gate_is_closed_too(registry: Registry, candidate: Make, outcome: str) -> None:
    made = registry.register("tiny", candidate(), KEY)
    registry.close_gate(made, outcome)
    assert registry.client.get_model_version("tiny", "1").tags["seqline.state"] == outcome
