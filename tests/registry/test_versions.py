"""A version is registered whole or not at all, and only whole ones are used."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import artifact, signature
from pipelines.errors import GateClosed, SeqlineError, UserError
from pipelines.registry import Candidate, Registry, Version
from tests.registry.conftest import KEY, SIGNER, Make, make

REGISTER = """
import sys
from pathlib import Path
from pipelines.registry import Registry
from tests.registry.conftest import KEY, make
home = Path(sys.argv[1])
files = {f"hf/part-{n}": str(n) for n in range(2000)}
candidate = make(home / "work", "killed", weights=files)
registry = Registry(f"sqlite:///{home / 'mlflow.db'}", home / "mlartifacts")
print(registry.register("tiny", candidate, KEY).version, flush=True)
"""


def runs(registry: Registry) -> list[str]:
    experiment = registry.client.get_experiment_by_name("tiny")
    return [run.info.status for run in registry.client.search_runs([experiment.experiment_id])] if experiment else []


def test_registers_once_and_finds_it(registry: Registry, candidate: Make) -> None:
    assert registry.find("tiny", "k1") is None
    made = registry.register("tiny", candidate(), KEY)
    assert made == Version("tiny", "1", made.run_id, candidate().export.sha256)
    assert registry.register("tiny", candidate(), KEY) == made == registry.find("tiny", "k1")
    assert registry.register("tiny", candidate("k2"), KEY).version == "2"
    assert runs(registry) == ["FINISHED", "FINISHED"]
    registry.usable("tiny", "1")


def test_the_run_holds_scores_params_and_card(registry: Registry, candidate: Make) -> None:
    run = registry.client.get_run(registry.register("tiny", candidate(), KEY).run_id)
    assert run.data.metrics["rougeL"] == 11.25
    assert (run.data.metrics["lead.rougeL.low"], run.data.metrics["lead.rougeL.high"]) == (29.0, 31.0)
    assert run.data.metrics["recall.known.en.PERSON"] == 0.9
    assert run.data.metrics["judge.flagged.high"] == 5.0
    assert run.data.params["training.steps"] == "3"
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("data/tiny", "b" * 32)
    card = registry.text(run.info.run_id, "model/README.md") or ""
    assert "| rougeL | 11.25 [10.25, 12.25] | 30.00 [29.00, 31.00] |" in card
    assert "| PERSON | en | 12 | 0.90 [0.60, 0.98] | 0.80 [0.50, 0.94] |" in card
    assert "| URL | en | 3 | not measured | not measured |" in card


def test_files_name_no_place_on_this_machine(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    registry.register("tiny", candidate(), KEY)
    files = [path for path in (tmp_path / "mlartifacts").rglob("*") if path.is_file()]
    assert any(path.name == "MLmodel" for path in files)
    house = str(Path(__file__).parents[2]).encode()
    assert [path for path in files if str(tmp_path).encode() in path.read_bytes() or house in path.read_bytes()] == []
    assert not any(path.is_symlink() for path in files)


def test_a_closed_gate_registers_nothing(registry: Registry, candidate: Make) -> None:
    with pytest.raises(GateClosed) as refused:
        registry.register("tiny", candidate(passed=False), KEY)
    assert refused.value.reasons == ("reads_source",)
    assert runs(registry) == []


def test_an_export_changed_after_scoring_is_refused(registry: Registry, candidate: Make) -> None:
    changed = candidate()
    (changed.export.path / "ct2/model.bin").write_text("other weights")
    with pytest.raises(artifact.Corrupt, match="the bytes changed"):
        registry.register("tiny", changed, KEY)
    assert runs(registry) == []


def test_a_full_or_broken_store_leaves_nothing_half_made(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").write_text("a file where a folder should be")
    with pytest.raises(SeqlineError, match="Not a directory"):
        registry.register("tiny", candidate(), KEY)
    assert runs(registry) == []
    (tmp_path / "mlartifacts").unlink()
    assert registry.register("tiny", candidate(), KEY).version == "1"


def broken(registry: Registry, version: Version) -> str:
    with pytest.raises(SeqlineError) as refused:
        registry.usable(version.name, version.version)
    assert registry.find(version.name, "k1") is None
    return str(refused.value)


def test_says_why_a_version_is_not_usable(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    made = registry.register("tiny", candidate(), KEY)
    model = next((tmp_path / "mlartifacts").rglob("MLmodel")).parent

    gate = (model / "report/gate.json").read_text()
    (model / "report/gate.json").write_text(gate.replace("reads_source", "nothing"))
    assert "its gate record is missing or was changed" in broken(registry, made)
    (model / "report/gate.json").write_text(gate)

    manifest = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(manifest.replace("gate", "gates"))
    assert "manifest.json was changed" in broken(registry, made)
    (model / "manifest.json").unlink()
    assert "manifest.json is missing" in broken(registry, made)
    (model / "manifest.json").write_text(manifest)
    registry.usable("tiny", "1")

    registry.client.set_terminated(made.run_id, "FAILED")
    assert "FAILED" in broken(registry, made)


def test_a_version_made_by_hand_is_not_usable(registry: Registry, candidate: Make) -> None:
    made = registry.register("tiny", candidate(), KEY)
    registry.client.create_model_version("tiny", made.source, made.run_id)
    with pytest.raises(SeqlineError, match=r"not usable: it has no tag seqline\.key"):
        registry.usable("tiny", "2")
    with pytest.raises(SeqlineError, match="version=9"):
        registry.usable("tiny", "9")


def test_fetch_gives_the_sealed_export(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    made = registry.register("tiny", candidate(), KEY)
    folder = registry.fetch("tiny", "1", tmp_path / "live")
    assert folder == tmp_path / "live/1"
    assert artifact.verify(folder) == candidate().export.sha256
    inode = folder.stat().st_ino
    assert registry.fetch("tiny", "1", tmp_path / "live").stat().st_ino == inode

    (folder / "ct2/model.bin").write_text("bit rot")
    assert artifact.verify(registry.fetch("tiny", "1", tmp_path / "live"), made.manifest)
    assert [path.name for path in (tmp_path / "live").iterdir()] == ["1"]


def test_fetch_refuses_a_poisoned_file(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    registry.register("tiny", candidate(), KEY)
    next((tmp_path / "mlartifacts").rglob("ct2/model.bin")).write_text("poison")
    with pytest.raises(artifact.Corrupt, match=r"ct2/model.bin: the bytes changed"):
        registry.fetch("tiny", "1", tmp_path / "live")
    assert list((tmp_path / "live").iterdir()) == []


def test_aliases(registry: Registry, candidate: Make) -> None:
    assert registry.champion("tiny") is None
    made = registry.register("tiny", candidate(), KEY)
    assert registry.champion("tiny") is None
    registry.set_alias("tiny", "champion", made.version)
    assert registry.champion("tiny") == made
    registry.set_alias("tiny", "champion", None)
    registry.set_alias("tiny", "champion", None)
    assert registry.champion("tiny") is None


def test_kill_9_while_registering_leaves_nothing_usable_and_is_made_good(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", REGISTER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd())
    deadline = time.monotonic() + 120
    while not list((tmp_path / "mlartifacts").glob("tiny/*/artifacts/model/*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert (process.returncode, output) == (-signal.SIGKILL, b"")

    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlartifacts")
    assert registry.find("tiny", "killed") is None
    assert runs(registry) == ["RUNNING"]
    assert registry.register("tiny", make(tmp_path / "work", "killed"), KEY).version == "1"
    assert runs(registry) == ["FINISHED"]
    registry.usable("tiny", "1")
    assert len(list((tmp_path / "mlartifacts").glob("tiny/*/artifacts/model"))) == 1


def test_an_unreadable_scores_file_is_named(registry: Registry, candidate: Make) -> None:
    poor: Candidate = candidate()
    (poor.report.path / "scores.json").write_text("{")
    with pytest.raises(SeqlineError, match=r"report-k1-True/scores\.json: cannot be read"):
        registry.register("tiny", poor, KEY)


def unsigned(registry: Registry, version: str) -> None:
    """Make a version as those were that seqline registered before it signed: no signature, no tag."""
    for path in registry.artifacts.rglob("model.sig") if registry.artifacts else ():
        path.unlink()
    registry.client.delete_model_version_tag("tiny", version, "seqline.signer")


def test_every_version_is_signed_and_fetch_checks_it(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    registry.register("tiny", candidate(), KEY)
    folder = registry.fetch("tiny", "1", tmp_path / "live", SIGNER)
    assert signature.verify(folder, SIGNER) == signature.fingerprint(SIGNER) == registry.lineage("tiny", "1")["signer"]
    assert artifact.verify(folder, signer=SIGNER) == candidate().export.sha256
    assert not (candidate().export.path / "model.sig").exists()

    (folder / "model.sig").unlink()  # rot here is made good from the registry
    assert signature.verify(registry.fetch("tiny", "1", tmp_path / "live", SIGNER), SIGNER)


def test_fetch_refuses_a_version_that_another_key_signed(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    signature.make_key(other := tmp_path / "other.key")
    (public := tmp_path / "other.pub").write_bytes(signature.public_pem(other))
    registry.register("tiny", candidate(), KEY)
    with pytest.raises(artifact.Corrupt, match=r"signed by the key \w{12}, not by \w{12} \(other\.pub\): name"):
        registry.fetch("tiny", "1", tmp_path / "live", public)
    assert list((tmp_path / "live").iterdir()) == []
    assert registry.register("tiny", candidate(), other).version == "2"
    assert registry.fetch("tiny", "2", tmp_path / "live", public)


def test_a_version_from_before_signatures_is_refused_and_a_retrain_mends_it(
    registry: Registry, candidate: Make, tmp_path: Path
) -> None:
    registry.register("tiny", candidate(), KEY)
    unsigned(registry, "1")
    with pytest.raises(artifact.Corrupt, match=r"no model\.sig: it was registered unsigned: `seqline retrain`"):
        registry.fetch("tiny", "1", tmp_path / "live", SIGNER)
    assert registry.fetch("tiny", "1", tmp_path / "live")  # to read, not to serve: a retrain compares with it
    assert registry.lineage("tiny", "1")["signer"] is None
    assert registry.register("tiny", candidate(), KEY).version == "2"
    assert registry.register("tiny", candidate(), KEY).version == "2"
    assert registry.fetch("tiny", "2", tmp_path / "live", SIGNER)


def test_a_key_that_cannot_sign_registers_nothing(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    (tmp_path / "wrong.pem").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(UserError, match=r"wrong\.pem: not a PEM private key without password: `openssl"):
        registry.register("tiny", candidate(), tmp_path / "wrong.pem")
    assert runs(registry) == []
