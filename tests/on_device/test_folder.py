"""The folder answers as the decoder does, on a machine that has neither torch nor transformers nor tokenizers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.settings import Settings
from pipelines import artifact
from pipelines.decode import Decoder
from pipelines.errors import SeqlineError, UserError
from pipelines.on_device import export
from pipelines.on_device.check import refuse_difference
from pipelines.spec import Decoding
from tests.on_device.conftest import ABOUT, DECODING, WORDS

TEXTS = [
    *(" ".join(WORDS[(n * k + n) % len(WORDS)] for k in range(3, 9)) for n in range(1, 39)),
    "Größe der Schlüssel für 12 Spiele", "ÄÖÜ äöü ß ẞ", "„Zitat“: don't, it's", "😀👩\u200d👩\u200d👧",
    "日本語と中文", "  two  spaces  ", "tab\tand\nline",
    "", " ", "<PERSON_1>'s games for <PERSON_1>", "\0 and \x7f", "½ Ⅷ e\u0301",
]  # fmt: skip
ALONE = """
import importlib.abc, json, runpy, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "tokenizers", "pipelines", "flows"}:
            raise ImportError(f"{name} is not on this device")
sys.meta_path.insert(0, Refuse())
import example
json.dump([example.answer(text) for text in json.load(sys.stdin)], sys.stdout)
assert not {"torch", "transformers", "tokenizers", "pipelines"} & sys.modules.keys()
"""


def run(folder: Path, *command: str, told: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *command], input=told, env=environment, cwd="/", capture_output=True, text=True, check=True
    )


def test_it_answers_as_the_decoder_does_without_torch(folder: Path, served: Path) -> None:
    wanted = [answer.text.replace("\0", "") for answer in Decoder(served).generate(TEXTS, DECODING)]
    assert len(TEXTS) == 50
    assert json.loads(run(folder, "-c", ALONE, told=json.dumps(TEXTS)).stdout) == wanted
    assert len({*wanted}) > 1


def test_the_example_is_ten_lines_that_read_a_text_and_print_the_answer(folder: Path, served: Path) -> None:
    text = "Größe der Schlüssel für 12 😀"
    (wanted,) = Decoder(served).generate([text], DECODING)
    done = run(folder, str(folder / "example.py"), told=text)
    assert (done.stdout, done.stderr) == (wanted.text + "\n", "")
    code = (folder / "example.py").read_text().partition("import sentencepiece\n")[2]
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith(("def", "if"))]) <= 13


def test_what_is_cut_is_said(folder: Path, served: Path) -> None:
    text = "files " * 400
    done = run(folder, str(folder / "example.py"), told=text)
    (answer,) = Decoder(served).generate([text], DECODING)
    assert answer.truncated
    assert (done.stdout, done.stderr.endswith("tokens are read\n")) == (answer.text + "\n", True)


def test_the_folder_is_sealed_and_signed_and_says_what_it_is(folder: Path) -> None:
    artifact.verify(folder, signer=Settings().signer)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {
        *("LICENSE", "MODEL_CARD.md", "README.md", "decoding.json", "example.py", "manifest.json", "model.sig"),
        *("model/config.json", "model/model.bin", "model/shared_vocabulary.json", "source.model", "target.model"),
    }
    assert (folder / "MODEL_CARD.md").read_text() == ABOUT.card
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# tiny 7, on a device\n")
    assert max(map(len, readme.splitlines())) < 400


def test_nothing_that_is_there_is_overwritten(served: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        export(served, DECODING, ABOUT, Settings().signing_key, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_model_that_ctranslate2_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "export.json").write_text(json.dumps({"ct2": False, "why_not": "no such architecture"}))
    with pytest.raises(UserError, match="tiny 7: cannot run without torch: CTranslate2 does not know it: no such architecture"):
        export(tmp_path / "export", DECODING, ABOUT, Settings().signing_key, tmp_path / "out")


def test_drawn_answers_are_exported_as_such(served: Path, tmp_path: Path) -> None:
    export(served, Decoding(temperature=0.7, top_k=5), ABOUT, Settings().signing_key, tmp_path / "drawn")
    told = json.loads((tmp_path / "drawn" / "decoding.json").read_text())["translate"]
    assert (told["sampling_temperature"], told["sampling_topk"]) == (0.7, 5)
    assert "they vary from run to run" in (tmp_path / "drawn" / "README.md").read_text()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda told: told | {"words": "."}, r"\d+ of \d+ probes are read differently"),
        (lambda told: told | {"start": "(?!)"}, r"\d+ of \d+ probes are read differently"),
        (
            lambda told: told | {"translate": told["translate"] | {"max_decoding_length": 1}},
            "of 8 probes are answered differently",
        ),
    ],
)
def test_a_folder_that_differs_is_refused_and_no_text_is_named(
    folder: Path, served: Path, tmp_path: Path, spoil, said: str
) -> None:  # type: ignore[no-untyped-def]
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    told = json.loads((folder / "decoding.json").read_text())
    (tmp_path / "decoding.json").unlink()
    (tmp_path / "decoding.json").write_text(json.dumps(spoil(told)))
    with pytest.raises(SeqlineError, match=said):
        refuse_difference(tmp_path, served, DECODING)
