"""The page that is signed: whole without its parts, and no text in it is ever markup."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pipelines.scoring.report import drawn, facts, page, sections

NUMBER = {"value": 40.0, "interval": [38.0, 42.0]}
SHARE = {"count": 3, "value": 0.03, "interval": [0.01, 0.08]}
GAIN = {"value": 2.0, "interval": [1.0, 3.0], "verdict": "better"}
LOSS = {"value": -2.0, "interval": [-3.0, -1.0], "verdict": "worse", "p_adjusted": 0.0004}
SCORES: dict[str, Any] = {
    "metric": "rougeL", "n": 3, "confidence": 0.95, "model": {"rougeL": NUMBER},
    "baselines": {"lead": {"rougeL": {"value": 30.0, "interval": [29.0, 31.0]}, "difference": GAIN}},
    "slices": [
        {
            "dimension": "length", "slice": "short", "words": [1, 9], "n": 30, "model": NUMBER, "against": "lead",
            "difference": GAIN,
        },
        {"dimension": "terms", "slice": "kernel", "n": 40, "model": NUMBER, "against": "lead", "difference": LOSS},
    ],
    "judge": {"threshold": 0.75, "n": 3, "flagged": SHARE, "references": SHARE, "shuffled": SHARE, "auroc": NUMBER},
    "corrected": {"judged": SHARE, "corrected": SHARE, "labels": 180},
    "adversarial": {
        "cases": 40, "failed": SHARE, "plain": {"cases": 30, "failed": SHARE}, "reasons": {"number": 2},
        "by_kind": {"negation": {"cases": 40, "failed": 2, "reasons": {"number": 2}}},
        "examples": [{"kind": "negation", "reasons": ["number"], "input": "<b>", "output": ""}],
    },
    "membership": {
        "auc": NUMBER, "n": [4, 4], "nats_a_token": {"members": 1.0, "others": 2.0}, "caught": {**SHARE, "false_alarms": 0.05},
    },
    "contamination": {"n": 3, "pairs": SHARE, "sources": SHARE, "near_duplicates": None, "run": {**SHARE, "words": 13}},
}  # fmt: skip


def attacked(output: str) -> dict[str, Any]:
    return {**SCORES["adversarial"], "examples": [{**SCORES["adversarial"]["examples"][0], "output": output}]}


NUMBERS = {"value": 2.0, "interval": [1.0, 3.0], "bar": 0.0}
RULE = {"rule": "beats_lead", **NUMBERS, "verdict": "better", "passed": True, "reason": "<i>"}
SKIPPED = {"rule": "champion", "value": None, "interval": None, "bar": -2.0, "verdict": "skipped", "passed": True, "reason": ""}
CLOSED = {**RULE, "rule": "leaks", "passed": False, "verdict": "beyond"}


class Outline(HTMLParser):
    """The elements in order, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag + "".join(f" {name}" for name, _ in attrs))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.tags.append(f"!{data}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    found.close()
    return found


def drawn_page(folder: Path, scores: Any, rules: list[Any], rows: list[dict[str, Any]]) -> str:
    (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "gate.json").write_text(json.dumps({"passed": all(rule["passed"] for rule in rules), "rules": rules}))
    kept = [{key: value for key, value in row.items() if key not in ("source", "target")} for row in rows]
    parquet.write_table(pa.Table.from_pylist(kept), folder / "outputs.parquet")
    pairs = [{key: row[key] for key in ("id", "source", "target")} for row in rows]
    parquet.write_table(pa.Table.from_pylist(pairs), folder / "test.parquet")
    return page.html(folder, folder / "test.parquet")


def row(number: int, text: str = "a word", **more: Any) -> dict[str, Any]:
    return {"id": f"p{number:03}", "source": text, "target": text, "output": text, **more}


def test_who_signs_reads_the_verdict_and_its_numbers_first(tmp_path: Path) -> None:
    rows = [
        row(i, score=float(i), logprob=-i / 3, probability=i % 2, finished=i != 1, champion="other", spans="[]")
        for i in range(40)
    ]
    text = drawn_page(tmp_path, SCORES, [RULE, SKIPPED, CLOSED], rows)
    said = " ".join(" ".join(outline(text).texts).split())
    places = [
        said.index(each)
        for each in (
            "The gate is closed by 1 of 3 rules: leaks.", "40.0 [38.0, 42.0]", "of 2: 1 better, 1 worse",
            "3.0% [1.0%, 8.0%] (180 labels)",
            "Rules of the gate", "Scores beside the baselines", "terms: kernel", "length: short (1 to 9 words)", "AUROC",
            "negation 2 of 40 fail (number 2)",
            "Rank correlation", "The 20 worst outputs", "cut off at the longest answer allowed", "10 random outputs",
            "What this step knows",
        )
    ]  # fmt: skip
    assert places == sorted(places), "worse slices stand before better ones, and texts after numbers"
    assert "Not measured: Leaks: personal data and placeholders; Planted secrets" in said
    assert text == page.html(tmp_path, tmp_path / "test.parquet")
    worst = text[text.index('<h2 id="worst">') : text.index('<h2 id="random">')]
    assert worst.index("p001") < worst.index("p003"), "doubted alike: the lower score first"
    assert "p002" not in worst, "nothing that the judge trusts while twenty are doubted"


def test_a_report_without_its_optional_parts_says_so(tmp_path: Path) -> None:
    text = drawn_page(tmp_path, {}, [RULE], [row(1), row(2)])
    assert "The gate is open: 1 of 1 rules passed." in text
    assert text.count("Not measured") >= 4
    assert "No score was kept: by id." in text
    assert "<mark" not in text
    assert "unknown (0 labels)" in text


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    hostile = "</span><script>alert(1)</script><img src=//x onerror=y> <PERSON_1>"
    found = outline(drawn_page(tmp_path, SCORES, [RULE], [row(i, hostile, spans="[]") for i in range(3)]))
    assert not [
        tag for tag in found.tags if tag.split()[0] in ("script", "img", "iframe", "object", "form", "base", "meta http-equiv")
    ]
    assert not [tag for tag in found.tags if " src" in tag or " on" in tag]
    assert any(hostile in each for each in found.texts)


MARKUP = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ["<", ">", "&", '"', "'", "</span>", "</style>", "<!--", "-->", "{{", "}}", "{%", "<script>", "]]>", "\u202e", "\0"]
    )
).map("".join)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=MARKUP, target=MARKUP, output=MARKUP, champion=MARKUP, kind=MARKUP)
def test_no_text_breaks_out_of_its_element(
    tmp_path: Path, source: str, target: str, output: str, champion: str, kind: str
) -> None:
    spans = json.dumps([{"start": 0, "end": 1, "text": "", "kind": kind}])
    hostile = row(1, spans=spans) | {
        "source": f"x{source}",
        "target": f"x{target}",
        "output": f"x{output}y",
        "champion": champion + "z",
    }
    # as long, word by word, since the charts' ticks hang on that; and no two alike, since what is the same is said once
    letters = {"source": "s", "target": "t", "output": "x", "champion": "z"}
    harmless = row(1, spans=spans) | {name: re.sub(r"\S", letter, hostile[name]) for name, letter in letters.items()}
    scores = {**SCORES, "adversarial": attacked(output), "tasks": {kind + "k": source}}
    plain = {**SCORES, "adversarial": attacked("x"), "tasks": {"k": "x"}}
    rules = [{**RULE, "reason": target}]
    ours, theirs = (
        outline(drawn_page(tmp_path, *each))
        for each in ((scores, rules, [hostile, row(2)]), (plain, [RULE], [harmless, row(2)]))
    )
    assert ours.tags == theirs.tags


@given(
    text=st.text(max_size=80),
    spans=st.lists(st.fixed_dictionaries({"start": st.integers(-5, 90), "end": st.integers(-5, 90), "kind": st.just("word")})),
)
def test_marking_loses_no_character(text: str, spans: list[dict[str, Any]]) -> None:
    pieces = page.marked(text, spans)
    assert "".join(piece.text for piece in pieces) == "".join(piece.text for piece in page.marked(text, []))
    inside = {at for span in spans for at in range(max(span["start"], 0), min(span["end"], len(text)))}
    assert sum(len(piece.text) for piece in pieces if piece.mark) == len(inside)


def test_long_texts_are_cut_and_control_characters_are_seen() -> None:
    pieces = page.marked(
        "a\x00\x1b[31m" + "b" * page.LONGEST, [{"start": page.LONGEST + 2, "end": page.LONGEST + 4, "kind": "word"}]
    )
    assert [piece.text[:7] for piece in pieces] == ["a\u2400\u241b[31m", " [7 mor"][: len(pieces)]
    assert not any(piece.mark for piece in pieces)


def test_a_thousand_long_pairs_make_a_small_page(tmp_path: Path) -> None:
    long = "<word> " * 2_000
    rows = [
        row(i, long, score=i / 10, logprob=-i / 100, probability=0.5, finished=True, champion=long, spans="[]")
        for i in range(1_000)
    ]
    assert len(drawn_page(tmp_path, SCORES, [RULE], rows).encode()) <= 1_500_000


@given(value=st.floats(-1e6, 1e6), below=st.floats(0, 1e6), above=st.floats(0, 1e6), bar=st.none() | st.floats(-1e6, 1e6))
def test_an_interval_is_drawn_in_order_and_in_sight(value: float, below: float, above: float, bar: float | None) -> None:
    ends = (value - below, value + above)
    known = [*ends, *([] if bar is None else [bar])]
    found = drawn.track(value, ends, drawn.scale(known), bar)
    assert 0 <= found.low <= found.value <= found.high <= 100
    assert bar is None or (found.bar is not None and 0 < found.bar < 100)


def test_facts_name_what_they_hold() -> None:
    assert facts.told({"a_b": {"c": SHARE, "d": None}, "e": [], "f": True}) == [
        ("a b, c", "3, 3.0% [1.0%, 8.0%]"), ("a b, d", "unknown"), ("e", "none"), ("f", "yes"),
    ]  # fmt: skip
    assert facts.estimate({"value": None}) == facts.estimate(None) == "unknown"
    assert sections.slices({}) == {"rows": []}
