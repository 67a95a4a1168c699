from hypothesis import given
from hypothesis import strategies as st

from pipelines.filters.leaks import Leak, new_data, redact
from pipelines.scrub.detect import restore

placeholder = st.builds("<{}_{}>".format, st.sampled_from(["PERSON", "EMAIL_ADDRESS"]), st.integers(1, 12))
pieces = st.lists(placeholder | st.sampled_from(["ann", "bob@example.org", " and ", "\ud800", "<"]), max_size=8)


@given(pieces, pieces, st.data())
def test_what_is_redacted_is_never_restored(source: list[str], output: list[str], data: st.DataObject) -> None:
    leaks, at = [], 0
    for piece in output:
        if piece in ("ann", "bob@example.org") and data.draw(st.booleans()):
            leaks.append(Leak(at, at + len(piece), data.draw(st.sampled_from(["PERSON", "EMAIL_ADDRESS", "URL"]))))
        at += len(piece)
    text = "".join(output)
    redacted = redact(text, leaks, "".join(source))
    values = {each: "the sender's" for each in source if each.endswith(">")}
    assert restore(redacted, values).count("the sender's") == restore(text, values).count("the sender's")
    assert len(redacted) == len(text) + sum(len(given) for given in _given(redacted, leaks)) - sum(
        leak.end - leak.start for leak in leaks
    )


def _given(redacted: str, leaks: list[Leak]) -> list[str]:
    """The placeholders that stand where the leaks stood."""
    found, shift = [], 0
    for leak in leaks:
        end = redacted.index(">", leak.start + shift) + 1
        found.append(redacted[leak.start + shift : end])
        shift += len(found[-1]) - (leak.end - leak.start)
    return found


def test_equal_values_get_equal_placeholders() -> None:
    leaks = [Leak(0, 3, "PERSON"), Leak(4, 7, "PERSON"), Leak(8, 11, "PERSON")]
    assert redact("ann bob ann <PERSON_4>", leaks, "<PERSON_1>") == "<PERSON_5> <PERSON_6> <PERSON_5> <PERSON_4>"


def test_what_the_source_holds_is_not_new() -> None:
    leaks = [Leak(0, 3, "PERSON"), Leak(4, 7, "PERSON")]
    assert new_data("ann bob", leaks, "for Bob, only") == leaks[:1]
    assert new_data("ann bob", leaks, "") == leaks
    assert new_data("ann bob", [], "ann") == []
