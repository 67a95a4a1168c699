"""Sealed folders: whole or absent, and no changed byte goes unseen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import artifact
from pipelines.artifact import Clean, Corrupt
from pipelines.spec import Gate


def sealed(folder: Path) -> Clean:
    def write(building: Path) -> None:
        (building / "a.txt").write_text("a")
        (building / "sub").mkdir()
        (building / "sub" / "b.bin").write_bytes(b"\x00\x01")

    return artifact.make(Clean, folder, write)


def test_an_artifact_is_made_once(tmp_path: Path) -> None:
    first = sealed(tmp_path / "clean-1")

    def never(_building: Path) -> None:
        raise AssertionError("it was there already")

    assert artifact.make(Clean, tmp_path / "clean-1", never) == first
    assert artifact.verify(first.path, first.sha256) == first.sha256


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(building: Path) -> None:
        (building / "half").write_text("half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError):
        artifact.make(Clean, tmp_path / "clean-2", fail)
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_damage_is_named(tmp_path: Path) -> None:
    made = sealed(tmp_path / "clean-3")
    (made.path / "sub" / "b.bin").write_bytes(b"\x00\x02")
    with pytest.raises(Corrupt, match=r"sub/b\.bin: the bytes changed"):
        artifact.verify(made.path)
    (made.path / "sub" / "b.bin").unlink()
    with pytest.raises(Corrupt, match=r"sub/b\.bin: missing"):
        artifact.verify(made.path)
    (made.path / "sub" / "b.bin").write_bytes(b"\x00\x01")
    (made.path / "c.txt").write_text("c")
    with pytest.raises(Corrupt, match=r"c\.txt: not in the manifest"):
        artifact.verify(made.path)
    (made.path / "c.txt").unlink()
    artifact.verify(made.path)
    with pytest.raises(Corrupt, match="expected"):
        artifact.verify(made.path, "0" * 64)
    (made.path / artifact.MANIFEST).unlink()
    with pytest.raises(Corrupt, match="never completed"):
        artifact.verify(made.path)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_the_digest_does_not_depend_on_the_order_of_keys(content: dict[str, int | str | bool]) -> None:
    assert artifact.digest(content) == artifact.digest(dict(reversed(content.items())))


def test_the_digest_sees_every_field_of_a_section() -> None:
    assert artifact.digest(Gate()) != artifact.digest(Gate(margin=1))
    assert artifact.digest("a", "b") != artifact.digest("ab")


def test_what_has_no_digest_is_refused() -> None:
    with pytest.raises(TypeError):
        artifact.digest(object())
