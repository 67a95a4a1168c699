"""What is not loaded: anything but the files that were sealed, and nothing that could run code."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pipelines import signature
from pipelines.artifact import MANIFEST, Corrupt, Export
from pipelines.decode import Decoder
from pipelines.decode.loading import check, compute_type
from tests.decode.conftest import resealed

Altered = Callable[..., Path]
REPO = Path(__file__).parents[2]


def test_a_changed_byte(altered: Altered) -> None:
    folder = altered()
    model = bytearray((folder / "ct2" / "model.bin").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "ct2" / "model.bin").write_bytes(model)
    with pytest.raises(Corrupt, match=r"^export/ct2/model\.bin: the bytes changed"):
        Decoder(folder)


def test_a_missing_and_an_extra_file(altered: Altered) -> None:
    folder = altered()
    (folder / "note.txt").write_text("hello")
    with pytest.raises(Corrupt, match=r"^export/note\.txt: not in the manifest"):
        Decoder(folder)
    (folder / "note.txt").unlink()
    (folder / "ct2" / "config.json").unlink()
    with pytest.raises(Corrupt, match=r"^export/ct2/config\.json: missing"):
        Decoder(folder)


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("name", ["hf/pytorch_model.bin", "ct2/x.PT", "a.pkl", "hf/deep/b.ckpt", "model.bin", "hf/modeling.py"])
def test_a_pickle_is_never_opened(altered: Altered, tmp_path: Path, name: str, sealed: bool) -> None:
    folder = altered()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Payload()))
    if sealed:
        resealed(folder)
    done = watched(folder, tmp_path, "open")
    assert f"Corrupt: export/{name}: could be a pickle" in done.stdout
    assert str(folder / name) not in done.stdout
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("without_ct2", [False, True])
def test_loading_and_decoding_open_no_socket(altered: Altered, tmp_path: Path, without_ct2: bool) -> None:
    done = watched(altered(without_ct2), tmp_path, "socket.")
    assert done.stdout.splitlines() == ["answered"]


def watched(folder: Path, where: Path, event: str) -> "subprocess.CompletedProcess[str]":
    """Load and decode in a process of its own, whose audit hook prints the first argument of each such event."""
    code = """
import sys
sys.addaudithook(lambda event, told: event.startswith(sys.argv[2]) and print(event, told[0]))
from pathlib import Path
from pipelines.decode import Decoder
from pipelines.errors import SeqlineError
from pipelines.spec import Decoding
try:
    Decoder(Path(sys.argv[1])).generate(["a tool that reads maps"], Decoding())
    print("answered")
except SeqlineError as error:
    print(f"{type(error).__name__}: {error}")
"""
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    arguments = [sys.executable, "-c", code, str(folder), event]
    return subprocess.run(arguments, cwd=where, env=environment, check=True, capture_output=True, text=True)


def test_links_and_pipes(altered: Altered, tmp_path: Path) -> None:
    folder = altered()
    config = folder / "hf" / "config.json"
    outside = config.rename(tmp_path / "config.json")
    config.symlink_to(outside)
    with pytest.raises(Corrupt, match=r"^export/hf/config\.json: neither file nor folder"):
        Decoder(folder)  # although its bytes are those of the manifest
    config.unlink()
    outside.rename(config)
    (folder / "more").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(Corrupt, match=r"^export/more: neither file nor folder"):
        Decoder(folder)
    (folder / "more").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(Corrupt, match=r"^export/pipe: neither file nor folder"):
        Decoder(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "hf/../../secret", "hf/./x", "", "hf\\..\\x", "./x"])
def test_a_manifest_that_points_elsewhere(altered: Altered, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("s")
    folder = altered()
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    with pytest.raises(Corrupt):
        Decoder(folder)


def rewritten(folder: Path, change: Callable[[str], str]) -> None:
    (folder / MANIFEST).write_text(change((folder / MANIFEST).read_text()))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n ", "\n\n", 1),
        lambda text: text + " ",
        lambda text: text.replace('"files"', '"filez"'),
        lambda _: "[]",
        lambda _: "",
        lambda _: '{"files": 1}',
        lambda text: text.replace("{", '{"more": 1, ', 1),
    ],
)
def test_a_manifest_that_is_not_as_it_was_sealed(altered: Altered, change: Callable[[str], str]) -> None:
    folder = altered()
    rewritten(folder, change)
    with pytest.raises(Corrupt, match=r"^export/manifest\.json: not a"):
        Decoder(folder)


def test_tensors_that_are_missing_unexpected_or_of_another_shape(altered: Altered) -> None:
    folder = altered(True)
    path = folder / "hf" / "model.safetensors"
    whole = load_file(path)
    name = "model.decoder.layers.0.fc1.weight"
    for tensors, what in (
        ({key: value for key, value in whole.items() if key != name}, f"tensor {name}: missing"),
        (whole | {"model.extra": torch.zeros(2)}, "tensor model.extra: unexpected"),
        (whole | {name: torch.zeros(3, 3)}, f"tensor {name}: not of the shape"),
    ):
        save_file(tensors, path, metadata={"format": "pt"})
        with pytest.raises(Corrupt, match=f"^export/hf: {what}"):
            Decoder(resealed(folder))
    path.write_bytes(b"not safetensors")
    with pytest.raises(Corrupt, match=r"^export/hf: transformers cannot load it"):
        Decoder(resealed(folder))


def test_a_model_that_ctranslate2_cannot_read(altered: Altered) -> None:
    folder = altered()
    data = (folder / "ct2" / "model.bin").read_bytes()
    (folder / "ct2" / "model.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(Corrupt, match=r"^export/ct2: CTranslate2 cannot load it"):
        Decoder(resealed(folder))


def test_with_a_signer_only_what_the_signer_signed(altered: Altered, tmp_path: Path) -> None:
    folder = altered()
    keys = [tmp_path / "one.key", tmp_path / "two.key"]
    for key in keys:
        signature.make_key(key)
        key.with_suffix(".pub").write_bytes(signature.public_pem(key))
    with pytest.raises(Corrupt, match=r"no model\.sig"):
        Decoder(folder, signer=tmp_path / "one.pub")
    signature.sign(folder, keys[0])
    assert Decoder(folder, signer=tmp_path / "one.pub").sha256 == Decoder(folder).sha256
    with pytest.raises(Corrupt):
        Decoder(folder, signer=tmp_path / "two.pub")
    (folder / "export.json").write_text("{}")
    resealed(folder)  # the manifest fits, but who wrote it?
    with pytest.raises(Corrupt):
        Decoder(folder, signer=tmp_path / "one.pub")


@given(place=st.data())
def test_any_byte_of_a_manifest_counts(export: Export, place: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("flip") / "export"
    folder.mkdir()
    for path in sorted(export.path.rglob("*")):
        copy = folder / path.relative_to(export.path)
        copy.mkdir() if path.is_dir() else os.link(path, copy)
    data = bytearray((folder / MANIFEST).read_bytes())
    data[place.draw(st.integers(0, len(data) - 1))] ^= place.draw(st.integers(1, 255))
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_bytes(data)
    with pytest.raises(Corrupt):
        check(folder)


@pytest.mark.parametrize(
    ("exported", "device", "supported", "wanted"),
    [
        ("int8", "cpu", {"int8", "int8_float32", "float32"}, "int8"),
        ("float32", "cpu", {"int8", "float32"}, "float32"),
        ("float16", "cpu", {"int8", "float32"}, "float32"),
        ("bfloat16", "cpu", {"float32"}, "float32"),
        ("int8", "cuda", {"int8_float16", "int8_bfloat16", "float16", "bfloat16", "float32"}, "int8_float16"),
        ("int8", "cuda", {"float16", "float32"}, "float16"),
        ("int8", "cuda", {"float32"}, "float32"),
        ("bfloat16", "cuda", {"bfloat16", "float16", "float32"}, "bfloat16"),
        ("bfloat16", "cuda", {"float16", "float32"}, "float32"),
        ("float16", "cuda", {"float16", "float32"}, "float16"),
        ("float32", "cuda", {"float16", "float32"}, "float32"),
    ],
)
def test_what_it_computes_in(exported: str, device: str, supported: set[str], wanted: str) -> None:
    assert compute_type(exported, device, supported) == wanted
