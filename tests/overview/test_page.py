"""The page's text: what it says, that no text of others becomes markup, that it asks nobody but itself."""

import json
import re
from html.parser import HTMLParser

import pytest

from pipelines.overview import facts as f
from pipelines.overview import page, wording
from pipelines.overview.sparklines import HEIGHT, WIDTH, spark
from pipelines.overview.verdicts import verdict
from tests.overview.overviews import HOSTILE, NOW, hostile, model, overview, rollout, standing

VOID = {"meta", "link"}
SVG_VOID = {"line", "polyline", "rect"}


class Tags(HTMLParser):
    """Collects elements, and checks that each is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [str(value) for key, value in attrs if key == "id"]
        self.scripts += tag == "script"
        assert not any(key.startswith("on") for key, _ in attrs), attrs
        if tag not in VOID | SVG_VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in SVG_VOID:
            assert self.open.pop() == tag


def tags_of(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    return tags


def test_the_verdict_comes_first_in_words_and_the_rollout_next() -> None:
    shown = model(standing=f.Known(standing(rollout=rollout(), weight=5.0), NOW - 1))
    text = page.html(overview(shown))
    tags_of(text)
    assert text.index("✓") < text.index("In production")
    for said in ("SAFE", "version 3 against version 2", "5 % (stage 2 of 4)", "e = 0.9", "next: 25 % of the users", "83.0 %",
                 "-10.0 %", "120 ms", "within the target", "approved by a person", "flagged by the judge", "2 s ago",
                 "seqline rollback tiny", "prefers-color-scheme: dark", 'http-equiv="refresh"'):  # fmt: skip
        assert said in text, said
    assert text == page.html(overview(shown))


def test_texts_of_others_stay_text() -> None:
    text = page.html(overview(hostile()))
    assert tags_of(text).scripts == 1  # the page's own
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;document.title=") > 20


def test_it_asks_nobody_but_itself() -> None:
    text = page.html(overview(model()))
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:,\")|<img|@import|url\(|src=", text)
    policy = page.headers()["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    "shown", [(), (f.Model("fresh", "translation", 1.0, "http://127.0.0.1:8081"),), (hostile(), model("other"))]
)
def test_it_is_drawn_whatever_is_known(shown: tuple[f.Model, ...]) -> None:
    found = overview(*shown)
    tags_of(page.html(found))
    content = json.loads(json.dumps(page.plain(found), allow_nan=False))
    assert {each["name"]: each["verdict"]["tone"] for each in content["models"]} == {
        each.name: verdict(each, NOW).tone for each in shown
    }


def test_what_does_not_answer_says_so_beside_the_age_of_what_it_said() -> None:
    away = f.Known(f.Gateway(True, 0.12, 300.0, 900, 0, False), NOW - 240, "the gateway does not answer", 20)
    text = page.html(overview(model(gateway=away)))
    assert "the gateway does not answer; asked last" in text
    assert "4 min ago" in text
    assert "NOT SAFE" in text
    assert "no alert fires" in text
    unasked = page.html(overview(model(alerts=f.Known(None, None, "Prometheus does not answer"))))
    assert "alerts: Prometheus does not answer" in unasked
    assert "no alert fires" not in unasked


def test_a_curve_stays_in_its_field() -> None:
    drawn = spark([(0.0, 0.0), (86_400.0, 1.0), (172_800.0, 0.02)], "flagged")
    assert drawn is not None
    assert drawn.said == "flagged: 2.0% now, 0.0% to 100.0% over 2 days"
    for point in drawn.points.split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert spark([(0.0, 0.5)], "flagged") is None
    assert spark([(0.0, 0.5), (0.0, 0.5)], "flagged") is not None


def test_times_and_prices_for_people() -> None:
    assert [wording.span(each) for each in (0, 0.4, 7, 59, 60, 3_599, 3_600, 36_000, 86_400, 900_000)] == [
        "0 s", "0.4 s", "7 s", "59 s", "1 min", "60 min", "1.0 h", "10 h", "1.0 d", "10 d",
    ]  # fmt: skip
    assert wording.due(NOW + 90, NOW) == "in 2 min"
    assert wording.due(NOW - 90, NOW) == "due for 2 min"
    assert wording.due(None, NOW) == "not planned"
    assert wording.price(None, "EUR") == "not known"
    assert wording.price(0.01234, "EUR") == "0.0123 EUR"
    assert wording.share(0.8312) == "83.1 %"


def test_the_link_to_prefect_shows_the_models_deployments_alone() -> None:
    """Prefect's page reads `deployments.tags.name`, and shows those of all models where it is given another key."""
    assert "http://127.0.0.1:4200/deployments?deployments.tags.name=tiny" in page.html(overview(model()))
