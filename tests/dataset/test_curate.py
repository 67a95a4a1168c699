"""What each filter takes, and that the counts add up."""

from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.dataset import association, languages
from pipelines.dataset.curate import Filtered, curate, filters, ordered
from pipelines.dataset.splits import Pair
from pipelines.spec import Curation, Limits

ALL = Curation(length_ratio=3, source_language="en", target_language="de", alignment=0.2, boilerplate=2)


def run(
    rows: Collection[Pair], curation: Curation, frozen: Collection[str] = (), forgotten: Collection[str] = ()
) -> tuple[list[Pair], dict[str, Filtered]]:
    kept, done = curate(ordered(rows, frozen), filters(Limits(source_chars=60, target_chars=60), curation, frozen, forgotten))
    return kept, {each.name: each for each in done}


def pairs(*texts: tuple[str, str]) -> list[Pair]:
    return [Pair(str(number), *both) for number, both in enumerate(texts)]


texts = st.one_of(
    st.sampled_from(["", " ", "OK", "Abbrechen", "a\0", "\N{REPLACEMENT CHARACTER}", "<PERSON_1> wrote it", "wort " * 20]),
    st.lists(st.sampled_from(["the", "house", "das", "Haus", "is", "ist", "old", "alt"]), max_size=9).map(" ".join),
)
rows_of_all_kinds = st.lists(st.tuples(texts, texts), max_size=40).map(lambda rows: pairs(*rows))


@settings(max_examples=60, deadline=None)
@given(rows_of_all_kinds, st.randoms(use_true_random=False))
def test_counts_add_up_and_order_does_not_matter(rows: list[Pair], random: object) -> None:
    ids = frozenset(pair.id for pair in rows[::5])
    kept, done = run(rows, ALL, frozen=ids, forgotten={"3"})
    count = len(rows)
    for each in done.values():
        assert each.came == count
        assert each.stayed == count - each.reasons.total()
        count = each.stayed
    assert count == len(kept)
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert run(rows, ALL, frozen=ids, forgotten={"3"}) == (kept, done)


@settings(max_examples=60, deadline=None)
@given(rows_of_all_kinds, rows_of_all_kinds)
def test_new_rows_never_push_a_frozen_pair_out(old: list[Pair], new: list[Pair]) -> None:
    frozen = frozenset(pair.id for pair in run(old, ALL)[0])
    # ids before those of the old pairs: without the freeze the newer of two duplicates would stay
    grown = [*old, *(Pair(f"!{pair.id}", pair.source, pair.target) for pair in new)]
    assert frozen <= {pair.id for pair in run(grown, ALL, frozen)[0]}


def test_a_forgotten_record_is_counted_and_not_shown() -> None:
    kept, done = run(pairs(("a", "b"), ("c", "d")), Curation(), forgotten=["0"])
    assert [pair.id for pair in kept] == ["1"]
    assert done["forgotten"].reasons == {"forgotten": 1}
    assert done["forgotten"].samples == ()


def test_only_what_the_spec_asks_for_runs() -> None:
    always = ["forgotten", "empty", "bad UTF-8", "too long", "duplicate"]
    assert list(run([], Curation())[1]) == always
    assert list(run([], ALL)[1]) == [*always, "length ratio", "language", "alignment", "boilerplate"]


def test_length_ratio() -> None:
    kept, done = run(pairs(("abc", "a" * 9), ("abc", "a" * 10), ("a" * 10, "abc")), Curation(length_ratio=3))
    assert [pair.id for pair in kept] == ["0"]
    assert done["length ratio"].reasons == {"length ratio": 2}


def test_language() -> None:
    german, english = "Dieses Paket enthält die Dokumentation.", "This package contains the documentation."
    rows = pairs((english, german), (german, german), (english, english), ("Abbrechen", "Cancel"))
    kept, done = run(rows, Curation(source_language="en", target_language="de"))
    assert [pair.id for pair in kept] == ["0", "3"]  # the last is too short to tell
    assert done["language"].reasons == {"source not en": 1, "target not de": 1}


def test_placeholders_are_no_text_of_any_language() -> None:
    assert languages.probabilities("<PERSON_1> <EMAIL_ADDRESS_1> <LOCATION_2> <URL_1> sagt ja") == {}


def test_boilerplate_is_cut_to_so_many() -> None:
    rows = pairs(*((f"text {number}", "Cancel") for number in range(5)), ("other", "Other"))
    kept, done = run(rows, Curation(boilerplate=2))
    assert [pair.id for pair in kept] == ["0", "1", "5"]
    assert done["boilerplate"].reasons == {"boilerplate": 3}
    assert len(done["boilerplate"].samples) == 3
    assert {"0", "4"} <= {pair.id for pair in run(rows, Curation(boilerplate=2), frozen=["4"])[0]}


NOUNS = {"house": "Haus", "tree": "Baum", "river": "Fluss", "bird": "Vogel", "stone": "Stein", "bread": "Brot", "book": "Buch"}
VERBS = {"sees": "sieht", "finds": "findet", "keeps": "behält", "wants": "will", "paints": "malt"}


def translations() -> list[Pair]:
    return pairs(
        *(
            (f"the {one} {verb} a {other}", f"{NOUNS[one]} {VERBS[verb]} {NOUNS[other]}")
            for one in NOUNS
            for verb in VERBS
            for other in NOUNS
            if one != other
        )
    )


def test_alignment_tells_a_translation_from_another_sentences() -> None:
    rows = translations()
    wrong = [Pair(f"x{n}", rows[n].source, rows[n + 100].target) for n in range(0, 100, 10)]
    found = association.scores([p.source for p in [*rows, *wrong]], [p.target for p in [*rows, *wrong]])
    assert ((found >= 0) & (found <= 1)).all()
    assert found[: len(rows)].min() > found[len(rows) :].max()
    kept, done = run([*rows, *wrong], Curation(alignment=float(found[: len(rows)].min())))
    assert kept == sorted(rows)
    assert done["alignment"].reasons == {"alignment": len(wrong)}


def test_alignment_in_parts_is_the_same(monkeypatch: object) -> None:
    rows = translations()
    sides = [p.source for p in rows], [p.target for p in rows]
    whole = association.scores(*sides)
    monkeypatch.setattr(association, "LINKS", 100)  # type: ignore[attr-defined]
    assert (association.scores(*sides) == whole).all()


def test_what_says_nothing_stays() -> None:
    # words that no other pair has, and none at all
    assert association.scores(["one two", "--"], ["eins zwei", "++"]).tolist() == [1.0, 1.0]
    assert association.scores([], []).tolist() == []
    # a name that stands on both sides is its own translation
    assert association.scores(["by <PERSON_1>", "by you"], ["<PERSON_1>", "dir"]).tolist()[0] == 1.0
