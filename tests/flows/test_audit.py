"""`seqline audit`: what stands in a file, told without telling it; how well a slice was scrubbed."""

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from flows.commands import audit_file
from flows.commands.audit import audit, measures, of_model
from flows.settings import Settings
from pipelines.errors import UserError
from pipelines.spec import Privacy, load
from tests.flows.project import SPEC

PATTERNS = Privacy(level="patterns", entities=("EMAIL_ADDRESS", "CREDIT_CARD"))
MAIL, CARD = "ann.lee@example.org", "4111 1111 1111 1111"


def command(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(audit)
    return CliRunner().invoke(app, arguments)


def text(path: Path) -> None:
    path.write_text(f"nothing here\nwrite to {MAIL} and pay with {CARD}\n")


def packed(path: Path) -> None:
    path.write_bytes(gzip.compress(f"nothing here\nwrite to {MAIL} and pay with {CARD}\n".encode(), mtime=0))


def table(path: Path) -> None:
    path.write_text(f'name,mail\nAnn,"write to\n{MAIL}"\nBob,{CARD}\n')


def lines(path: Path) -> None:
    path.write_text(json.dumps({"a": "nothing"}) + "\n\n" + json.dumps({"a": {"b": [f"mail {MAIL}", CARD]}, "n": 3}) + "\n")


def parquet(path: Path) -> None:
    pq.write_table(pa.table({"mail": ["nothing", f"mail {MAIL}"], "card": [None, {"number": CARD}]}), path)


@pytest.mark.parametrize(
    ("name", "write", "mail", "card"),
    [
        ("a.txt", text, ("line 2", 9), ("line 2", 42)),
        ("a.md.gz", packed, ("line 2", 9), ("line 2", 42)),
        ("a.csv", table, ("row 2 column 2", 9), ("row 3 column 2", 0)),
        ("a.jsonl", lines, ("line 3 key a.b[0]", 5), ("line 3 key a.b[1]", 0)),
        ("a.parquet", parquet, ("row 2 column mail", 5), ("row 2 column card.number", 0)),
    ],
)
def test_what_stands_where_and_never_what(tmp_path: Path, name: str, write, mail, card) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / name)
    found = audit_file.audit(tmp_path / name, PATTERNS)
    places = {each["entity"]: (each["where"], each["start"]) for each in found["findings"]}
    assert places == {"EMAIL_ADDRESS": mail, "CREDIT_CARD": card}
    assert found["entities"]["EMAIL_ADDRESS"]["spans"] == 1
    assert not [value for value in (MAIL, CARD) if value in json.dumps(found)]
    shown = audit_file.audit(tmp_path / name, PATTERNS, show=True)
    assert {each["value"] for each in shown["findings"]} == {MAIL, CARD}


def test_a_long_line_is_read_in_pieces_and_places_are_the_lines_own(tmp_path: Path) -> None:
    content = "word " * 3_000 + MAIL + " word" * 2_000
    (tmp_path / "a.txt").write_text(content)
    (finding,) = audit_file.audit(tmp_path / "a.txt", PATTERNS)["findings"]
    assert content[finding["start"] : finding["end"]] == MAIL


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"fine\nf\xffne\n", "is not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"secret', "after line 1: cannot be read as jsonl"),
        ("a.parquet", b"PAR1 secret", "cannot be read as parquet"),
        ("a.txt.gz", gzip.compress(b"secret" * 99, mtime=0)[:30], "cannot be read as txt"),
        ("b.txt", None, "no such file"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as refused:
        list(audit_file.read(tmp_path / name))
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_on_a_file(tmp_path: Path) -> None:
    text(tmp_path / "a.txt")
    spec = tmp_path / "tiny.yaml"
    policy = "{level: patterns, entities: [EMAIL_ADDRESS]}"
    spec.write_text(SPEC.format(steps=1, test=2, port=1).replace("{entities: [PERSON, EMAIL_ADDRESS]}", policy))
    shown = command(str(tmp_path / "a.txt"), "--spec", str(spec))
    assert shown.exit_code == 0, shown.exception
    assert "line 2 (9-28)" in shown.output
    assert MAIL not in shown.output
    assert json.loads(command(str(tmp_path / "a.txt"), "--spec", str(spec), "--json").output)["entities"]["EMAIL_ADDRESS"] == {
        "spans": 1,
        "per_1000_words": pytest.approx(1000 / 13, abs=100),
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.txt", "--show"], "to a terminal only"),
        (["a.txt", "--who", "x"], "--who: needs a model"),
        (["a.txt"], "a.txt: no such file"),
        (["nobody"], "nobody: no YAML in models/"),
    ],
)
def test_a_users_mistakes(arguments: list[str], said: str) -> None:
    refused = command(*arguments)
    assert isinstance(refused.exception, UserError)
    assert said in str(refused.exception)


def test_a_slice_with_what_was_not_measured(tmp_path: Path) -> None:
    spec = tmp_path / "tiny.yaml"
    spec.write_text(SPEC.format(steps=1, test=2, port=1))
    settings = Settings.model_validate({"SEQLINE_PROJECT": tmp_path, "SEQLINE_HOME": tmp_path / "home"})
    clean = tmp_path / "home" / "work" / "tiny" / "clean-1"
    clean.mkdir(parents=True)
    measured = {"values": 10, "missed": 1, "recall": 0.9, "interval": [0.555, 0.9975]}
    facts = {
        "pairs": 7,
        "entities": {"PERSON": {"spans": 5, "values": 4}},
        "known": {"en": {"PERSON": measured}},
        "audit": {},
        "quarantined": {"sides disagree": 2},
        "false_positives": {"words": 900, "share": 0.5, "before": 2.0, "after": 0.7},
    }
    (clean / "scrub.json").write_text(json.dumps(facts))
    (clean / "manifest.json").write_text("{}")
    found = of_model(load(spec), settings)
    assert found["of"] == "clean-1"
    assert found["recall"]["en"]["PERSON"] == {"verdict": "measured", "known": measured, "planted": None}
    assert found["recall"]["en"]["EMAIL_ADDRESS"]["verdict"] == "not measured"
    assert found["quarantined"] == {"sides disagree": 2}
    assert found["trail"] is None
    console = Console(file=io.StringIO(), width=200)
    console.print(measures(found))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "1 of 10 missed: recall 90.0% [55.5%, 99.8%]",
        "sides disagree 2",
        "0.7 per 1,000",
        "scrubbed: en EMAIL_ADDRESS",
    ):
        assert part in shown
