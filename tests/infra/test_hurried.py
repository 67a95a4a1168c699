"""Three alerts the whole way: gateway, two Prometheus, Alertmanager, webhook. `make bench-alerts` does it with all of them."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.spec import Spec
from tests.infra.servers import metrics, needed
from tests.infra.watching import PATIENCE, Due, Watching, until, watching
from tests.serving.site import Site, site

pytestmark = needed
BEATS = 20  # requests between two looks
AVAILABILITY = Due("AvailabilityBelowObjective", "/ops/page", {"sli": "availability"})
SLOWLY = Due("BudgetBurnsSlowly", "/ops/ticket", {"sli": "availability"})
REGRESSION = Due("VersionErrorRegression", "/ml/page", {"version": "2"})
NOTHING = "# EOF\n"


@pytest.fixture(scope="module")
def observers(promised: Spec, folder: Path) -> Iterator[Watching]:
    with metrics(b"") as facts, watching(promised, folder, facts, NOTHING) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(promised: Spec, export: Path, folder: Path) -> Iterator[Site]:
    with site(promised, folder, export) as running:
        yield running


def asked(gateway: Site, numbers: Iterator[int]) -> None:
    for number in itertools.islice(numbers, BEATS):
        gateway.ask(f"a small package {number}", user=f"u{number}")


def once(observers: Watching, due: Due, region: str) -> None:
    (news,) = observers.news(due, region)
    assert news.path == due.path
    assert observers.opens(news)
    assert observers.repeats(region) == 0


def test_a_bad_canary_pages_ml_once(observers: Watching, gateway: Site) -> None:
    numbers = itertools.count()
    gateway.route("2", weight=50.0)
    observers.watch("canary", gateway.url)
    until(lambda: asked(gateway, numbers) or observers.asked('seqline_sli_bad_total{version="2"}'), PATIENCE)
    gateway.faults["2"].fail = 0.5
    until(lambda: asked(gateway, numbers) or observers.news(REGRESSION, "canary"), PATIENCE)
    gateway.route()
    until(lambda: asked(gateway, numbers) or observers.resolved(REGRESSION, "canary"), PATIENCE)
    once(observers, REGRESSION, "canary")


def test_a_page_comes_once_and_its_ticket_when_it_is_over(observers: Watching, gateway: Site) -> None:
    numbers = itertools.count(10_000)
    gateway.route()
    observers.watch("engine", gateway.url)
    until(lambda: asked(gateway, numbers) or observers.asked('seqline_sli_bad_total{region="engine"}'), PATIENCE)
    gateway.faults["1"].fail = 1.0
    until(lambda: asked(gateway, numbers) or observers.silenced(SLOWLY, "engine"), PATIENCE)
    assert observers.news(SLOWLY, "engine") == []
    gateway.route()
    until(lambda: asked(gateway, numbers) or observers.news(SLOWLY, "engine"), PATIENCE)
    until(lambda: asked(gateway, numbers) or observers.resolved(AVAILABILITY, "engine"), PATIENCE)
    once(observers, AVAILABILITY, "engine")
    once(observers, SLOWLY, "engine")
