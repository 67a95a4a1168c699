"""What a signer vouches for: no byte, file or signature can be other than it was signed, and an auditor's own tool agrees."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import Settings
from pipelines import artifact, signature
from pipelines.artifact import Corrupt
from pipelines.errors import UserError

FILES = {
    "ct2/model.bin": b"\x00\x01weights",
    "ct2/shared_vocabulary.json": b'["a"]',
    "hf/tokenizer.json": b"{}",
    "export.json": b'{"ct2": true}',
}
NO_SOCKET = """
import sys
from pathlib import Path
def hook(event, arguments):
    if event.startswith("socket."):
        raise SystemExit(f"{event} while verifying")
sys.addaudithook(hook)
from pipelines import artifact
artifact.verify(Path(sys.argv[1]), signer=Path(sys.argv[2]))
brought = {name.partition(".")[0] for name in sys.modules} & {"model_signing", "sigstore", "tuf", "urllib3", "requests"}
assert not brought, brought
print("verified")
"""


class Signer:
    """A key, and folders that it signed."""

    def __init__(self, home: Path, name: str) -> None:
        home.mkdir(exist_ok=True)
        self.home, self.private, self.public = home, home / f"{name}.key", home / f"{name}.pub"
        signature.make_key(self.private)
        self.public.write_bytes(signature.public_pem(self.private))

    def signed(self, name: str, **other: bytes) -> Path:
        def write(folder: Path) -> None:
            for file, content in {**FILES, **other}.items():
                (folder / file).parent.mkdir(exist_ok=True)
                (folder / file).write_bytes(content)

        folder = artifact.make(artifact.Export, self.home / name, write).path
        signature.sign(folder, self.private)
        return folder


@pytest.fixture
def ada(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "ada", "ada")


def refused(folder: Path, signer: Path, check: Callable[..., str] = signature.verify) -> str:
    with pytest.raises(Corrupt) as why:
        check(folder, signer)
    assert "\n" not in str(why.value)
    return str(why.value)


def verified(folder: Path, signer: Path) -> str:
    return artifact.verify(folder, signer=signer)


def test_what_is_signed_is_verified_wherever_it_lies(ada: Signer) -> None:
    folder = ada.signed("one").rename(ada.home / "elsewhere")
    assert signature.verify(folder, ada.public) == signature.fingerprint(ada.public) == signature.fingerprint_of(ada.private)
    assert artifact.verify(folder, signer=ada.public) == artifact.verify(folder)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_changed_byte_in_any_file_is_refused(ada: Signer, name: str) -> None:
    folder = ada.signed("one")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    assert refused(folder, ada.public) == f"one/{name}: not the bytes that model.sig signs"
    assert name in refused(folder, ada.public, verified)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_removed_file_is_refused(ada: Signer, name: str) -> None:
    folder = ada.signed("one")
    (folder / name).unlink()
    assert refused(folder, ada.public) == f"one/{name}: missing, but signed"
    assert refused(folder, ada.public, verified)


@pytest.mark.parametrize("name", ["added.txt", "ct2/added.bin", ".gitignore", ".git/config", "hf/model.sig"])
def test_an_added_file_is_refused(ada: Signer, name: str) -> None:
    folder = ada.signed("one")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    assert refused(folder, ada.public) == f"one/{name}: not among the files that model.sig signs"
    assert refused(folder, ada.public, verified) == f"one/{name}: not in the manifest"


@pytest.mark.parametrize("to", ["nowhere", ".."])
def test_an_added_link_is_refused(ada: Signer, to: str) -> None:
    folder = ada.signed("one")
    (folder / "hf" / "more").symlink_to(to)
    assert refused(folder, ada.public) == "one/hf/more: a symbolic link, which no signature covers"
    assert refused(folder, ada.public, verified) == "one/hf/more: not in the manifest"


def test_a_manifest_that_was_made_to_fit_is_refused(ada: Signer) -> None:
    folder = ada.signed("one")
    (folder / "ct2" / "model.bin").write_bytes(b"other weights")
    assert artifact.seal(folder) == artifact.verify(folder)  # manifest and files agree: only the signature tells
    assert refused(folder, ada.public, verified) == "one/ct2/model.bin: not the bytes that model.sig signs"


def test_a_signature_of_another_version_is_refused(ada: Signer) -> None:
    one, other = ada.signed("one"), ada.signed("other", **{"ct2/model.bin": b"weights of the other"})
    (one / "model.sig").write_bytes((other / "model.sig").read_bytes())
    assert refused(one, ada.public, verified) == "one/ct2/model.bin: not the bytes that model.sig signs"


def test_another_signer_is_refused_and_the_mend_is_told(ada: Signer, tmp_path: Path) -> None:
    eve = Signer(tmp_path / "eve", "eve")
    folder = eve.signed("one")
    ours, theirs = signature.fingerprint(ada.public)[:12], signature.fingerprint(eve.public)[:12]
    why = refused(folder, ada.public, verified)
    assert why.startswith(f"one/model.sig: signed by the key {theirs}, not by {ours} (ada.pub): name the signer's")

    bundle = json.loads((folder / "model.sig").read_bytes())
    bundle["verificationMaterial"]["publicKey"]["hint"] = signature.fingerprint(ada.public)  # a claim proves nothing
    (folder / "model.sig").write_text(json.dumps(bundle))
    assert refused(folder, ada.public, verified) == (
        "one/model.sig: the signature is not valid: it was changed, or another key made it"
    )


def test_an_unsigned_folder_is_refused_and_the_mend_is_told(ada: Signer) -> None:
    folder = ada.signed("one")
    (folder / "model.sig").unlink()
    assert artifact.verify(folder)
    assert refused(folder, ada.public, verified) == (
        "one: no model.sig: it was registered unsigned: `seqline retrain` registers a signed version"
    )


@given(
    content=st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_signature_is_refused_in_one_line(ada: Signer, content: bytes) -> None:
    folder = ada.signed("one")
    (folder / "model.sig").write_bytes(content)
    assert refused(folder, ada.public, verified) == "one/model.sig: not a signature of model_signing"


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_signature_never_vouches_for_anything_else(ada: Signer, place: float, bit: int) -> None:
    folder = ada.signed("one")
    wanted = signature.signed_files(folder, ada.public)
    content = bytearray((folder / "model.sig").read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / "model.sig").write_bytes(content)
    try:
        found = signature.signed_files(folder, ada.public)
    except Corrupt:
        return
    assert found == wanted  # what was changed is not what is signed (a key's letter case in `tlogEntries`, say)


def test_the_auditors_own_tool_agrees(ada: Signer, tmp_path: Path) -> None:
    def audit(folder: Path, public: Path) -> "subprocess.CompletedProcess[str]":
        command = ["-m", "model_signing", "verify", "key", str(folder), "--signature", str(folder / "model.sig")]
        return subprocess.run(
            [sys.executable, *command, "--public_key", str(public), "--no-ignore-git-paths"],
            capture_output=True,
            text=True,
            check=False,
        )

    folder = ada.signed("one")
    done = audit(folder, ada.public)
    assert (done.returncode, done.stdout) == (0, "Verification succeeded\n")
    assert audit(folder, Signer(tmp_path / "eve", "eve").public).returncode != 0
    (folder / ".gitattributes").touch()
    assert audit(folder, ada.public).returncode != 0
    (folder / ".gitattributes").unlink()
    (folder / "ct2" / "model.bin").write_bytes(b"other weights")
    artifact.seal(folder)
    done = audit(folder, ada.public)
    assert done.returncode != 0
    assert "ct2/model.bin" in done.stdout + done.stderr


def test_verifying_opens_no_socket_and_brings_no_network_library(ada: Signer) -> None:
    command = [sys.executable, "-c", NO_SOCKET, str(ada.signed("one")), str(ada.public)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "verified\n", "")


def test_keys_that_are_none_are_named(ada: Signer, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    folder = ada.signed("one")
    with pytest.raises(UserError, match=r"ada\.key: not a PEM public key"):
        artifact.verify(folder, signer=ada.private)
    with pytest.raises(UserError, match=r"nowhere\.pub: not a PEM public key"):
        artifact.verify(folder, signer=tmp_path / "nowhere.pub")
    key = ed25519.Ed25519PrivateKey.generate()
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "ed.key").write_bytes(key.private_bytes(pem, pkcs8, plain))
    with pytest.raises(UserError, match=r"ed\.key: not an EC key on P-256"):
        signature.sign(folder, tmp_path / "ed.key")
    assert b"\n" in signature.public_pem(ada.private)


def test_the_workspace_makes_one_key_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path))
    key, public = Settings().signing_key, Settings().signer
    assert (key.parent, key.stat().st_mode & 0o777) == (tmp_path / "run", 0o600)
    made = key.read_bytes()
    assert signature.fingerprint(public) == signature.fingerprint_of(Settings().signing_key)
    assert (Settings().signing_key.read_bytes(), sorted(path.name for path in key.parent.iterdir())) == (
        made,
        ["signing.key", "signing.pub"],
    )


def test_keys_of_ones_own_are_used(ada: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEQLINE_SIGNING_KEY", str(ada.private))
    assert Settings().signing_key == ada.private
    assert signature.fingerprint(Settings().signer) == signature.fingerprint(ada.public)
    monkeypatch.setenv("SEQLINE_SIGNER", str(ada.public))
    assert Settings().signer == ada.public
