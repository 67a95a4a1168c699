"""What an export says of an answer is what it says when it writes it, by either runtime."""

from pathlib import Path

import pytest

from pipelines.artifact import Corrupt, Export
from pipelines.decode import Decoder
from pipelines.decode.likelihood import Likelihood
from pipelines.spec import Decoding


def test_an_answer_is_as_likely_read_as_written(decoder: Decoder, export: Export, plain: Path, sources: list[str]) -> None:
    answers = decoder.generate(sources, Decoding(max_tokens=12, no_repeat_ngram=0))
    whole = [number for number, answer in enumerate(answers) if answer.finished]
    assert len(whole) >= 15
    texts = [answer.text for answer in answers]
    for folder in (export.path, plain):
        found = Likelihood(folder).tokens(sources, texts)
        for number in whole:
            assert len(found[number]) == answers[number].target_tokens + 1, "the end mark counts"
            assert sum(found[number]) == pytest.approx(answers[number].logprob, abs=2e-3)


def test_what_was_learnt_is_likelier_than_what_was_not(export: Export, sources: list[str]) -> None:
    one, other = Likelihood(export.path).tokens(
        [sources[0]] * 2, ["tool for maps by <PERSON_1>", "<PERSON_1> by maps for tool"]
    )
    assert sum(one) > sum(other)


def test_texts_are_cut_where_the_model_ends(export: Export) -> None:
    (found,) = Likelihood(export.path).tokens(["a " * 200], ["b " * 200])
    assert len(found) == 12


def test_nothing_is_nothing_and_what_changed_is_refused(export: Export, tmp_path: Path) -> None:
    assert Likelihood(export.path).tokens([], []) == []
    with pytest.raises(Corrupt, match="never completed"):
        Likelihood(tmp_path)
