"""Whether a source changed, told without reading a row of it."""

import json
from pathlib import Path

from pipelines import sources
from pipelines.sources.changed import changed, seen
from pipelines.spec import CatalogsSource, Data, FilesSource, HubSource, LabelsSource
from tests.sources.test_sql import change, data, insert

PAIRS = "source,target\nwhy,because\n"


def inputs(base: Path, wanted: Data) -> dict[str, str]:
    """What a run that reads everything would write down."""
    raw = sources.ingest(wanted, base, base / "cache", base / "quarantine")
    found: dict[str, str] = json.loads((raw.path / "facts.json").read_text())["inputs"]
    return found


def moved(base: Path, wanted: Data, trained: dict[str, str]) -> tuple[str, ...]:
    return changed(seen(wanted, base, base / "cache", {}), trained)


def test_files_that_grow_come_or_go(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(PAIRS)
    wanted = Data(source=FilesSource(kind="files", paths=("*.csv",)))
    trained = inputs(tmp_path, wanted)
    assert moved(tmp_path, wanted, trained) == ()
    (tmp_path / "b.csv").write_text(PAIRS)
    assert moved(tmp_path, wanted, trained) == ("b.csv",)
    (tmp_path / "a.csv").write_text(PAIRS + "where,there\n")
    assert moved(tmp_path, wanted, trained) == ("a.csv", "b.csv")
    (tmp_path / "a.csv").unlink()
    assert moved(tmp_path, wanted, trained) == ("a.csv", "b.csv")


def test_a_folder_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text(PAIRS)
    wanted = Data(source=HubSource(kind="hub", dataset="set"))
    trained = inputs(tmp_path, wanted)
    assert moved(tmp_path, wanted, trained) == ()
    (tmp_path / "set" / "train.csv").write_text(PAIRS * 2)
    assert moved(tmp_path, wanted, trained) == ("set/train.csv",)


def test_a_query_is_told_by_its_cursor_and_nothing_is_marked_as_taken(tmp_path: Path) -> None:
    change(tmp_path, "CREATE TABLE tickets (id INTEGER, question TEXT, answer TEXT)", insert(1), insert(2))
    wanted = data(cursor="id")
    trained = inputs(tmp_path, wanted)
    bounds = [path.read_text() for path in (tmp_path / "cache" / "parts").glob("cursor-*.json")]
    assert len(bounds) == 1
    assert moved(tmp_path, wanted, trained) == ()
    change(tmp_path, insert(3))
    assert moved(tmp_path, wanted, trained) == ("sql:shop.db",)
    assert [path.read_text() for path in (tmp_path / "cache" / "parts").glob("cursor-*.json")] == bounds
    change(tmp_path, "DELETE FROM tickets")
    assert moved(tmp_path, wanted, trained) == ("sql:shop.db",)


def test_what_cannot_be_told_cheaply_says_so_and_is_not_called_changed(tmp_path: Path) -> None:
    change(tmp_path, "CREATE TABLE tickets (id INTEGER, question TEXT, answer TEXT)", insert(1))
    pinned = CatalogsSource(kind="catalogs", language="de", packages=("sphinx==8.2.3",))
    wanted = data().model_copy(update={"extra": (pinned, LabelsSource(kind="labels", model="tiny"))})
    found = seen(wanted, tmp_path, tmp_path / "cache", {})
    assert found.inputs == {}
    assert [line.partition(":")[0] for line in found.untold] == ["sql", "catalogs", "labels"]
    assert changed(found, {"sql:shop.db": "1 rows", "labels:tiny": "x"}) == ()
