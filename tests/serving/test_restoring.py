"""The sender's values come back, however the answer was cut into pieces."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.scrub.detect import restore
from pipelines.serving.exchange import Output
from pipelines.serving.restoring import LONGEST, Restoring, shown

VALUES = {"<PERSON_1>": "Ada <b>", "<EMAIL_ADDRESS_12>": "ada@example.org"}
words = st.sampled_from(
    ["<PERSON_1>", "<EMAIL_ADDRESS_12>", "<PERSON_2>", "<", "<PERSON", ">", " ", "a", "1 < 2", "<b>", "_", "A"]
)
texts = st.lists(words, max_size=20).map("".join)


@given(texts, st.lists(st.integers(0, 60)))
def test_pieces_are_restored_as_the_whole_is(text: str, cuts: list[int]) -> None:
    bounds = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(bounds)]
    restoring = Restoring(VALUES)
    came = [restoring.feed(piece) for piece in pieces] + [restoring.rest()]
    assert "".join(came) == restore(text, VALUES)


@given(texts)
def test_nothing_waits_that_cannot_be_a_placeholder(text: str) -> None:
    restoring = Restoring(VALUES)
    came = restoring.feed(text + "< ")
    assert came == restore(text + "< ", VALUES)
    assert restoring.feed("<" + "A" * LONGEST) == "<" + "A" * LONGEST, "too long for one"


def test_a_withheld_answer_is_empty_and_another_one_restored() -> None:
    output = Output(text="to <PERSON_1>", source_tokens=1, target_tokens=1, truncated=False)
    assert shown(output, VALUES).text == "to Ada <b>"
    assert shown(output.model_copy(update={"withheld": True, "flags": ["pattern"]}), VALUES).text == ""
