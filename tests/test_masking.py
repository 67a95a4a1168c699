"""Words that stand in for names: what is replaced, and that nothing else is."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.masking import masked

MARKS = ("<PERSON_1>", "<PERSON_2>", "<URL_1>")
words = st.lists(st.sampled_from(["Kiwi", "menu", "the", "Pear", "%(name)s", "<PERSON_1>", "open.it", "Über"]), max_size=6)
texts = words.map(" ".join)


def test_the_rarest_shared_word() -> None:
    sources = ["Open Kiwi in the menu", "Open the menu", "the menu of Kiwi and Pear", "Open"]
    targets = ["Kiwi im menu", "menu", "menu von Pear", "Auf"]
    found = masked(sources, targets, ["<PERSON_1>"])
    assert {pair.word for pair in found} == {"Pear"}, "the others stand in more sources than a name would"
    assert [(pair.row, pair.source, pair.target) for pair in found] == [
        (2, "the menu of Kiwi and <PERSON_1>", "menu von <PERSON_1>")
    ]


def test_fields_and_placeholders_are_no_words() -> None:
    assert masked(["%(username)s <PERSON_1> {count} /usr/share"], ["%(username)s <PERSON_1> {count} /usr/share"], MARKS) == []


@given(st.lists(st.tuples(texts, texts), max_size=8), st.floats(0, 1))
def test_putting_the_word_back_gives_the_pair(pairs: list[tuple[str, str]], share: float) -> None:
    sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
    found = masked(sources, targets, MARKS, share)
    assert found == masked(sources, targets, MARKS, share)
    for pair in found:
        assert pair.placeholder in pair.source
        assert pair.placeholder in pair.target
        assert pair.placeholder not in sources[pair.row] + targets[pair.row]
        back = (pair.source.replace(pair.placeholder, pair.word), pair.target.replace(pair.placeholder, pair.word))
        assert back == pairs[pair.row]
    assert {pair.row for pair in found} <= {pair.row for pair in masked(sources, targets, MARKS)}
