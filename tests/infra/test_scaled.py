"""What the hurried rules still say: the same alerts of the same expressions, sooner."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipelines.alerting import alerts, windows
from pipelines.spec import Spec
from tests.infra.scaled import COUNTED, OFFSET, WINDOW, duration, expression, hurried
from tests.infra.servers import INFRA


def all_rules(spec: Spec) -> list[dict[str, Any]]:
    groups = [*windows.rules()["groups"], *alerts.rules(spec)["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def bare(expr: str) -> str:
    for pattern in (WINDOW, OFFSET, COUNTED):
        expr = pattern.sub("", expr)
    return re.sub(r"\[\d+ms\]|offset \d+ms|\* [\d.e+]+ >=", "", expr)


@pytest.mark.parametrize(("text", "scale", "shorter"), [("30m", 60, "30000ms"), ("3d", 60, "4320000ms"), ("30s", 1e6, "1ms")])
def test_a_duration_gets_shorter(text: str, scale: float, shorter: str) -> None:
    assert duration(text, scale) == shorter


@given(st.floats(1, 1_000))
def test_nothing_but_durations_changes(scale: float) -> None:
    text = 'rate(a{le="300"}[5m]) * 300 >= 5 and b offset 2d > 14.4'
    assert bare(expression(text, scale)) == bare(text)
    assert "14.4" in expression(text, scale)


def test_every_rule_of_the_product_is_hurried_whole(promised: Spec) -> None:
    rules = all_rules(promised)
    for rule, quick in zip(rules, hurried(rules, 60), strict=True):
        assert quick.keys() == rule.keys()
        assert bare(quick["expr"]) == bare(rule["expr"])
        left = quick["expr"].replace("[30s]", "")
        assert not any(pattern.search(left) for pattern in (WINDOW, OFFSET)), quick["expr"]
        same = rule.keys() - {"expr", "for"}
        assert {key: quick[key] for key in same} == {key: rule[key] for key in same}


def test_alertmanagers_waits_are_hurried_and_its_routes_stay() -> None:
    content = YAML(typ="safe", pure=True).load((INFRA / "alertmanager" / "alertmanager.yml").read_text())
    quick = hurried(content, 60)
    assert quick["inhibit_rules"] == content["inhibit_rules"]
    assert (quick["route"]["group_wait"], quick["route"]["group_interval"]) == ("500ms", "5000ms")
    assert [each["receiver"] for each in quick["route"]["routes"]] == [each["receiver"] for each in content["route"]["routes"]]
