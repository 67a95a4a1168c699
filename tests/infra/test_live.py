"""A real gateway, scraped by a real Prometheus: every panel has data, and an alert arrives once at a webhook.

The traffic goes on while the test asks: rates need two scrapes, whatever the machine is doing.
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from flows.commands import cost as costs
from flows.overview import exported
from pipelines.alerting.dashboards import drawn
from pipelines.alerting.panels import queries
from pipelines.monitoring.cost import HOUR, engine_seconds, lines
from pipelines.overview.facts import Cost, Drift, Known, Memory, Model, Overview
from pipelines.spec import Spec
from tests.infra import written
from tests.infra.servers import INFRA, Hook, ask, client, metrics, needed, running
from tests.serving.site import Site, site, until

pytestmark = needed
PATIENCE = 120.0
BEATS = 8  # requests between two scrapes


GPU = b'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1",device="nvidia0"} 42\n'  # as NVIDIA's dcgm-exporter writes it


def known(spec: Spec) -> Overview:
    """What the status page may know of a model: it has drifted, is dear, and sixty answers wait for labels."""
    now = time.time()
    cost = Cost("EUR", (("1", "beam 2", 0.5),), 3.0, 4_000.0, 6_000.0, 5_000.0)
    memory = Memory("1", now - 3_600, "", "", 60, None)
    model = Model(
        spec.name,
        spec.task,
        1.0,
        "",
        drift=Known(Drift("drifted", "1", ()), now, stale_after=3_600),
        cost=Known(cost, now, stale_after=3_600),
        memory=Known(memory, now, stale_after=3_600),
    )
    return Overview(now, (model,), ())


@dataclass
class Watched:
    gateway: Site
    prometheus: httpx.Client
    alertmanager: httpx.Client
    hook: Hook
    numbers: Iterator[int]
    scraped: str = ""

    def traffic(self) -> None:
        """A few requests after the next scrape: new ones, some asked before, one that is refused, some that are rated."""
        until(lambda: (found := self._scraped()) and found != self.scraped, PATIENCE)
        self.scraped = self._scraped()
        for number in itertools.islice(self.numbers, BEATS):
            answer = self.gateway.ask(f"a small package {number // 2}", user=f"u{number}")
            if answer.status_code == 200:
                said = {"request_id": answer.json()["request_id"], "rating": ("up", "down")[number % 2]}
                self.gateway.http.post("/v1/feedback", json=said)
        self.gateway.http.post("/v1/generate", json={"inputs": 3})

    def _scraped(self) -> str:
        """When Prometheus asked the gateway last."""
        return "".join(sample["value"][1] for sample in ask(self.prometheus, "timestamp(up)"))


@pytest.fixture(scope="module")
def watched(promised: Spec, export: Path, folder: Path) -> Iterator[Watched]:
    hook = Hook()
    with ExitStack() as open_:
        open_.callback(hook.close)
        text = (INFRA / "alertmanager" / "alertmanager.yml").read_text()
        text = text.replace("127.0.0.1:9099", hook.address).replace("group_wait: 30s", "group_wait: 1s")
        text = text.replace("group_interval: 5m", "group_interval: 1h")
        (folder / "alertmanager.yml").write_text(text)
        gateway = open_.enter_context(site(promised, folder, export))
        manager = open_.enter_context(running("alertmanager", folder / "alertmanager.yml", folder / "manager"))
        address = manager.removeprefix("http://")
        facts, gpu = (open_.enter_context(metrics(text)) for text in (exported.text(known(promised)), GPU))
        config = written.config(promised, gateway.url.removeprefix("http://"), address, folder, facts, gpu)
        server = open_.enter_context(running("prometheus", config, folder / "prometheus", "--rules.alert.resend-delay=1s"))
        gateway.route()
        asked, told = (open_.enter_context(client(url)) for url in (server, manager))
        yield Watched(gateway, asked, told, hook, itertools.count())


def every_query() -> dict[str, str]:
    """All queries of all panels, with Grafana's variables filled in."""
    found = {}
    for name, text in drawn().items():
        for title, query in queries(text).items():
            found[f"{name}: {title}"] = query.replace("$model", "tiny").replace("$region", written.REGION)
    return found


def test_every_panel_has_data(watched: Watched) -> None:
    left, gateway = every_query(), watched.gateway
    assert not any("$" in query for query in left.values()), "a variable that no dashboard has"

    def all_there() -> bool:
        watched.traffic()
        for title in [title for title, query in left.items() if ask(watched.prometheus, query)]:
            del left[title]
        return not left

    def some_there(*titles: str) -> bool:
        all_there()
        return not any(title in each for each in left for title in titles)

    gateway.route("2", shadow=True)
    until(lambda: some_there("Mirrored"), PATIENCE)
    route = gateway.route("2", weight=50.0)
    gateway.faults["2"].fail, gateway.faults["1"].replace = 0.3, 0.5
    until(lambda: some_there("Errors by class", "Guard hits", "Ratings"), PATIENCE)
    assert route.canary == "2"
    os.kill(gateway.health()["engines"]["2"], signal.SIGKILL)
    try:
        until(all_there, PATIENCE)
    except AssertionError as late:
        raise AssertionError(f"no data: {left}") from late


def test_what_versions_cost_adds_up_to_what_the_gateway_charged(watched: Watched, promised: Spec) -> None:
    """By a real Prometheus that scraped two versions: the seconds of both are those of the spend."""
    prometheus, prices = str(watched.prometheus.base_url), costs.prices_of(promised)
    watched.gateway.route("2", weight=50.0)

    def settled() -> bool:
        watched.traffic()
        found = ask(watched.prometheus, 'sum by (version) (increase(seqline_decode_seconds_count{model="tiny"}[1h])) > 0')
        return {"1", "2"} <= {each["metric"]["version"] for each in found}

    until(settled, PATIENCE)
    spent = sum(float(each["value"][1]) for each in ask(watched.prometheus, 'seqline_spend{model="tiny"}'))
    hours, source = costs.counted(promised, prometheus, time.time())
    assert "Prometheus" in source
    (hour,) = hours
    assert hour.spend is not None
    assert hour.spend >= spent
    (seconds,) = engine_seconds(hours, prices)
    assert sum(seconds.values()) == pytest.approx(hour.spend * HOUR / prices.engine)
    assert seconds.keys() >= {"1", "2"}
    assert any(line.per_1000 for line in lines(hours, [], prices))


def test_a_gateway_alone_tells_it_too(watched: Watched, promised: Spec) -> None:
    watched.gateway.route()
    spend = 'seqline_spend{currency="EUR",model="tiny"}'
    until(lambda: watched.traffic() or watched.gateway.metric(spend) > 0, PATIENCE)
    host, _, port = watched.gateway.url.removeprefix("http://").partition(":")
    serving = promised.serving.model_copy(update={"host": host, "port": int(port)})
    alone, source = costs.counted(promised.model_copy(update={"serving": serving}), "http://127.0.0.1:9", time.time())
    assert "the gateway alone" in source
    (hour,) = alone
    assert hour.spend == pytest.approx(watched.gateway.metric(spend), rel=0.5)
    gone = serving.model_copy(update={"port": 9})
    assert costs.counted(promised.model_copy(update={"serving": gone}), "http://127.0.0.1:9", 0.0)[0] == []


def test_what_the_status_page_knows_fires(watched: Watched) -> None:
    def fires(name: str) -> bool:
        return bool(ask(watched.prometheus, f'ALERTS{{alertname="{name}", model="tiny"}}'))  # pending for five minutes

    until(lambda: fires("TrafficDrifted") and fires("MonthOverBudget"), PATIENCE)
    assert not fires("StaleIndex")
    assert not fires("LabelBacklog"), "nothing has waited for two days"


def test_an_outage_that_no_version_is_blamed_for_is_told(watched: Watched) -> None:
    """Nothing is in production: 503, and no event."""
    watched.gateway.route(champion=None)  # type: ignore[arg-type]  # as before the first version was let in

    def told() -> bool:
        watched.traffic()
        return bool(ask(watched.prometheus, 'ALERTS{alertname="ServerErrors", model="tiny"}'))

    try:
        until(told, PATIENCE)
    finally:
        watched.gateway.route()


def test_an_alert_arrives_once_with_a_link_that_opens(watched: Watched) -> None:
    name = "AvailabilityBelowObjective"
    watched.gateway.route()
    watched.gateway.faults["1"].fail = 1.0

    def told() -> bool:
        watched.traffic()
        return bool(watched.hook.alerts(name))

    until(told, PATIENCE)
    ((path, alert),) = watched.hook.alerts(name)
    assert path == "/ops/page"
    assert alert["labels"].items() >= {"model": "tiny", "region": written.REGION, "sli": "availability"}.items()
    page = watched.prometheus.get(alert["annotations"]["runbook_url"])
    assert page.status_code == 200
    assert page.text.startswith(f"# {name}")
    assert watched.prometheus.get(alert["generatorURL"]).status_code == 200

    def updates() -> set[str]:
        found = watched.alertmanager.get("/api/v2/alerts", params={"filter": f"alertname={name}"}).json()
        return {each["updatedAt"] for each in found}

    seen = updates()

    def again() -> bool:
        seen.update(updates())
        return len(seen) >= 3

    until(again, PATIENCE)  # Prometheus says it again and again
    assert len(watched.hook.alerts(name)) == 1
