"""Two Prometheus that watch the same gateways, one Alertmanager, a webhook: infra/'s own files, SCALE times quicker."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from flows.stack.infra import text_of
from pipelines.alerting import alerts, scraping, windows
from pipelines.spec import Spec
from tests.infra.scaled import hurried
from tests.infra.servers import INFRA, Hook, ask, client, running, told

SCALE = float(os.environ.get("SCALE", "60"))  # 5m are 5 s, 30m are 30 s, 3d are 72 minutes
INTERVAL = "60s"  # between two scrapes, and two evaluations, before they are divided
REPLICAS = ("a", "b")
RESENT = "--rules.alert.resend-delay=5s"  # a minute by default: Prometheus tells the same again and again
PATIENCE, LOOK = 240.0, 0.25  # seconds


@dataclass(frozen=True)
class Due:
    """An alert that must come: by which of Alertmanager's receivers, and some of its labels."""

    alert: str
    path: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.alert}{' of ' + self.labels['sli'] if 'sli' in self.labels else ''}"

    def is_(self, labels: Mapping[str, str], region: str) -> bool:
        return labels.items() >= {"alertname": self.alert, "region": region, **self.labels}.items()


@dataclass(frozen=True)
class News:
    """An alert that a message told as firing and the message before, of the same group, did not."""

    at: float
    path: str
    alert: Mapping[str, Any]


class Watching:
    """The observers; `watch` and `leave` change what they scrape, as a person would: the file, then a reload."""

    def __init__(self, spec: Spec, folder: Path, facts: str, manager: str, hook: Hook) -> None:
        self.spec, self.hook, self._folder, self._facts, self._manager = spec, hook, folder, facts, manager
        self._gateways: dict[str, str] = {}
        self.manager = client(manager)
        self.prometheus: list[httpx.Client] = []

    def write(self) -> None:
        """prometheus.yml and the rules of each replica."""
        address = self._manager.removeprefix("http://")
        for replica in REPLICAS:
            content = scraping.config([self.spec], region="facts", alertmanager=address, facts=self._facts, interval=INTERVAL)
            content["global"]["external_labels"] = {"replica": replica}
            content["scrape_configs"][0]["static_configs"] = [
                {"targets": [gateway], "labels": {"model": self.spec.name, "region": region}}
                for region, gateway in self._gateways.items()
            ]
            place = self._folder / replica
            (place / "rules").mkdir(parents=True, exist_ok=True)
            made = {"seqline": windows.rules(), self.spec.name: alerts.rules(self.spec)}
            for name, rules in made.items():
                (place / "rules" / f"{name}.yml").write_text(text_of(hurried(rules, SCALE)))
            (place / "prometheus.yml").write_text(text_of(hurried(content, SCALE)))

    def watch(self, region: str, gateway: str) -> None:
        self._gateways = {region: gateway.removeprefix("http://")}
        self._reload()

    def leave(self) -> None:
        self._gateways = {}
        self._reload()

    def _reload(self) -> None:
        self.write()
        for prometheus in self.prometheus:
            prometheus.post("/-/reload").raise_for_status()

    def asked(self, query: str) -> list[dict[str, Any]]:
        return ask(self.prometheus[0], query)

    def news(self, due: Due, region: str) -> list[News]:
        """Each time that the webhook was told anew that this fires."""
        return [each for each in self._told() if due.is_(each.alert["labels"], region)]

    def strangers(self, region: str, known: tuple[Due, ...]) -> set[str]:
        """Alerts of a region that came and that nobody was waiting for."""
        mine = [each.alert["labels"] for each in self._told() if each.alert["labels"]["region"] == region]
        return {labels["alertname"] for labels in mine if not any(due.is_(labels, region) for due in known)}

    def _told(self) -> Iterator[News]:
        before: dict[tuple[str, str], set[str]] = {}
        for at, (path, content) in zip(self.hook.came, list(self.hook.messages), strict=False):
            group = (path, content["groupKey"])
            firing = {each["fingerprint"]: each for each in content["alerts"] if each["status"] == "firing"}
            for fingerprint in firing.keys() - before.get(group, set()):
                yield News(at, path, firing[fingerprint])
            before[group] = set(firing)

    def repeats(self, region: str) -> int:
        """Messages about a region that say what the one before, of the same group, said."""
        count, before = 0, dict[tuple[str, str], set[tuple[str, str]]]()
        for path, content in list(self.hook.messages):
            group = (path, content["groupKey"])
            said = {(each["fingerprint"], each["status"]) for each in content["alerts"]}
            count += said == before.get(group) and content["groupLabels"].get("region") == region
            before[group] = said
        return count

    def resolved(self, due: Due, region: str) -> bool:
        return any(
            each["status"] == "resolved" and due.is_(each["labels"], region)
            for _, content in list(self.hook.messages)
            for each in content["alerts"]
        )

    def silenced(self, due: Due, region: str) -> bool:
        """Whether the alert is there, and another one silences it."""
        found = self.manager.get("/api/v2/alerts", params={"filter": f"region={region}"}).json()
        return any(due.is_(each["labels"], region) and each["status"]["inhibitedBy"] for each in found)

    def opens(self, news: News) -> bool:
        """Whether the runbook and the graph that the alert links are there."""
        name, notes = news.alert["labels"]["alertname"], news.alert["annotations"]
        page = self.prometheus[0].get(notes["runbook_url"])
        graph = self.prometheus[0].get(news.alert["generatorURL"])
        return page.status_code == graph.status_code == 200 and page.text.startswith(f"# {name}")


@contextmanager
def watching(spec: Spec, folder: Path, facts: str, history: str) -> Iterator[Watching]:
    """The observers, started; `facts` is the status page's address. Prometheus remembers `history` (OpenMetrics)."""
    with ExitStack() as open_:
        hook = Hook()
        open_.callback(hook.close)
        manager = YAML(typ="safe", pure=True).load((INFRA / "alertmanager" / "alertmanager.yml").read_text())
        text = text_of(hurried(manager, SCALE)).replace("127.0.0.1:9099", hook.address)
        (folder / "alertmanager.yml").write_text(text)
        (folder / "history").write_text(history)
        url = open_.enter_context(running("alertmanager", folder / "alertmanager.yml", folder / "manager"))
        made = Watching(spec, folder, facts, url, hook)
        open_.enter_context(made.manager)
        made.write()
        for replica in REPLICAS:
            place = folder / replica
            told("promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history", place / "data")
            more = ("--web.enable-lifecycle", RESENT)
            server = open_.enter_context(running("prometheus", place / "prometheus.yml", place, *more))
            made.prometheus.append(open_.enter_context(client(server)))
        yield made


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll `true` until it holds, and return what it gave: a few times a second, for each look asks servers that are busy.

    Raises:
        AssertionError: it does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(LOOK)
    return found
