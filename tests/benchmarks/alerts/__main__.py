"""`make bench-alerts`: every alert fires in a real Prometheus fed by a real gateway, and reaches a webhook once.

Ten scenes: a fault from outside (a proxy, a signal, a bad canary, spent money, an old source, drifted traffic), the alerts that
must come of it, by the right receiver, with links that open; what a page silences; what comes once the fault is over. Two
Prometheus watch, so that each alert is told twice over and must arrive once. All windows are divided by SCALE (60), outside the
product: tests/infra/scaled.py says what that changes. SCENES="engine network" runs some; FOLDER keeps the logs.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.alerting import alerts
from pipelines.alerting.alerts import page_of
from pipelines.spec import Spec
from tests.benchmarks import results, served, started
from tests.benchmarks.alerts import knowing
from tests.benchmarks.alerts.scenes import ALL, DOWN, KNOWN, Scene
from tests.gameday import senders
from tests.infra.watching import PATIENCE, SCALE, Due, Watching, until, watching
from tests.monitoring.made_up import stanzas
from tests.serving.judge import Judge
from tests.serving.site import Site, site

RATE = float(os.environ.get("RATE", "12"))  # requests a second: LatencyP99Breach wants 50 answers in five minutes / SCALE
GATEWAY, FACTS = "gateway", "facts"  # the scenes beside those of scenes.ALL, and their regions
NOWHERE = "127.0.0.1:9"
QUIET = 8.0  # seconds of healthy traffic before a fault
PROMISES: dict[str, Any] = {
    "slo": {"latency": {"objective": 0.99, "target_ms": 3_000}, "pii": {"objective": 0.99}, "policy": {"objective": 0.99}},
    "serving": {
        "filters": {
            "patterns": ["forbidden"],
            "length": "off",
        },  # the tiny model ends no answer: each would be doubted for its length
        "cost": {"per_engine_hour": 1.0, "cap_per_hour": 1e6, "budget_per_month": 5_000.0},
        "timeout_ms": 12_000,
    },
}


@dataclass(frozen=True)
class Line:
    """What became of an alert: fired so many seconds after the fault, by how many messages, with links that open."""

    due: Due
    region: str
    after: float
    told: int
    path: str
    labels: dict[str, str]
    said: str
    opens: bool

    @property
    def right(self) -> bool:
        severity = self.due.path.rpartition("/")[2]
        return self.told == 1 and self.path == self.due.path and self.opens and self.labels.get("severity") == severity


def main() -> None:
    wanted = os.environ.get("SCENES", "").split() or [*(scene.region for scene in ALL), GATEWAY, FACTS]
    lines: list[Line] = []
    notes = [f"windows divided by {SCALE:g}; {RATE:g} requests a second"]
    with _folder() as folder, ExitStack() as open_:
        known, address, history = None, NOWHERE, "# EOF\n"
        if FACTS in wanted:
            _say("a workspace: an old version, unanswered labels, drifted traffic; MLflow and the status page over it")
            known = knowing.place(folder, promised())
            open_.enter_context(knowing.served(known, folder))
            address, history = known.address, knowing.history(known, FACTS, 2 * 86_400 / SCALE + 1_200)
        observers = open_.enter_context(watching(promised(), folder, address, history))
        opened = time.time()
        for scene in ALL:
            lines += _played(scene, folder, observers, notes) if scene.region in wanted else []
        lines += _gone(folder, observers) if GATEWAY in wanted else []
        lines += _known(known, observers, opened, notes) if known else []
        repeats = sum(observers.repeats(region) for region in wanted)
    _report(lines, repeats, notes, whole={*wanted} >= {*(scene.region for scene in ALL), GATEWAY, FACTS})


def promised(**sections: Any) -> Spec:
    """The spec of the model that all scenes serve: it promises all that can be promised."""
    merged = {name: {**PROMISES.get(name, {}), **sections.get(name, {})} for name in {*PROMISES, *sections}}
    return served.tiny_spec(**merged)


def _played(scene: Scene, folder: Path, observers: Watching, notes: list[str]) -> list[Line]:
    """Healthy, struck, told, healed. What does not come in time is missing in the table; the next scene goes on."""
    place, judge = folder / scene.region, Judge()
    place.mkdir()
    _say(f"{scene.region}: {scene.fault}")
    struck = healed = time.time()
    with site(promised(**scene.spec), place, served.tiny(), judge.url if "slo" in scene.spec else None) as gateway:
        gateway.route(scene.canary, weight=50.0 if scene.canary else 0.0, wait=False)
        until(lambda: gateway.health()["engines"].keys() >= {"1", *filter(None, [scene.canary])})
        observers.watch(scene.region, gateway.url)
        with _asked(gateway.url, place) as fates:
            try:
                _quiet(scene, observers)
                scene.strike(gateway, judge)
                struck = time.time()
                with _rating(gateway, fates, scene.rated):
                    _struck(scene, observers, struck, notes)
                gateway.route()
                healed = time.time()
                _healed(scene, observers, healed, notes)
            except AssertionError as late:
                notes.append(f"{scene.region}: NOT AS IT SHOULD BE: {late}")
                _say(f"  {late}")
        observers.leave()
    judge.close()
    if strangers := observers.strangers(scene.region, (*scene.due, *scene.silenced, *scene.after)):
        notes.append(f"{scene.region}: {', '.join(sorted(strangers))} came too")
    found = [_line(due, scene.region, observers, struck) for due in scene.due]
    return found + [_line(due, scene.region, observers, healed) for due in scene.after]


def _struck(scene: Scene, observers: Watching, struck: float, notes: list[str]) -> None:
    """What must come comes; what a page silences is there, and does not."""
    for due in scene.due:
        came = until(lambda due=due: observers.news(due, scene.region), PATIENCE)
        _say(f"  {due} after {came[0].at - struck:.1f} s")
    for due in scene.silenced:
        until(lambda due=due: observers.silenced(due, scene.region), PATIENCE)
        assert not observers.news(due, scene.region), f"{due} came in spite of its page"
        notes.append(f"{scene.region}: the page silences {due}")


def _quiet(scene: Scene, observers: Watching) -> None:
    """Traffic is scraped, and nothing that the fault is to bring fires; what is dear is so from its first answer."""
    asked = f'region="{scene.region}", version="{scene.canary or 1}", outcome="answered"'
    until(lambda: observers.asked(f"sum(seqline_requests_total{{{asked}}}) > 20"), PATIENCE)
    began = time.time()
    until(lambda: time.time() > began + QUIET)
    early = [each for due in (*scene.due, *scene.after) for each in observers.news(due, scene.region)]
    assert scene.region == "money" or not early, f"fired before the fault: {[each.alert['labels'] for each in early]}"


def _healed(scene: Scene, observers: Watching, healed: float, notes: list[str]) -> None:
    """The fault is over: what came is resolved, what a page silenced comes now."""
    for due in scene.due if scene.ends else ():
        until(lambda due=due: observers.resolved(due, scene.region), PATIENCE)
    if scene.ends:
        notes.append(f"{scene.region}: all resolved {time.time() - healed:.0f} s after the fault ended")
    for due in scene.after:
        until(lambda due=due: observers.news(due, scene.region), PATIENCE)


def _gone(folder: Path, observers: Watching) -> list[Line]:
    """kill -9 of a gateway, a process of its own."""
    place = folder / GATEWAY
    place.mkdir()
    _say("gateway: kill -9")
    with started.gateway(promised(), served.tiny(), place) as gateway:
        observers.watch(GATEWAY, gateway.url)
        until(lambda: observers.asked('seqline_standing{region="gateway"} == 1'), PATIENCE)
        left = gateway.process.children(recursive=True)
        gateway.process.kill()
        struck = time.time()
        until(lambda: observers.news(DOWN, GATEWAY), PATIENCE)
        psutil.wait_procs(left, timeout=60)
    line = _line(DOWN, GATEWAY, observers, struck)
    observers.leave()
    return [line]


def _known(known: knowing.Known, observers: Watching, opened: float, notes: list[str]) -> list[Line]:
    """What the status page tells: drift, labels that wait, an old source from the start; money once `seqline cost` looked."""
    _say("facts: drift, labels, an old source, a dear month")
    money = next(scene for scene in ALL if scene.region == "money")
    looked = time.time()
    forecast = known.dear(promised(**money.spec), str(observers.prometheus[0].base_url))
    notes.append(f"facts: `seqline cost` forecasts {forecast:,.0f} for the month")
    for due in KNOWN:
        until(lambda due=due: observers.news(due, FACTS), PATIENCE)
    for due in KNOWN:
        url = f"http://{known.address}/runbook/{page_of(due.alert).removesuffix('.md')}"
        assert httpx.get(url, trust_env=False).text.startswith(f"# {due.alert}"), url
    return [_line(due, FACTS, observers, looked if due.alert == "MonthOverBudget" else opened) for due in KNOWN]


def _line(due: Due, region: str, observers: Watching, since: float) -> Line:
    news = observers.news(due, region)
    if not news:
        return Line(due, region, float("nan"), 0, "", {}, "never told", opens=False)
    labels, said = news[0].alert["labels"], news[0].alert["annotations"]["summary"]
    assert "<no value>" not in said, said
    opens = all(observers.opens(each) for each in news)
    return Line(due, region, news[0].at - since, len(news), news[0].path, labels, said, opens)


@contextmanager
def _asked(url: str, place: Path) -> Iterator[Path]:
    """Senders, until the block ends; yields the file of their fates."""
    texts, fates = place / "texts.parquet", place / "fates.jsonl"
    pq.write_table(pa.table({"source": stanzas(400, seed=5)}), texts)
    fates.touch()
    with started.process(["-m", "tests.gameday.senders", url, str(texts), str(fates), "--rate", str(RATE)], place):
        yield fates


@contextmanager
def _rating(gateway: Site, fates: Path, rated: bool) -> Iterator[None]:
    """Senders like version 1 and dislike version 2; what is asked about is each answer, once."""
    ends, seen = Event(), set[str]()

    def rate() -> None:
        with httpx.Client(base_url=gateway.url, trust_env=False) as http:
            while not ends.wait(0.5):
                for fate in senders.read(fates):
                    if fate.request and fate.request not in seen:
                        seen.add(fate.request)
                        rating = {"1": "up"}.get(fate.version, "down")
                        http.post("/v1/feedback", json={"request_id": fate.request, "rating": rating})

    thread = Thread(target=rate)
    if rated:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        if rated:
            thread.join()


def _report(lines: Sequence[Line], repeats: int, notes: list[str], *, whole: bool) -> None:
    rows = [
        results.at_least(f"{line.due} [{line.region}] -> {line.path}: {line.said}", line.right, "told once, right, linked", 1)
        | {"after": round(line.after, 1) if line.told else None, "told": line.told, "path": line.path, "opens": line.opens}
        for line in lines
    ]
    rows.append(results.bounded("messages that say what the one before said", repeats, "messages", 0))
    if whole:
        every = {rule["alert"] for group in alerts.rules(promised())["groups"] for rule in group["rules"] if "alert" in rule}
        missed = every - {line.due.alert for line in lines}
        rows.append(results.bounded(f"alerts of {len(every)} that did not fire {sorted(missed)}", len(missed), "alerts", 0))
    shown = [
        f"{line.due!s:28} {line.region:8} fired after {line.after:6.1f} s, told {line.told} x at {line.path}, "
        f"link {'opens' if line.opens else 'DOES NOT OPEN'}: {line.said}"
        for line in lines
    ]
    results.write("alerts", rows, *shown, *notes)


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


@contextmanager
def _folder() -> Iterator[Path]:
    if named := os.environ.get("FOLDER"):
        Path(named).mkdir(parents=True)
        yield Path(named)
        return
    with tempfile.TemporaryDirectory(prefix="alerts-") as made:
        yield Path(made)


if __name__ == "__main__":
    main()
