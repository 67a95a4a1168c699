"""Who has the key gets the very bytes back; who has not gets nothing, and no change goes unseen."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifact import Corrupt
from pipelines.errors import SeqlineError, UserError
from pipelines.scrub.spans import Replaced
from pipelines.scrub.sweep import sweep
from pipelines.scrub.vault import Row, Vault, write_restored

KEY = bytes(range(32))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["<PERSON_1>", "by <PERSON_1> and <URL_2>", "é\u0301\r\n\0 \u202e", "\U0001d518nicode"]
)


@st.composite
def sides(draw: st.DrawFn) -> tuple[str, list[Replaced]]:
    """A text, and disjoint parts of it that became placeholders, real ones beside ones that stood there already."""
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = zip(cuts[::2], cuts[1::2], strict=False)
    return text, [Replaced(a, b, "PERSON", 0.8, f"<PERSON_{draw(st.integers(1, 8))}>") for a, b in spans]


def clean_text(text: str, replaced: list[Replaced]) -> str:
    for span in reversed(replaced):
        text = text[: span.start] + span.placeholder + text[span.end :]
    return text


def write_clean(path: Path, rows: list[Row]) -> None:
    texts = [[clean_text(text, list(spans)) for text, spans in zip(row.texts, row.replaced, strict=True)] for row in rows]
    pairs = [{"id": row.id, "source": source, "target": target} for row, (source, target) in zip(rows, texts, strict=True)]
    schema = pa.schema([(name, pa.string()) for name in ("id", "source", "target")])
    pq.write_table(pa.Table.from_pylist(pairs, schema), path)


def row(number: int, name: str = "Maria Keller") -> Row:
    text = f"by {name}, no. {number}"
    return Row(f"{number:016x}", (text, "a tool"), ([Replaced(3, 3 + len(name), "PERSON", 0.9, "<PERSON_1>")], []))


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    write_clean(tmp_path / "clean.parquet", [row(number) for number in range(5)])
    return tmp_path / "clean.parquet"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    Vault(KEY).write(tmp_path / "vault.parquet", (row(number) for number in range(5)))
    return tmp_path / "vault.parquet"


@settings(max_examples=150)
@given(pairs=st.lists(st.tuples(sides(), sides()), max_size=5))
def test_what_is_restored_is_byte_for_byte_what_was(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[tuple[str, list[Replaced]], ...]]
) -> None:
    folder = tmp_path_factory.mktemp("vault")
    rows = [Row(f"{n // 2:016x}", [text for text, _ in pair], [spans for _, spans in pair]) for n, pair in enumerate(pairs)]
    write_clean(folder / "clean", rows)
    Vault(KEY).write(folder / "vault", rows)
    restored = list(Vault(KEY).restore(folder / "clean", folder / "vault"))
    assert [(each.id, [text.encode() for text in each.texts]) for each in restored] == [
        (each.id, [text.encode() for text in each.texts]) for each in rows
    ]


def test_another_key_is_refused_in_one_line(clean: Path, vault: Path) -> None:
    with pytest.raises(UserError, match=r"SEQLINE_VAULT_KEY: is not the key of vault\.parquet") as refused:
        list(Vault(bytes(32)).restore(clean, vault))
    assert "\n" not in str(refused.value)


def test_no_value_stands_in_it_and_only_its_owner_may_read_it(vault: Path) -> None:
    assert sweep(["Maria Keller"], [vault]) == []
    assert vault.stat().st_mode & 0o777 == 0o600


def test_a_flipped_bit_is_found_anywhere_or_harmless(clean: Path, vault: Path, tmp_path: Path) -> None:
    whole, changed = vault.read_bytes(), tmp_path / "changed"
    original = list(Vault(KEY).restore(clean, vault))
    said: list[str] = []
    for place in range(0, len(whole), 7):
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            assert list(Vault(KEY).restore(clean, changed)) == original
        except SeqlineError as error:
            said.append(str(error))
    assert sum("record 000000000000000" in line for line in said) > 5
    assert not [line for line in said if "Maria" in line or "\n" in line]


def test_a_changed_clean_pair_is_named(clean: Path, vault: Path) -> None:
    rows = [row(number) for number in range(5)]
    rows[3] = rows[3]._replace(texts=(rows[3].texts[0] + "!", "a tool"))
    write_clean(clean, rows)
    with pytest.raises(Corrupt, match="record 0000000000000003"):
        list(Vault(KEY).restore(clean, vault))


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [0, 2, 3, 4], [1, 0, 2, 3, 4], [0, 1, 2, 3, 4, 4], []])
def test_pairs_missing_moved_or_twice(clean: Path, vault: Path, kept: list[int]) -> None:
    write_clean(clean, [row(number) for number in kept])
    with pytest.raises(Corrupt, match="record"):
        list(Vault(KEY).restore(clean, vault))


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 5], [0, 1, 2, 3, 4], [1, 0, 2, 3, 4, 5], []])
def test_rows_of_the_vault_missing_or_moved(clean: Path, vault: Path, kept: list[int]) -> None:
    pq.write_table(pq.read_table(vault).take(pa.array(kept, pa.int64())), vault)
    with pytest.raises(Corrupt, match="record"):
        list(Vault(KEY).restore(clean, vault))


def test_something_else_is_no_vault(clean: Path) -> None:
    with pytest.raises(Corrupt, match="no vault"):
        list(Vault(KEY).restore(clean, clean))


def test_originals_in_a_private_file_or_none_at_all(clean: Path, vault: Path, tmp_path: Path) -> None:
    out = tmp_path / "originals.parquet"
    assert write_restored(Vault(KEY).restore(clean, vault), out) == 5
    assert out.stat().st_mode & 0o777 == 0o600
    assert pq.read_table(out).to_pylist()[4] == {"id": row(4).id, "source": row(4).texts[0], "target": "a tool"}
    write_clean(clean, [row(number) for number in range(4)])
    with pytest.raises(Corrupt):
        write_restored(Vault(KEY).restore(clean, vault), tmp_path / "cut.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean.parquet", "originals.parquet", "vault.parquet"]
