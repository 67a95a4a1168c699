"""Deleting from backups: one that cannot be read must not keep the others."""

from pathlib import Path

from pipelines.registry import copies


def test_a_backup_that_cannot_be_read_is_put_aside_and_named(tmp_path: Path) -> None:
    for stamp, database in (("20260101T000000Z", b"no database, for long enough" * 50), ("20260102T000000Z", None)):
        folder = tmp_path / "backups" / stamp
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"files": {}}')
        if database:
            (folder / "mlflow.db").write_bytes(database)
    assert copies.strip(tmp_path, "tiny", {"traces": ["tr-1"], "requests": [], "before": None}) == []
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["20260102T000000Z"]
    assert copies.aside(tmp_path) == [tmp_path / "backup.broken-20260101T000000Z"]
