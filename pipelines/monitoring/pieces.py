"""Texts as a model's own tokenizer takes them: how many pieces, how many that it does not know, and what would be cut."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.errors import SeqlineError
from pipelines.monitoring.facts import Pieces

UNKNOWN = "<unk>"


def counter(tokenizer: Path, longest: int) -> Callable[[Sequence[str]], list[Pieces]] | None:
    """By `tokenizer` (tokenizer.json), for a model that reads at most `longest` pieces; None where it is not there.

    Raises:
        SeqlineError: it cannot be read.
    """
    from tokenizers import Tokenizer

    if not tokenizer.is_file():
        return None
    try:
        made = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # of tokenizers' own, a bare Exception
        raise SeqlineError(f"{tokenizer.name}: cannot be read: {str(error)[:200]}") from None
    made.no_truncation()
    made.no_padding()
    unknown = made.token_to_id(UNKNOWN)

    def counted(texts: Sequence[str]) -> list[Pieces]:
        encoded = made.encode_batch(list(texts))
        return [Pieces(len(each.ids), sum(piece == unknown for piece in each.ids), len(each.ids) > longest) for each in encoded]

    return counted
