"""`seqline export`, from a real registry."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.commands.export import export
from flows.settings import Settings
from pipelines import artifact, signature
from pipelines.decode import Decoder
from pipelines.errors import UserError
from pipelines.registry import Registry
from pipelines.spec import Decoding
from tests.on_device.test_folder import run
from tests.registry.conftest import SPEC, make

DECODING = {"beam": 1, "max_tokens": 9}


@pytest.fixture
def settings(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A workspace where version 1 of `tiny` is registered, and is champion."""
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    (tmp_path / "LICENSE").write_text("free")
    own = Settings()
    candidate = make(tmp_path / "work")
    exported = artifact.existing(artifact.Export, served)
    assert exported
    lineage = replace(candidate.lineage, spec=SPEC | {"serving": {"decoding": DECODING}})
    registry = Registry(own.mlflow, own.artifacts)
    registry.register("tiny", replace(candidate, export=exported, lineage=lineage), own.signing_key)
    registry.set_alias("tiny", "champion", "1")
    return own


def test_a_version_becomes_a_folder(
    settings: Settings, tmp_path: Path, served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tiny", "tiny@champion", "tiny@1"):
        export(name, tmp_path / name, as_json=True)
        told = json.loads(capsys.readouterr().out)
        assert (told["version"], told["signer"]) == ("1", signature.fingerprint(settings.signer))
        assert artifact.verify(tmp_path / name, told["manifest"], signer=settings.signer)
    folder = tmp_path / "tiny"
    (answer,) = Decoder(served).generate(["Größe für games"], Decoding.model_validate(DECODING))
    assert run(folder, str(folder / "example.py"), told="Größe für games").stdout == answer.text + "\n"
    assert "# Model card: tiny" in (folder / "MODEL_CARD.md").read_text()
    assert (folder / "LICENSE").read_text() == "free"


def test_what_is_not_there_or_not_ours_is_refused(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="tiny@canary: no version has the alias 'canary': `seqline history tiny`"):
        export("tiny@canary", tmp_path / "out")
    signature.make_key(tmp_path / "eve.key")
    (tmp_path / "eve.pub").write_bytes(signature.public_pem(tmp_path / "eve.key"))
    monkeypatch.setenv("SEQLINE_SIGNER", str(tmp_path / "eve.pub"))
    with pytest.raises(artifact.Corrupt, match="signed by the key"):
        export("tiny", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert settings.signer.name == "signing.pub"
