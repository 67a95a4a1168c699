"""The charsmap, against SentencePiece's own reading of it."""

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2 as form

from pipelines.on_device.charsmap import charsmap

no_nul = st.binary(min_size=1, max_size=4).filter(lambda key: 0 not in key)


def rewritten(rules: dict[bytes, bytes], text: bytes) -> bytes:
    model = form.ModelProto()
    model.pieces.add(piece="<unk>", type=form.ModelProto.SentencePiece.UNKNOWN)
    model.pieces.add(piece="a")
    model.trainer_spec.model_type = form.TrainerSpec.BPE
    spec = model.normalizer_spec
    spec.precompiled_charsmap = charsmap(rules)
    spec.add_dummy_prefix = spec.remove_extra_whitespaces = spec.escape_whitespaces = False
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    return bytes(processor.normalize(text))


def longest_first(rules: dict[bytes, bytes], text: bytes) -> bytes:
    done = b""
    while text:
        key = max((key for key in rules if text.startswith(key)), key=len, default=text[:1])
        done, text = done + rules.get(key, key), text[len(key) :]
    return done


@given(rules=st.dictionaries(no_nul, no_nul | st.just(b""), max_size=40), text=st.lists(st.integers(1, 127)))
def test_the_longest_rule_is_used_first(rules: dict[bytes, bytes], text: list[int]) -> None:
    keys = b"".join(list(rules)[:5])
    mixed = {bytes([byte]): bytes([byte]) for byte in range(1, 256)} | rules  # so that half a character is one too
    given_text = bytes(text) + keys
    assert rewritten(mixed, given_text) == longest_first(mixed, given_text)


@pytest.mark.parametrize("rules", [{b"": b"a"}, {b"\0": b"a"}, {b"a": b"\0"}])
def test_what_the_format_cannot_say_is_refused(rules: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="charsmap"):
        charsmap(rules)
