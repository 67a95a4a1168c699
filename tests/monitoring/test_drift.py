"""Traffic beside its reference: silence while nothing changes, the right name when something does, no verdict from a few."""

import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artifact import Corrupt
from pipelines.errors import SeqlineError, UserError
from pipelines.monitoring import Profile, Tools, load, made, save, sided, since, watched
from pipelines.monitoring.drift import _named, words_moved
from pipelines.monitoring.facts import Facts, Pieces, facts, vectors
from pipelines.monitoring.profile import SEVERAL
from pipelines.monitoring.questions import Questions
from pipelines.monitoring.watching import ALPHA, DAY, HALF_DAYS
from tests.monitoring.made_up import GERMAN, TOOLS, stanza, stanzas, traffic

BARE = Tools()


@pytest.fixture(scope="module")
def profile() -> Profile:
    return made(stanzas(1_600, seed=1), TOOLS)


def test_unchanged_traffic_is_not_drifted_at_any_of_its_looks(profile: Profile) -> None:
    found = sided("input", profile, traffic(stanzas(1_500, seed=2)), TOOLS, ALPHA / 2)
    assert (found.verdict, found.texts) == ("not drifted", 1_500)
    assert max(found.evidence) < -math.log(ALPHA / 2)
    assert found.moved == found.examples == ()


def test_a_few_texts_tell_nothing(profile: Profile) -> None:
    few = sided("input", profile, traffic(stanzas(199, seed=2)), TOOLS, ALPHA / 2)
    none = sided("input", profile, [], TOOLS, ALPHA / 2)
    assert (few.verdict, few.texts, none.verdict, none.texts) == ("unknown", 150, "unknown", 0)
    assert "200 are needed" in few.why


def test_a_shift_to_another_section_is_found_and_named(profile: Profile) -> None:
    texts = traffic([*stanzas(400, seed=3), *stanzas(300, seed=4, kinds=("fonts",))])
    found = sided("input", profile, texts, TOOLS, ALPHA / 2)
    assert (found.verdict, found.headline) == ("drifted", "section: fonts")
    assert found.found_after is not None
    assert 400 < found.found_after <= 500
    assert found.since == texts[400].at
    assert {"glyphs", "fonts"} <= set(found.came)
    assert {"perl", "router"} <= set(found.went)
    assert all("Section: fonts" in text for text in found.examples)
    (top,) = [each for each in found.moved if each.what == found.headline]
    assert top.training == pytest.approx(1 / 6, abs=0.05)
    assert top.now == 1.0
    assert top.interval is not None
    assert top.interval[0] < 1.0 == top.interval[1]


def test_a_section_that_training_never_saw_is_named_too(profile: Profile) -> None:
    strange = [text.replace("Section: mail", "Section: embedded") for text in stanzas(250, seed=5, kinds=("mail",))]
    assert sided("input", profile, traffic(strange), TOOLS, ALPHA / 2).headline == "section: embedded"


def test_a_value_that_two_texts_hold_is_named_by_nobody(profile: Profile) -> None:
    """The verdict's line stands on the retrain's version, and outlives the texts."""
    each = [
        text.replace("Section: mail", f"Section: own{at // 2}") for at, text in enumerate(stanzas(250, seed=5, kinds=("mail",)))
    ]
    found = sided("input", profile, traffic(each), TOOLS, ALPHA / 2)
    assert found.headline == "section: another"
    told = json.dumps([found.why, found.headline, [moved.what for moved in found.moved], found.came, found.shares])
    assert "own" not in told.replace("unknown", "")
    thrice = [text.replace(f"own{at // 2}", "own0") if at < 3 else text for at, text in enumerate(each)]
    named = sided("input", profile, traffic(thrice), TOOLS, ALPHA / 2)
    assert named.headline == "section: own0"


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40))
def test_what_came_is_held_by_several(words: list[str]) -> None:
    read = [Facts({}, frozenset({f"section: {word}"}), frozenset({word})) for word in words]
    asked = Questions((), (), ("section",), (), frozenset())
    profile = Profile(
        asked, 1, np.zeros(1, np.int64), np.zeros((1, 1), np.float32), dict.fromkeys("abcdefgh", 3), 9_000, (), ""
    )
    counted = Counter(words)
    came, _ = words_moved(profile, read)
    assert all(counted[word] >= SEVERAL for word in came)
    named = _named("section: another", profile, read).removeprefix("section: ")
    assert named == "another" if max(counted.values(), default=0) < SEVERAL else counted[named] == max(counted.values())


def test_another_language_is_named(profile: Profile) -> None:
    found = sided("input", profile, traffic(stanzas(250, seed=6, words=GERMAN)), TOOLS, ALPHA / 2)
    assert found.headline == "language: de"
    assert {each.what: each.training for each in found.moved}["language: de"] == 0.0


def test_longer_texts_are_found_and_their_measure_named(profile: Profile) -> None:
    found = sided("input", profile, traffic(stanzas(300, seed=7, length=30)), TOOLS, ALPHA / 2)
    assert found.verdict == "drifted"
    assert found.headline is not None
    assert found.headline.startswith("words: more than")


def test_placeholders_and_what_the_model_cannot_read_are_found() -> None:
    def pieces(texts: object) -> list[Pieces]:
        return [Pieces(len(each), each.count("~"), len(each) > 400) for each in texts]  # type: ignore[attr-defined]

    tools = Tools(pieces=pieces)
    profile = made(stanzas(600, seed=1), tools)
    named = {}
    for what, change in (("cut", " simple" * 60), ("phone", " <PHONE_NUMBER_1>"), ("unknown", " ~")):
        found = sided("input", profile, traffic([text + change for text in stanzas(250, seed=8)]), tools, ALPHA / 2)
        named[what] = {each.what for each in found.moved}
    assert "cut: longer than the model reads" in named["cut"]
    assert "placeholders: PHONE_NUMBER" in named["phone"]
    assert any(each.startswith("unknown pieces, %") for each in named["unknown"])


def test_the_wholes_see_what_no_question_asks() -> None:
    rng = np.random.default_rng(9)

    def embed(texts: object) -> np.ndarray:
        """Meaning that no word shows: numbers of the upper half lie elsewhere."""
        made_up = rng.normal(size=(len(texts), 6)).astype(np.float32)  # type: ignore[arg-type]
        made_up[:, 0] += [3.0 * (int(text.split()[1]) >= 5 * 10**7) for text in texts]  # type: ignore[attr-defined]
        return made_up

    def numbers(low: int, n: int) -> list[str]:
        return [f"same {low + int(each):08d}" for each in rng.choice(5 * 10**7, n, replace=False)]

    tools = Tools(embed=embed, embedder="made up")
    profile = made(numbers(0, 3_000), tools)
    quiet = sided("input", profile, traffic(numbers(0, 400)), tools, ALPHA / 2)
    found = sided("input", profile, traffic(numbers(5 * 10**7, 400)), tools, ALPHA / 2)
    assert (quiet.verdict, found.verdict) == ("not drifted", "drifted")
    assert [each.what for each in found.moved] == ["the texts as wholes"]
    assert found.headline == "the texts as wholes"
    assert found.moved[0].now is None


def test_a_client_that_repeats_itself_is_no_drift(profile: Profile) -> None:
    usual, again = stanzas(300, seed=10), stanza(random.Random(11), kinds=("perl",))
    found = sided("input", profile, traffic([*usual, *[again] * 500]), TOOLS, ALPHA / 2)
    assert (found.verdict, found.texts) == ("not drifted", 300)


def test_the_same_traffic_says_the_same_again(profile: Profile) -> None:
    texts = traffic(stanzas(300, seed=12, kinds=("net",)))
    assert sided("input", profile, texts, TOOLS, ALPHA / 2) == sided("input", profile, texts, TOOLS, ALPHA / 2)


def test_a_later_look_keeps_what_an_earlier_one_said(profile: Profile) -> None:
    texts = traffic([*stanzas(250, seed=13), *stanzas(250, seed=14, kinds=("games",))])
    early, late = (sided("input", profile, texts[:n], TOOLS, ALPHA / 2) for n in (350, 500))
    assert late.evidence[: len(early.evidence)] == pytest.approx(early.evidence)
    assert early.found_after == late.found_after


def test_a_profile_comes_back_whole_and_refuses_other_tools(profile: Profile, tmp_path: Path) -> None:
    folder = save(profile, tmp_path / "profile").path
    again = load(folder, TOOLS)
    texts = traffic(stanzas(300, seed=15))
    assert sided("input", again, texts, TOOLS, ALPHA / 2) == sided("input", profile, texts, TOOLS, ALPHA / 2)
    with pytest.raises(SeqlineError, match="made otherwise"):
        load(folder, BARE)
    (folder / "profile.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"profile\.json"):
        load(folder, TOOLS)


def test_a_profile_holds_no_text_and_no_word_of_one_text_alone(tmp_path: Path) -> None:
    texts = [*stanzas(400, seed=16), "Description: Zebulon Quackenbush wrote this package"]
    folder = save(made(texts, TOOLS), tmp_path / "profile").path
    held = (folder / "profile.json").read_text().lower()
    assert "quackenbush" not in held
    assert not any(text.lower() in held for text in texts)


def test_too_few_texts_make_no_profile() -> None:
    with pytest.raises(UserError, match="99 distinct texts are too few"):
        made([*stanzas(99, seed=1)] * 3, TOOLS)


def test_both_sides_make_one_verdict(profile: Profile) -> None:
    usual, moved, few = (traffic(t) for t in (stanzas(250, 17), stanzas(250, 18, kinds=("mail",)), stanzas(60, 19)))
    said = [
        watched("tiny", "3", [("input", profile, one, TOOLS), ("output", profile, other, TOOLS)], 0.0, 1.0).verdict
        for one, other in ((usual, usual), (usual, moved), (moved, few), (usual, few))
    ]
    assert said == ["not drifted", "drifted", "drifted", "unknown"]


def test_at_most_three_tests_speak_in_thirty_days_and_each_of_fifteen_to_thirty() -> None:
    start = 20_000.25 * DAY
    for shift in range(40):
        begun = {since(start + (shift + hour / 24) * DAY) for hour in range(30 * 24)}
        assert len(begun) * ALPHA < 0.01
    ages = [at - since(at) for at in np.arange(start, start + 40 * DAY, DAY / 7)]
    assert min(ages) >= HALF_DAYS * DAY
    assert max(ages) < 2 * HALF_DAYS * DAY


def test_texts_count_by_their_heads() -> None:
    long = "Section: fonts\n" + "word " * 200
    short, longer = facts([long[:1_000], long + "Ende " * 500], TOOLS)
    assert short == longer
    assert (vectors([long[:1_000]], BARE) == vectors([long + "Ende " * 500], BARE)).all()
    assert np.linalg.norm(vectors(["two words", ""], BARE), axis=1) == pytest.approx([1.0, 0.0])
