"""The page of a rollout, drawn from a real one, and opened without any network."""

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from pipelines.errors import UserError
from pipelines.registry import Registry
from pipelines.rollout import controller, page
from pipelines.rollout.store import Store
from pipelines.spec import Spec
from tests.rollout.test_controller import drive, first_champion
from tests.rollout.traffic import World, canary


def test_it_shows_weights_evidence_budgets_and_verdicts(store: Store, registry: Registry, model: Callable[[int], Spec]) -> None:
    spec = model(2)
    now = first_champion(store, registry, spec)
    rollout = controller.open(store, spec.name, "2", "1", now)
    assert "Nothing was measured yet" in page.latest(store, spec.name)
    drive(store, registry, spec, World(canary(0.1, 0.0)), now, lambda outcome: not outcome.open)
    text = page.html(store, rollout)
    assert text == page.latest(store, spec.name)
    assert text == registry.text(registry.version(spec.name, "2").run_id, f"rollout/{rollout}.html")
    for said in ("version 2 against version 1", "<strong>rolled back: the canary is worse", "1/alpha = 100",
                 "Error budget left", "the canary is worse than the champion: e = ", "prefers-color-scheme: dark"):  # fmt: skip
        assert said in text
    assert not re.search(r"https?:|//|<script|<link|<img|@import|url\(", text.replace("<!doctype html>", ""))
    body = text.partition("<body>")[2].partition("</body>")[0]
    drawn = ElementTree.fromstring(f"<body>{body}</body>".replace("&nbsp;", " "))
    fields = [svg for svg in drawn.iter("svg") if svg.get("role") == "img"]
    assert len(fields) == 3
    for field in fields:
        for line in field.iter("polyline"):
            for point in (line.get("points") or "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= page.WIDTH
                assert 0 <= y <= page.HEIGHT


def test_without_a_rollout_there_is_no_page(store: Store) -> None:
    with pytest.raises(UserError, match="tiny: there was no rollout yet"):
        page.latest(store, "tiny")
