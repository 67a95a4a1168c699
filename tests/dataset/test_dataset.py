"""Rejecting, dividing without leakage, and versions that come back byte for byte."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import artifact, dataset
from pipelines.artifact import Clean, Corrupt, Dataset
from pipelines.dataset.splits import divide, jaccard, shingle
from pipelines.errors import SeqlineError, Transient, UserError
from pipelines.spec import Data, FilesSource, Limits, Splits

# DVC's own use of pygtrie, in every `add`
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")

PROJECT = Path(__file__).parents[2]
WORDS = [
    "alder",
    "birch",
    "cedar",
    "elm",
    "fir",
    "hazel",
    "ivy",
    "larch",
    "maple",
    "oak",
    "pine",
    "rowan",
    "spruce",
    "yew",
    "ash",
]


def data(test: int = 4, validation: int = 3, **limits: float) -> Data:
    source = FilesSource(kind="files", paths=("x.csv",))
    return Data(source=source, limits=Limits(**limits), splits=Splits(test=test, validation=validation))


def make_clean(folder: Path, rows: list[tuple[str, str]]) -> Clean:
    table = pa.Table.from_pylist([{"id": f"{n:016x}", "source": s, "target": t} for n, (s, t) in enumerate(rows)])
    number = len(list(folder.glob("clean-*")))
    return artifact.make(Clean, folder / f"clean-{number}", lambda path: pq.write_table(table, path / "pairs.parquet"))


def text(number: int, words: int = 12) -> str:
    """A text of its own: its words follow from `number`, so that two numbers share few shingles."""
    return " ".join(WORDS[(number * 7 + k * (number % 13 + 1)) % len(WORDS)] + str((number * k) % 17) for k in range(words))


def various(count: int) -> list[tuple[str, str]]:
    return [(f"{text(n)} {n}", f"{text(n + 1000, 5)} {n}") for n in range(count)]


def rows_of(made: Dataset) -> dict[str, list[tuple[str, str]]]:
    names = ("train", "validation", "test")
    tables = {name: pq.read_table(made.path / f"{name}.parquet").to_pylist() for name in names}
    return {name: [(row["source"], row["target"]) for row in rows] for name, rows in tables.items()}


def test_rejects_are_counted_by_reason(tmp_path: Path) -> None:
    good = various(20)
    bad = [
        ("", "x"),
        ("x", " "),
        ("a\N{REPLACEMENT CHARACTER}", "b"),
        ("a\0", "b"),
        ("y" * 501, "b"),
        ("y", "b" * 101),
        good[0],
    ]
    made = dataset.split(make_clean(tmp_path, good + bad), data(source_chars=500, target_chars=100), tmp_path / "out")
    facts = json.loads((made.path / "dataset.json").read_text())
    assert facts["rejected"] == {
        "empty source": 1,
        "empty target": 1,
        "bad UTF-8": 2,
        "source too long": 1,
        "target too long": 1,
        "duplicate": 1,
    }
    assert (facts["rows"], facts["kept"]) == (27, 20)
    assert facts["splits"] == {"train": 13, "validation": 3, "test": 4}
    assert sorted(pair for pairs in rows_of(made).values() for pair in pairs) == sorted(good)


def test_too_many_rejected(tmp_path: Path) -> None:
    clean = make_clean(tmp_path, [*various(10), *[("", "x")] * 11])
    with pytest.raises(UserError, match=r"data\.limits\.reject_rate: 52% of 21 rows are rejected \(empty source 11\)"):
        dataset.split(clean, data(), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_too_few_for_the_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.splits: 7 pairs remain of 7 rows .*need 8"):
        dataset.split(make_clean(tmp_path, various(7)), data(), tmp_path / "out")
    alike = [(f"{text(1, 40)} {n}", f"{text(2, 40)} {n}") for n in range(20)]
    with pytest.raises(UserError, match="1 clusters of near-duplicates do not fill test and validation"):
        dataset.split(make_clean(tmp_path, alike), data(), tmp_path / "out")


def test_the_same_bytes_whatever_the_order_and_twice(tmp_path: Path) -> None:
    rows = various(30)
    made = dataset.split(make_clean(tmp_path, rows), data(), tmp_path / "out")
    assert artifact.verify(made.path) == made.sha256
    ids = {pair: f"{n:016x}" for n, pair in enumerate(rows)}
    shuffled = pa.Table.from_pylist([{"id": ids[pair], "source": pair[0], "target": pair[1]} for pair in reversed(rows)])
    clean = artifact.make(Clean, tmp_path / "clean-r", lambda path: pq.write_table(shuffled, path / "pairs.parquet"))
    assert dataset.split(clean, data(), tmp_path / "out").sha256 == made.sha256


def test_new_rows_move_few_old_ones(tmp_path: Path) -> None:
    def home(rows: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
        made = dataset.split(make_clean(tmp_path, rows), data(test=20, validation=20), tmp_path / "out")
        return {pair: name for name, pairs in rows_of(made).items() for pair in pairs}

    before, after = home(various(200)), home(various(204))
    assert sum(after[pair] != name for pair, name in before.items()) <= 8


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 3), st.integers(0, 25)), min_size=30, max_size=60, unique=True))
def test_no_near_duplicate_crosses_a_split(keys: list[tuple[int, int, int]]) -> None:
    # the second number changes one word in fourteen: Jaccard above 0.5
    pairs = [
        {"id": str(n), "source": f"{text(a, 14)} tail{b}", "target": f"{text(c + 500, 6)} {n}"}
        for n, (a, b, c) in enumerate(keys)
    ]
    shingles = [(shingle(pair["source"]), shingle(pair["target"])) for pair in pairs]
    splits = Splits(test=2, validation=1, near_duplicate=0.5)
    try:
        names, _ = divide(pairs, shingles, splits)
    except UserError:
        return  # too much alike to fill the splits: refused, not leaked
    assert (names.count("test"), names.count("validation")) == (2, 1)
    for one, (source, target) in enumerate(shingles):
        for other in range(one):
            if names[one] != names[other]:
                assert jaccard(source, shingles[other][0]) < 0.5
                assert jaccard(target, shingles[other][1]) < 0.5


# ---- versions


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A git repository with this project's own DVC configuration."""
    folder = tmp_path / "repo"
    (folder / ".dvc").mkdir(parents=True)
    shutil.copy(PROJECT / ".dvc/config", folder / ".dvc/config")
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(PROJECT / name, folder / name)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture
def versions(tmp_path: Path) -> list[Dataset]:
    work = tmp_path / "work"
    work.mkdir()
    return [dataset.split(make_clean(work, various(count)), data(), work) for count in (20, 25)]


def pull(repo: Path) -> None:
    from dvc.repo import Repo

    with Repo(str(repo)) as dvc:
        dvc.pull(targets=[str(repo / "data.dvc")])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def forget(repo: Path) -> None:
    shutil.rmtree(repo / "data")
    shutil.rmtree(repo / ".dvc/cache")


def test_pull_gives_back_the_bytes_of_any_version(repo: Path, versions: list[Dataset]) -> None:
    first = dataset.publish(versions[0], "one", repo)
    old = snapshot(repo / "data")
    second = dataset.publish(versions[1], "one", repo)
    new = snapshot(repo / "data")
    assert first.md5 != second.md5
    assert second.text == (repo / "data.dvc").read_text()
    assert {name.removeprefix("one/") for name in new} == set(snapshot(versions[1].path))
    for pointer, expected in ((second, new), (first, old)):
        forget(repo)
        (repo / "data.dvc").write_text(pointer.text)
        pull(repo)
        assert snapshot(repo / "data") == expected
        assert artifact.verify(repo / "data/one")


def test_other_models_stay_in_a_checkout_and_in_a_fresh_clone(repo: Path, versions: list[Dataset]) -> None:
    dataset.publish(versions[0], "one", repo)
    dataset.publish(versions[1], "two", repo)
    assert sorted(path.name for path in (repo / "data").iterdir()) == ["one", "two"]
    one = snapshot(repo / "data/one")
    forget(repo)
    dataset.publish(versions[0], "two", repo)
    assert snapshot(repo / "data/one") == one
    assert snapshot(repo / "data/two") == snapshot(versions[0].path)


def test_a_clone_whose_remote_is_empty_starts_anew_and_says_so(
    repo: Path, versions: list[Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.publish(versions[0], "one", repo)
    forget(repo)
    shutil.rmtree(repo / ".seqline")
    dataset.publish(versions[1], "two", repo)
    assert [path.name for path in (repo / "data").iterdir()] == ["two"]
    assert "starts without other models' folders" in capsys.readouterr().err
    dataset.verify(repo)


def test_published_already_costs_no_dvc(repo: Path, versions: list[Dataset]) -> None:
    pointer = dataset.publish(versions[0], "one", repo)
    code = (
        "import sys; from pathlib import Path; from pipelines import dataset; from pipelines.artifact import Dataset;"
        f"p = dataset.publish(Dataset(Path({str(versions[0].path)!r}), {versions[0].sha256!r}), 'one', Path({str(repo)!r}));"
        f"assert p.md5 == {pointer.md5!r}; assert 'dvc' not in sys.modules"
    )
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0


def test_what_was_added_but_never_pushed_is_pushed(repo: Path, versions: list[Dataset]) -> None:
    pointer = dataset.publish(versions[0], "one", repo)
    shutil.rmtree(repo / ".seqline")
    assert dataset.publish(versions[0], "one", repo) == pointer
    forget(repo)
    pull(repo)
    assert artifact.verify(repo / "data/one") == versions[0].sha256


def damage(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_changed_cache_object_is_noticed_and_never_pushed(repo: Path, versions: list[Dataset]) -> None:
    dataset.publish(versions[0], "one", repo)
    dataset.verify(repo)
    biggest = max((repo / ".dvc/cache").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    damage(biggest)
    with pytest.raises(Corrupt, match="data/one/"):
        dataset.verify(repo)
    shutil.rmtree(repo / ".seqline")
    dataset.publish(versions[0], "one", repo)
    dataset.verify(repo)
    forget(repo)
    pull(repo)
    assert artifact.verify(repo / "data/one") == versions[0].sha256


def test_a_changed_remote_object_is_not_checked_out(repo: Path, versions: list[Dataset]) -> None:
    from dvc.exceptions import DvcException

    dataset.publish(versions[0], "one", repo)
    forget(repo)
    damage(max((repo / ".seqline/dvc").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0))
    with pytest.raises(DvcException):
        pull(repo)
    assert not (repo / "data/one/train.parquet").exists() or artifact.verify(repo / "data/one")


def test_a_remote_that_takes_nothing_leaves_the_last_version(repo: Path, versions: list[Dataset]) -> None:
    pointer = dataset.publish(versions[0], "one", repo)
    shutil.move(repo / ".seqline/dvc", repo / "kept")
    (repo / ".seqline/dvc").write_text("a file where the remote's folder should be")
    with pytest.raises(Transient, match="data/one: DVC could not store it"):
        dataset.publish(versions[1], "one", repo)
    assert (repo / "data.dvc").read_text() == pointer.text
    (repo / ".seqline/dvc").unlink()
    shutil.move(repo / "kept", repo / ".seqline/dvc")
    second = dataset.publish(versions[1], "one", repo)
    assert second.md5 != pointer.md5
    dataset.verify(repo)


def test_a_held_lock_is_worth_another_try(repo: Path, versions: list[Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    monkeypatch.setattr(dataset, "PATIENCE", 0.1)
    (repo / ".dvc/tmp").mkdir()
    with FileLock(repo / ".dvc/tmp/seqline.lock"), pytest.raises(Transient, match="another run"):
        dataset.publish(versions[0], "one", repo)


def test_a_broken_pointer_is_named(repo: Path, versions: list[Dataset]) -> None:
    (repo / "data.dvc").write_text("<<<<<<< HEAD\n")
    with pytest.raises(SeqlineError, match=r"data\.dvc: holds no md5"):
        dataset.publish(versions[0], "one", repo)
