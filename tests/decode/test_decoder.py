import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ctranslate2
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from pipelines.artifact import Export
from pipelines.decode import Decoder
from pipelines.decode.decoder import possible
from pipelines.errors import UserError
from pipelines.spec import Decoding
from tests.training import line

REPO = Path(__file__).parents[2]
FREE = Decoding(max_tokens=12, no_repeat_ngram=0)


def test_it_answers_and_placeholders_come_back_as_text(decoder: Decoder, sources: list[str]) -> None:
    answers = decoder.generate(sources, FREE)
    targets = line.pairs(20, 3)["target"]
    assert sum(answer.text == target for answer, target in zip(answers, targets, strict=True)) >= 15
    assert all(answer.text.endswith("by <PERSON_1>") for answer in answers)
    assert all(answer.logprob < 0 and 0 < answer.target_tokens <= 12 and not answer.truncated for answer in answers)


def test_order_and_answers_do_not_depend_on_the_batch(decoder: Decoder, sources: list[str]) -> None:
    together = decoder.generate(sources, FREE, batch_tokens=4_096)
    for batch_tokens in (1, 64):
        again = decoder.generate(sources, FREE, batch_tokens=batch_tokens)
        assert [(a.text, a.source_tokens) for a in again] == [(a.text, a.source_tokens) for a in together]
        assert [a.logprob for a in again] == pytest.approx([a.logprob for a in together], abs=1e-3)


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("max_tokens", [3, 12])
def test_logprob_is_the_sum_over_the_tokens(
    export: Export, decoder: Decoder, sources: list[str], beam: int, penalty: float, max_tokens: int
) -> None:
    """As score_batch scores the same answer; an answer that max_tokens cut has no end mark to count."""
    answers = decoder.generate(sources, Decoding(beam=beam, max_tokens=max_tokens, length_penalty=penalty, no_repeat_ngram=0))
    tokenizer = Tokenizer.from_file(str(export.path / "hf" / "tokenizer.json"))
    translator = ctranslate2.Translator(str(export.path / "ct2"))
    read = [tokenizer.encode(source).tokens for source in sources]
    written = [tokenizer.encode(answer.text).tokens[:-1] for answer in answers]
    for answer, tokens, scored in zip(answers, written, translator.score_batch(read, written), strict=True):
        assert len(tokens) == answer.target_tokens
        counted = scored.log_probs if answer.target_tokens < max_tokens else scored.log_probs[:-1]
        assert answer.logprob == pytest.approx(sum(counted), abs=2e-3)


def test_without_ct2_transformers_gives_the_same_answers(decoder: Decoder, other: Decoder, sources: list[str]) -> None:
    for decoding in (FREE, FREE.model_copy(update={"beam": 3})):
        ours, theirs = decoder.generate(sources, decoding), other.generate(sources, decoding, batch_tokens=128)
        same = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.text == b.text]
        assert len(same) >= 18
        for a, b in same:
            assert (a.source_tokens, a.target_tokens, a.truncated) == (b.source_tokens, b.target_tokens, b.truncated)
            assert a.logprob == pytest.approx(b.logprob, abs=2e-3)


def test_encode_write_and_read_are_generate(either: Decoder, sources: list[str]) -> None:
    encoded = either.encode(sources)
    assert [len(one) for one in encoded] == [len(one.ids) for one in encoded] == [len(one.pieces) for one in encoded]
    assert either.read(encoded, either.write(encoded, FREE)) == either.generate(sources, FREE)
    assert either.write([], FREE) == either.encode([]) == []


def test_whether_the_model_ended_the_answer_is_told(either: Decoder, sources: list[str]) -> None:
    assert all(answer.finished for answer in either.generate(sources[:3], FREE))
    assert not any(answer.finished for answer in either.generate(sources[:3], Decoding(max_tokens=3)))


def test_long_sources_are_cut_and_said_to_be(decoder: Decoder) -> None:
    short, long = decoder.generate(["a tool that reads maps", "a tool that reads maps " * 30], FREE)
    assert not short.truncated
    assert long.truncated
    assert long.source_tokens == line.SECTION.max_source


def test_nothing_and_empty_texts(decoder: Decoder) -> None:
    assert decoder.generate([], FREE) == []
    (empty,) = decoder.generate([""], FREE)
    assert empty.source_tokens == 1


def test_a_lone_surrogate_is_the_senders_mistake(decoder: Decoder) -> None:
    with pytest.raises(UserError, match=r"^inputs\[1\]: a lone surrogate at character 2"):
        decoder.generate(["fine", "no\ud800pe"], FREE)


def test_with_ct2_neither_torch_nor_transformers_is_imported(export: Export) -> None:
    code = """
import sys; from pathlib import Path
from pipelines.decode import Decoder; from pipelines.spec import Decoding
answer, = Decoder(Path(sys.argv[1])).generate(["a tool that reads maps"], Decoding())
print(answer.text); print(sorted({"torch", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, str(export.path)], cwd=REPO, check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[1] == "[]"


def test_the_exports_facts(export: Export) -> None:
    facts = json.loads((export.path / "export.json").read_text())
    assert facts["parity"]["float32_largest_difference"] <= 1e-4
    assert facts["parity"]["quantised_same_greedy"] >= 0.9
    assert pq.read_table(line.encoded(export.path.parent).path / "validation.parquet").num_rows == facts["parity"]["pairs"]
    assert facts["bytes"]["ct2"] > 0


@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 100_000},
        {"max_tokens": 100_000, "beam": 3},
        {"max_tokens": 100_000, "temperature": 1.0, "seed": 1},
        {"no_repeat_ngram": 2**80},
        {"temperature": 5e-324, "top_p": 5e-324, "seed": 1},
        {"temperature": 1e-30, "seed": 1},
        {"temperature": 5.0, "top_k": 2**80, "seed": 1},
    ],
)
def test_numbers_past_what_a_model_can_do_are_answered_as_far_as_it_can(either: Decoder, asked: dict[str, Any]) -> None:
    """Found by fuzzing: CTranslate2 raises at a position that the model has not, and at a share that is 0 in 32 bits."""
    decoding = Decoding(**asked)
    (answer,) = either.generate(["Package: libfoo"], decoding)
    told: list[str] = []
    streamed = either.stream(either.encode(["Package: libfoo"])[0], decoding, told.append)
    assert "".join(told) == answer.text
    assert 0 < answer.target_tokens == len(streamed.ids) <= 512


def test_what_a_model_can_do_is_left_as_it_is() -> None:
    decoding = Decoding(max_tokens=64, temperature=0.5, top_p=0.9, no_repeat_ngram=3)
    assert possible(decoding, 64) is possible(decoding, None) is decoding
    assert possible(decoding, 10).max_tokens == 10
