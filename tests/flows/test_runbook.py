"""Every runbook, run as typed against a real gateway: the commands of the page, and the check that proves what they did."""

import json
import random
import shlex
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.settings import Settings
from pipelines import dataset
from pipelines.errors import UserError
from pipelines.rollout import controller, ledger
from pipelines.rollout.store import Route, Store
from pipelines.spec import Spec, load
from tests.dataset.project import make_dataset
from tests.flows.project import Project
from tests.operations.kept import Kept, kept
from tests.registry.conftest import make
from tests.serving.conftest import export  # noqa: F401  the tiny model that serves
from tests.serving.managed import Managed

ROOT = Path(__file__).parent.parent.parent
PAGES = ("backup-model", "drain", "freeze", "restore", "rollback", "scale", "shrink-beam")
SPEC = """# a model to operate
name: tiny
data: {{source: {{kind: files, paths: [unused.jsonl]}}}}
privacy: {{entities: [PERSON, EMAIL_ADDRESS]}}
tokens: {{vocabulary: 320}}
training: {{architecture: {{width: 16, heads: 2, encoder_layers: 1, decoder_layers: 1}}, steps: 2}}
serving:
  port: {port}
  admin_port: {admin}
  timeout_ms: 20000             # the machine may be busy
  review: {{per_hour: 0}}
  decoding: {{beam: 2, max_tokens: 8}}
  endpoints:
    cloud: {{url: {cloud}, protocol: seqline}}
"""


class Place:
    """A project's folder with the model `tiny`, and the commands typed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.yaml = folder / "models" / "tiny.yaml"
        shutil.copytree(ROOT / "infra" / "runbooks", folder / "infra" / "runbooks")
        self.settings = Settings.model_validate({"SEQLINE_PROJECT": folder, "SEQLINE_HOME": folder / ".seqline"})
        self.settings.folder("run")
        self.store = Store(self.settings.database)
        self.store.create()

    def seqline(self, *words: str, code: int = 0) -> str:
        """What a command says, run in this process; the steps of a runbook have processes of their own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEQLINE_PROJECT", str(self.folder))
            patch.setenv("SEQLINE_HOME", str(self.folder / ".seqline"))
            patch.setenv("PREFECT_HOME", str(self.folder))
            done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    def runbook(self, name: str, *words: str) -> list[dict[str, Any]]:
        """What each step came to; the last one is the check."""
        told = json.loads(self.seqline("runbook", name, "tiny", "--run", "--json", *words))
        codes = [each["code"] for each in told["done"]]
        assert codes == [0] * len(codes)
        assert told["done"][-1]["step"]["check"]
        return list(told["done"])

    def route(self) -> Route:
        return self.store.route("tiny") or Route(None)


def lasting_port() -> int:
    """A port that is free, and that the system gives to nobody while a gateway starts anew: below those it gives away."""
    while True:
        port = random.randrange(12_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def operated(folder: Path, cloud: str = "http://127.0.0.1:9") -> Place:
    """A place with a model that can be served."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "tiny.yaml").write_text(SPEC.format(port=lasting_port(), admin=lasting_port(), cloud=cloud))
    return Place(folder)


@pytest.fixture
def cloud() -> Iterator[Managed]:
    running = Managed()
    yield running
    running.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = operated(tmp_path / "place")
    yield made
    made.store.engine.dispose()


@pytest.fixture
def serving(tmp_path: Path, cloud: Managed, export: Path) -> Iterator[tuple[Place, Kept]]:  # noqa: F811
    """Version 1 was let in by the gates alone; version 2 is in shadow beside it."""
    made = operated(tmp_path / "place", f"{cloud.url}/v1/generate")
    first = controller.open(made.store, "tiny", "1", None, time.time())
    with made.store.transaction() as connection:
        made.store.set_route("tiny", Route("1"), connection)
        ledger.close(first, "promoted", time.time(), connection)
    controller.open(made.store, "tiny", "2", "1", time.time())
    with kept(made.yaml, made.settings, export) as running:
        yield made, running
    made.store.engine.dispose()


def test_the_pages_are_those_that_are_promised_and_are_shown_filled_in(place: Place) -> None:
    shown = place.seqline("runbook", "freeze", "tiny", "--why", "it's odd")
    assert "$ seqline doctor tiny --only nothing-rises" in shown
    assert "--why 'it'\"'\"'s odd'" in shown
    with pytest.raises(UserError, match=f"nonsense: no such runbook: there are {', '.join(PAGES)}"):
        place.seqline("runbook", "nonsense", "tiny")
    with pytest.raises(UserError, match="scale: needs a value for threads: add `--set threads=VALUE`"):
        place.seqline("runbook", "scale", "tiny")
    with pytest.raises(UserError, match="--from 9: drain has 3 steps"):
        place.seqline("runbook", "drain", "tiny", "--run", "--from", "9")


def test_every_page_does_to_a_gateway_what_it_says(serving: tuple[Place, Kept]) -> None:
    place, gateway = serving
    place.runbook("freeze", "--why", "a drill")
    assert place.route().canary == "2"
    place.runbook("rollback", "--why", "a drill")
    assert (place.route().champion, place.route().canary) == ("1", None)

    assert gateway.starts == 1
    place.runbook("shrink-beam")
    assert gateway.starts == 2
    assert load(place.yaml).serving.overload.smaller_beam_at == 0
    assert "timeout_ms: 20000             # the machine may be busy" in place.yaml.read_text()

    place.runbook("backup-model")  # frozen already: it stays so
    assert place.route().champion == "endpoint:cloud"
    place.runbook("scale", "--set", "threads=1")
    assert gateway.starts == 3
    assert load(place.yaml).serving.threads == 1

    gateway.keep = False
    done = place.runbook("drain")
    assert "it has ended, and nobody started another one" in done[-1]["said"]
    rows = [json.loads(line) for line in (place.folder / ".seqline" / "runbooks" / "tiny.jsonl").read_text().splitlines()]
    assert {row["runbook"] for row in rows} == set(PAGES) - {"restore"}
    assert {row["code"] for row in rows} == {0}


def test_a_diversion_ends_a_rollout_and_can_be_taken_back(place: Place) -> None:
    first = controller.open(place.store, "tiny", "1", None, time.time())
    with place.store.transaction() as connection:
        place.store.set_route("tiny", Route("1"), connection)
        ledger.close(first, "promoted", time.time(), connection)
    with pytest.raises(UserError, match="nobody was diverted: version 1 serves everybody"):
        place.seqline("divert", "tiny", "--back")
    controller.open(place.store, "tiny", "2", "1", time.time())
    assert "endpoint:cloud serves everybody instead of 1" in place.seqline("divert", "tiny", "cloud", "--why", "away")
    assert place.store.open_rollout("tiny") is None
    with pytest.raises(UserError, match="endpoint:cloud serves everybody already"):
        place.seqline("divert", "tiny")
    with pytest.raises(UserError, match=r"moon: must be one of serving\.endpoints: cloud"):
        place.seqline("divert", "tiny", "moon")
    assert "1 serves everybody instead of endpoint:cloud" in place.seqline("divert", "tiny", "--back")
    assert place.route().champion == "1"
    with place.store.transaction() as connection:
        decided = [(row["version"], row["action"]) for row in ledger.latest_decisions("tiny", 9, connection)]
        events = [each.payload["event"] for each in ledger.pending("tiny", connection) if each.effect == "record"]
    assert decided == [("2", "diverted back"), ("2", "diverted"), ("2", "rollback")]
    assert events[-3:] == ["rolled back", "diverted", "diverted back"]  # the registry's history is told


def test_a_key_of_the_yaml_is_set_and_set_back(place: Place) -> None:
    before = place.yaml.read_text()
    said = place.seqline("set", "tiny", "serving.queue=64", "serving.decoding.beam=4", "serving.overload.stale_at=0.5")
    assert (load(place.yaml).serving.queue, load(place.yaml).serving.decoding.beam) == (64, 4)
    undo = shlex.split(said.partition("undo ")[2])
    assert undo[:2] == ["seqline", "set"]
    place.seqline(*undo[1:])
    assert load(place.yaml) == load_text(before, place.folder)
    assert "says so already" in place.seqline("set", "tiny", "serving.decoding.beam=2")
    for wrong, said in (
        ("serving.queue=none", "tiny.yaml: serving.queue:"),
        ("serving.nothing=1", "tiny.yaml: serving.nothing:"),
        ("name.more=1", "name.more: name is no section"),
        ("serving=1", "only single values can be set"),
        ("serving.queue", "serving.queue: must be KEY=VALUE"),
        ("serving.queue=[", r"queue=\[: is no YAML"),
        ("serving.queue={a: b: c}", "queue={a: b: c}: is no YAML"),
        ("serving.queue=2026-13-45", "queue=2026-13-45: is no YAML"),
    ):
        kept_text = place.yaml.read_text()
        with pytest.raises(UserError, match=said):
            place.seqline("set", "tiny", wrong)
        assert place.yaml.read_text() == kept_text
    assert [path.name for path in place.yaml.parent.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(("broken", "said"), [("serving: [", "is no YAML"), ("", "must have keys"), ("- a", "must have keys")])
def test_a_yaml_that_is_none_is_not_amended(place: Place, broken: str, said: str) -> None:
    place.yaml.write_text(broken)
    with pytest.raises(UserError, match=said):
        place.seqline("set", str(place.yaml), "serving.queue=64")
    assert place.yaml.read_text() == broken


def load_text(text: str, folder: Path) -> Spec:
    path = folder / "before.yaml"
    path.write_text(text)
    return load(path)


def test_a_step_that_fails_ends_the_run_and_is_where_the_next_one_begins(place: Place) -> None:
    said = place.seqline("runbook", "drain", "tiny", "--run", code=1)  # nothing serves
    assert "stopped at step 1: exit status 3" in said  # the doctor's: a gap
    assert "mend it, then: seqline runbook drain tiny --run --from 1" in said
    said = place.seqline("runbook", "drain", "tiny", "--run", "--from", "2", code=1)
    assert "does not answer: the gateway of tiny does not run here" in said
    with pytest.raises(UserError, match="no backup is known"):
        place.seqline("restore")


def test_what_was_destroyed_is_restored(tmp_path: Path) -> None:
    """Both databases, a version's files, the data and its objects, the signing key: gone or garbage, then as they were."""
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    place, folder = Place(project.folder), project.folder
    home, settings = folder / ".seqline", project.settings
    pointer = dataset.publish(make_dataset(home / "work" / "tiny", range(20)), "tiny", folder)
    candidate = make(tmp_path / "made")
    candidate = replace(candidate, lineage=replace(candidate.lineage, data_md5=pointer.md5))
    registry = project.registry
    version = registry.register("tiny", candidate, settings.signing_key)
    registry.set_alias("tiny", "champion", version.version)
    with place.store.transaction() as connection:
        place.store.set_route("tiny", Route(version.version), connection)
    place.store.engine.dispose()
    settings.signer.read_bytes()  # made with the signing key
    place.seqline("backup")
    rows = (folder / "data" / "tiny" / "train.parquet").read_bytes()

    for database in ("rollout.db", "mlflow.db"):
        (home / database).write_bytes(b"not a database at all" * 200)
    shutil.rmtree(home / "mlartifacts")
    shutil.rmtree(home / "dvc")
    shutil.rmtree(folder / ".dvc" / "cache")
    shutil.rmtree(folder / "data")
    (home / "run" / "signing.key").unlink()
    assert "GAP" in place.seqline("doctor", "tiny", "--only", "memory-whole", code=3)

    done = place.runbook("restore")
    assert "every version in the route has all its files" in done[-1]["said"]
    assert (folder / "data" / "tiny" / "train.parquet").read_bytes() == rows
    beside = {path.name.partition(".broken-")[0] for path in home.glob("*.broken-*")}
    assert beside == {"rollout.db", "mlflow.db"}  # what was there is kept
    with sqlite3.connect(home / "rollout.db") as connection:
        assert connection.execute("select champion from route").fetchall() == [(version.version,)]
    connection.close()
