"""Alertmanager itself, told of alerts as Prometheus tells of them: what is grouped, what is silenced, who hears of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.infra.servers import INFRA, Hook, client, needed, running
from tests.serving.site import until

pytestmark = needed
PATIENCE = 120.0
HERE = {"model": "tiny", "region": "eu"}
PAGE = {"alertname": "AvailabilityBelowObjective", "severity": "page", "team": "ops", "sli": "availability", **HERE}
SLOW = {"alertname": "BudgetBurnsSlowly", "severity": "ticket", "team": "ops", "sli": "availability", **HERE}
VERSION = {"alertname": "VersionErrorRegression", "severity": "page", "team": "ml", "version": "2", **HERE}
DIP = {"alertname": "FeedbackDip", "severity": "ticket", "team": "ml", "version": "2", **HERE}
LEAK = {"alertname": "PiiBelowObjective", "severity": "page", "team": "ml", "sli": "pii", **HERE}
QUALITY = {"alertname": "QualityDip", "severity": "ticket", "team": "ml", "version": "2", **HERE}
DOWN = {"alertname": "GatewayDown", "severity": "page", "team": "ops", "instance": "a:80", **HERE}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Hook]]:
    folder, hook = tmp_path_factory.mktemp("manager"), Hook()
    text = (INFRA / "alertmanager" / "alertmanager.yml").read_text().replace("127.0.0.1:9099", hook.address)
    config: Path = folder / "alertmanager.yml"
    config.write_text(text.replace("group_wait: 30s", "group_wait: 2s"))
    try:
        with running("alertmanager", config, folder / "data") as url, client(url) as http:
            yield http, hook
    finally:
        hook.close()


def tell(http: httpx.Client, *alerts: Mapping[str, str]) -> None:
    http.post("/api/v2/alerts", json=[{"labels": labels} for labels in alerts]).raise_for_status()


def silenced(http: httpx.Client, region: str) -> set[tuple[str, str]]:
    """(name, version) of the alerts of a region that others silence."""
    found: list[dict[str, Any]] = http.get("/api/v2/alerts", params={"filter": f"region={region}"}).json()
    kept = [(each["labels"]["alertname"], each["labels"].get("version", "")) for each in found if each["status"]["inhibitedBy"]]
    return set(kept)


@pytest.mark.parametrize(
    ("region", "pages", "tickets", "quiet"),
    [
        ("a", [PAGE], [SLOW, DIP], {("BudgetBurnsSlowly", "")}),
        ("b", [PAGE], [{**SLOW, "sli": "latency"}], set()),
        ("c", [VERSION], [DIP, {**DIP, "version": "1"}], {("FeedbackDip", "2")}),
        ("e", [LEAK], [QUALITY, DIP], {("QualityDip", "2")}),
        ("d", [DOWN], [SLOW, DIP, PAGE], {("BudgetBurnsSlowly", ""), ("FeedbackDip", "2"), ("AvailabilityBelowObjective", "")}),
    ],
    ids=["its own ticket", "another SLI's", "a version's", "a filter's", "all of a gateway that is away"],
)
def test_a_page_silences_its_tickets_and_no_others(
    manager: tuple[httpx.Client, Hook], region: str, pages: list[dict[str, str]], tickets: list[dict[str, str]], quiet: set[Any]
) -> None:
    http, _ = manager
    tell(http, *({**labels, "region": region} for labels in pages))
    elsewhere = [{**labels, "region": f"not {region}"} for labels in tickets if labels["severity"] == "ticket"]
    tell(http, *({**labels, "region": region} for labels in tickets), *elsewhere)
    until(lambda: silenced(http, region) == quiet, PATIENCE)
    assert silenced(http, f"not {region}") == set()


def test_one_message_for_what_two_prometheus_say_of_one_version(manager: tuple[httpx.Client, Hook]) -> None:
    http, hook = manager
    other = {**VERSION, "alertname": "LatencyP99Breach"}
    for _ in range(2):
        tell(
            http, {**VERSION, "region": "z"}, {**other, "team": "ml", "region": "z"}, {**VERSION, "version": "3", "region": "z"}
        )

    def messages() -> list[dict[str, Any]]:
        return [
            content for path, content in list(hook.messages) if content["commonLabels"]["region"] == "z" and path == "/ml/page"
        ]

    until(lambda: len(messages()) >= 2, PATIENCE)
    found = {each["groupLabels"]["version"]: sorted(a["labels"]["alertname"] for a in each["alerts"]) for each in messages()}
    assert found == {"2": ["LatencyP99Breach", "VersionErrorRegression"], "3": ["VersionErrorRegression"]}
    assert len(messages()) == 2
