"""Which YAML a model's name means."""

from pathlib import Path

import pytest

from flows.settings import Settings, find_spec
from pipelines.errors import UserError


@pytest.mark.parametrize("line", ["name: tiny", 'name: "tiny"', "name:   'tiny'  # the small one"])
def test_a_name_is_found_however_yaml_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.yaml").write_text(f"# a model\n{line}\n")
    (tmp_path / "models" / "b.yaml").write_text("name: tiny-de\n")
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    settings = Settings()
    assert find_spec("tiny", settings).name == "a.yaml"
    with pytest.raises(UserError, match="no YAML in models/"):
        find_spec("tin.", settings)


def test_two_of_one_name_are_both_named_and_what_is_no_text_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    for name in ("a", "b"):
        (tmp_path / "models" / f"{name}.yaml").write_text("name: tiny\n")
    (tmp_path / "models" / "c.yaml").write_bytes(b"name: caf\xe9\n")
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    with pytest.raises(UserError, match=r"tiny: models/a\.yaml and models/b\.yaml have this name"):
        find_spec("tiny", Settings())
    (tmp_path / "models" / "b.yaml").unlink()
    assert find_spec("tiny", Settings()).name == "a.yaml"
