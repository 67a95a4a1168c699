"""Answers that are drawn: temperature, top-k, top-p, seed; by both engines."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ctranslate2
import pytest
from tokenizers import Tokenizer

from pipelines.artifact import Corrupt, Export
from pipelines.decode import Answer, Decoder, settled
from pipelines.spec import Decoding

WARM = Decoding(temperature=1.5, max_tokens=12, no_repeat_ngram=0, seed=7)
GREEDY = Decoding(max_tokens=12, no_repeat_ngram=0)


def texts(answers: list[Answer]) -> list[str]:
    return [answer.text for answer in answers]


def test_the_same_seed_gives_the_same_text_in_whatever_company(either: Decoder, sources: list[str]) -> None:
    together = either.generate(sources[:6], WARM)
    assert either.generate(sources[:6], WARM) == together
    assert [either.generate([source], WARM)[0] for source in sources[:6]] == together
    assert either.generate(sources[5::-1], WARM, batch_tokens=64)[::-1] == together
    assert either.generate([sources[0]] * 3, WARM) == [together[0]] * 3
    assert {answer.seed for answer in together} == {7}


def test_another_decoder_beside_it_changes_nothing(export: Export, decoder: Decoder, sources: list[str]) -> None:
    """CTranslate2's seed is one number for the whole process: two threads that draw at once must not take each other's."""
    wanted = [decoder.generate(sources[:4], WARM.model_copy(update={"seed": seed})) for seed in (1, 2)]
    beside = [decoder, Decoder(export.path)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            drawn = pool.map(lambda d, s: d.generate(sources[:4], WARM.model_copy(update={"seed": s})), beside, (1, 2))
            assert list(drawn) == wanted


def test_seeds_differ_and_every_seed_is_one(either: Decoder, sources: list[str]) -> None:
    seeds = (0, 1, 2, 3, 2**32 - 1)  # CTranslate2 takes the last for "no seed"
    drawn = [texts(either.generate(sources[:2], WARM.model_copy(update={"seed": seed}))) for seed in seeds]
    assert len({tuple(each) for each in drawn}) >= 4
    assert texts(either.generate(sources[:2], WARM.model_copy(update={"seed": 2**32 - 1}))) == drawn[-1]


def test_without_a_seed_each_answer_draws_its_own_and_tells_it(either: Decoder, sources: list[str]) -> None:
    free = WARM.model_copy(update={"seed": None})
    drawn = either.generate([sources[0]] * 4, free)
    assert len({answer.seed for answer in drawn}) == 4
    for answer in drawn:
        assert either.generate([sources[0]], free.model_copy(update={"seed": answer.seed})) == [answer]
    assert {answer.seed for answer in either.generate(sources[:2], GREEDY)} == {None}


def test_drawing_from_the_likeliest_alone_is_greedy(either: Decoder, sources: list[str]) -> None:
    greedy = either.generate(sources[:5], GREEDY)
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}):
        drawn = either.generate(sources[:5], WARM.model_copy(update=narrow))
        assert texts(drawn) == texts(greedy)
        assert [a.logprob for a in drawn] == pytest.approx([a.logprob for a in greedy], abs=1e-3)


def test_beams_and_a_top_k_past_the_vocabulary_change_nothing(either: Decoder, sources: list[str]) -> None:
    drawn = either.generate(sources[:2], WARM)
    assert either.generate(sources[:2], WARM.model_copy(update={"beam": 4, "top_k": 1_000_000})) == drawn


@pytest.mark.parametrize("how", [{"temperature": 0.5}, {"temperature": 2.0, "top_k": 5}, {"top_p": 0.9, "length_penalty": 2.0}])
def test_logprob_is_of_the_models_own_distribution(
    export: Export, either: Decoder, sources: list[str], how: dict[str, float]
) -> None:
    """As score_batch scores the same tokens, which knows neither temperature nor top-k."""
    decoding = WARM.model_copy(update=how)
    tokenizer = Tokenizer.from_file(str(export.path / "hf" / "tokenizer.json"))
    scorer = ctranslate2.Translator(str(export.path / "ct2"))
    encoded = either.encode(sources[:8])
    written = either.write(encoded, decoding)
    pieces = [[tokenizer.id_to_token(token) for token in one.ids] for one in written]
    for one, scored in zip(written, scorer.score_batch([source.pieces for source in encoded], pieces), strict=True):
        counted = scored.log_probs if one.finished else scored.log_probs[:-1]
        assert one.logprob == pytest.approx(sum(counted), abs=2e-3)


def test_it_draws_as_often_as_the_model_says(either: Decoder) -> None:
    """First tokens of 300 seeds: each as often as the exponential of its logprob, within five standard deviations."""
    one = Decoding(temperature=1.0, max_tokens=1, no_repeat_ngram=0)
    encoded = either.encode(["sound sound fonts"])
    drawn = [either.write(encoded, one.model_copy(update={"seed": seed}))[0] for seed in range(300)]
    tokens = [(tuple(each.ids), each.logprob) for each in drawn]
    assert len({ids for ids, _ in tokens}) > 1
    for ids, logprob in set(tokens):
        share = math.exp(logprob)
        times = sum(each == ids for each, _ in tokens)
        assert abs(times - 300 * share) <= 5 * math.sqrt(300 * share * (1 - share)) + 1


def test_what_is_drawn_from_is_what_was_verified(altered: Callable[..., Path], sources: list[str]) -> None:
    """The first draw reads model.bin again: if it changed since the start, nothing is drawn from it."""
    folder = altered()
    loaded = Decoder(folder)
    data = bytearray((folder / "ct2" / "model.bin").read_bytes())
    data[-1] ^= 1
    (folder / "ct2" / "model.bin").write_bytes(data)
    with pytest.raises(Corrupt, match=r"ct2/model\.bin: the bytes changed"):
        loaded.generate(sources[:1], WARM)


def test_settled_gives_a_seed_only_where_one_is_drawn_with() -> None:
    assert settled(GREEDY) == GREEDY
    assert settled(WARM) == WARM
    assert settled(WARM.model_copy(update={"seed": None})).seed is not None
