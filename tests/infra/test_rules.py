"""What is committed is what the specs say; promtool reads it; each alert fires in a rule test, and has its page."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.main import get_command

from flows.cli import app
from flows.stack.infra import files, served, stale
from pipelines.alerting import alerts, scraping, windows
from pipelines.alerting.alerts import FEWEST_BAD, PAGES, REACHABLE, factor, page_of
from pipelines.alerting.dashboards import drawn
from pipelines.alerting.panels import queries
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Spec
from tests.infra import written
from tests.infra.servers import INFRA, ROOT, needed, told
from tests.serving.site import spec

HERE = Path(__file__).parent
TESTS = {"quick.yml": 60, "slow.yml": 300, "weeks.yml": 3600}  # seconds between two evaluations


def all_alerts(model: Spec) -> list[dict[str, Any]]:
    return [rule for group in alerts.rules(model)["groups"] for rule in group["rules"] if "alert" in rule]


def test_what_is_committed_is_what_the_specs_say() -> None:
    made = files(served(ROOT))
    assert stale(made, INFRA) == [], "`make infra` takes them away"
    for path, text in made.items():
        assert (INFRA / path).read_text() == text, f"infra/{path} is behind the specs: run `make infra`"


def test_what_belongs_to_no_spec_is_stale(tmp_path: Path) -> None:
    made = files(served(ROOT))
    (tmp_path / "prometheus" / "rules").mkdir(parents=True)
    for name in ("gone", "synopsis"):
        (tmp_path / "prometheus" / "rules" / f"{name}.yml").touch()
    assert stale(made, tmp_path) == ["prometheus/rules/gone.yml"]


@needed
def test_promtool_reads_what_is_committed() -> None:
    assert "SUCCESS" in told("promtool", "check", "config", INFRA / "prometheus" / "prometheus.yml")


@needed
@pytest.mark.parametrize("name", TESTS)
def test_each_alert_fires_when_it_should_and_only_then(name: str, promised: Spec, tmp_path: Path) -> None:
    written.rules(promised, tmp_path, every=TESTS[name])
    shutil.copy(HERE / name, tmp_path)
    told("promtool", "check", "rules", *sorted((tmp_path / "rules").iterdir()))
    assert "SUCCESS" in told("promtool", "test", "rules", tmp_path / name)


def test_no_alert_is_left_untested(promised: Spec) -> None:
    tested = set(re.findall(r'alertname="(\w+)", [^\n]*value: 1', "".join((HERE / name).read_text() for name in TESTS)))
    assert {rule["alert"] for rule in all_alerts(promised)} == tested


def test_each_alert_has_a_page_whose_commands_exist(promised: Spec) -> None:
    pages = {path.name for path in (INFRA / "runbooks").glob("*.md")}
    own = {page_of(rule["alert"]) for rule in all_alerts(promised)}
    assert own <= pages
    alerting = {page for page in pages if re.match(r"# [A-Z]\w+\n", (INFRA / "runbooks" / page).read_text())}
    assert alerting == own, "pages of alerts that are no more"
    for rule in all_alerts(promised):
        page = INFRA / "runbooks" / page_of(rule["alert"])
        assert rule["annotations"]["runbook_url"].endswith(f"/user/{page.name}")
        assert page.read_text().startswith(f"# {rule['alert']}\n")
    commands = set(getattr(get_command(app), "commands"))  # noqa: B009  click's group has them
    for path in (INFRA / "runbooks" / page for page in sorted(own)):
        text = path.read_text()
        named, linked = set(re.findall(r"`seqline (\w+)", text)), set(re.findall(r"\]\(([\w-]+\.md)\)", text))
        assert named <= commands, f"{path.name}: no such command: {named - commands}"
        assert named, f"{path.name} says no command"
        assert linked <= pages, f"{path.name}: no such page: {linked - pages}"


@given(st.floats(0.1, 0.9999), st.integers(1, 90))
def test_an_alert_can_be_reached_whatever_is_promised(objective: float, days: int) -> None:
    model = spec(slo={"availability": {"objective": objective}, "window_days": days})
    burns = [rule for rule in all_alerts(model) if rule["labels"].get("sli") == "availability"]
    assert {rule["alert"] for rule in burns} == {"AvailabilityBelowObjective", "BurnOver4x", "BudgetBurnsSlowly"}
    for rule in burns:
        for over in map(float, re.findall(r"burn:rate\w+\{[^}]*\} > ([\d.e+]+)", rule["expr"])):
            assert over <= 1 / (1 - objective), "all bad is no more than this"
    (rule,) = [rule for rule in burns if rule["alert"] == "AvailabilityBelowObjective"]
    assert rule["expr"].count(f">= {FEWEST_BAD}") == len(PAGES)


def test_the_factors_are_those_of_the_workbook() -> None:
    assert [round(factor(share, long, 30), 9) for long, _, share in PAGES] == [14.4, 6.0]
    assert 0 < REACHABLE < 1


@given(st.integers(50, 120_000))
def test_the_promised_latency_is_an_edge_of_the_buckets_that_the_alert_asks_for(target_ms: int) -> None:
    model = spec(slo={"latency": {"objective": 0.99, "target_ms": target_ms}})
    (rule,) = [rule for rule in all_alerts(model) if rule["alert"] == "LatencyP99Breach"]
    telemetry = Telemetry("tiny", target_ms / 1000)
    telemetry.latency("1", "champion").observe(1)
    (edge,) = re.findall(r'le="[^"]+"', rule["expr"])
    assert edge in telemetry.text().decode()


def test_no_cap_and_no_budget_no_alert_of_money() -> None:
    assert not {"CostNearCap", "MonthOverBudget"} & {rule["alert"] for rule in all_alerts(spec())}


@pytest.mark.parametrize(("cron", "days"), [("0 3 * * 1", 15), ("0 3 * * *", 15), ("0 3 1 * *", 63)])
def test_a_source_is_stale_after_two_missed_retrains(cron: str, days: int) -> None:
    model = spec(schedule={"retrain": cron})
    (rule,) = [rule for rule in all_alerts(model) if rule["alert"] == "StaleIndex"]
    assert rule["expr"].endswith(f"> {days * 86_400}")


def test_gpus_are_scraped_where_some_are_named() -> None:
    jobs = {job["job_name"] for job in scraping.config([spec()])["scrape_configs"]}
    assert jobs == {"seqline", "seqline-facts"}
    named = scraping.config([spec()], gpus=["gpu.example:9400"], region="eu")["scrape_configs"][-1]
    assert named["static_configs"] == [{"targets": ["gpu.example:9400"], "labels": {"region": "eu"}}]


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1:80"), ("::", "[::1]:80"), ("fd00::1", "[fd00::1]:80"), ("gw.example", "gw.example:80")],
)
def test_a_gateway_is_asked_where_it_listens(host: str, asked: str) -> None:
    content = scraping.config([spec(serving={"host": host, "port": 80})], region="eu")
    (target,) = content["scrape_configs"][0]["static_configs"]
    assert target == {"targets": [asked], "labels": {"model": "tiny", "region": "eu"}}


def test_a_dashboard_shows_only_series_that_are_recorded_or_scraped(promised: Spec) -> None:
    groups = [*windows.rules()["groups"], *alerts.rules(promised)["groups"]]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    for text in drawn().values():
        named = {name for query in queries(text).values() for name in re.findall(r"seqline:[\w:]+", query)}
        assert named <= recorded, named - recorded
        panels = json.loads(text)["panels"]
        assert len({panel["title"] for panel in panels}) == len(panels)
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


ROUTES = [
    ("team=ml severity=page", "ml-pages"),
    ("team=ml severity=ticket", "ml-tickets"),
    ("team=ops severity=page", "ops-pages"),
    ("team=ops severity=ticket", "ops-tickets"),
    ("alertname=Unthought", "ops-tickets"),
]


@needed
@pytest.mark.parametrize(("labels", "receiver"), ROUTES)
def test_who_is_told(labels: str, receiver: str) -> None:
    config = f"--config.file={INFRA / 'alertmanager' / 'alertmanager.yml'}"
    told("amtool", "config", "routes", "test", config, f"--verify.receivers={receiver}", *labels.split())


@needed
def test_amtool_reads_the_config() -> None:
    assert "SUCCESS" in told("amtool", "check-config", INFRA / "alertmanager" / "alertmanager.yml")


def test_what_is_grouped_and_silenced_are_labels_that_alerts_have() -> None:
    content = YAML(typ="safe", pure=True).load((INFRA / "alertmanager" / "alertmanager.yml").read_text())
    assert content["route"]["group_by"] == ["model", "version", "region"]
    assert {label for rule in content["inhibit_rules"] for label in rule["equal"]} <= {"model", "version", "region", "sli"}
