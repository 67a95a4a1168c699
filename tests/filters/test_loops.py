import pytest

from pipelines.filters.loops import loops, repeats

LOOPS = (
    "salad salad salad",
    "A fresh Salad, salad, salad with oil",
    "the best of the best of the best of the best",
    "no no no no",
    "hahahahaha",
    "yes aaaaaaaa",
    "好吃好吃好吃好吃好吃",
    "好吃。好吃。好吃。好吃",
    "<PERSON_1> said so <PERSON_1> said so <PERSON_1> said so",
    " ".join(["a loop of very many words that comes back every now and then in full"] * 3),
    "it is a big package, it is a big library, so it is a big thing, it is a big one",
)
ORDINARY = (
    "",
    "The cat and the dog and the bird",
    "no, no, no!",
    "bye bye",
    "die, die die Tür öffnet",
    "Mississippi",
    "1 1 1 1 1 1 0 0 0 0",
    "0xffffffff and 1000000000 and 1010101010",
    "support for PNG, support for JPEG and support for TIFF images",
    "Zollstocklager, wwww",
    "--------------------------- ....................",
)


@pytest.mark.parametrize("text", LOOPS)
def test_loops_are_found(text: str) -> None:
    assert loops("a short source", text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_repetition_is_none(text: str) -> None:
    assert not loops("a short source", text)


def test_a_loop_of_the_sources_own_may_be_repeated_but_not_multiplied() -> None:
    assert not loops("ho ho ho ho", "hoho ho ho ho ho")
    assert not loops("buffalo buffalo buffalo", "Büffel Büffel Büffel")
    assert loops("buffalo buffalo buffalo", "Büffel " * 30)


@pytest.mark.parametrize(("text", "times"), [("salad " * 7, 7), ("ha" * 9, 9), ("a b c d " * 5, 5), ("x", 0)])
def test_how_often(text: str, times: int) -> None:
    assert repeats(text) == times
