"""A watch over a real registry, a real rollout database and real traffic: what it finds, decides, writes down and starts."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows.commands.drift import seen
from flows.settings import Settings, spec_of
from flows.watching import attempts, starting
from flows.watching import look as watching
from flows.watching.look import watch
from flows.watching.replayed import pseudonyms, replayed
from pipelines import artifact
from pipelines.errors import SeqlineError, UserError
from pipelines.monitoring.triggers import Decision
from pipelines.registry import Registry
from pipelines.registry.traces import Sampled, Traces
from pipelines.rollout import controller, ledger, status
from pipelines.rollout.store import Event, Store
from tests.flows.test_drift import outputs, project, registered
from tests.monitoring.made_up import stanzas
from tests.registry.conftest import KEY, make

__all__ = ["project"]
SPEC = """
name: tiny
data:
  source: {kind: files, paths: [pairs.csv]}
serving: {review: {share: 1.0}}
watch: {triggers: [drift, source]}
"""


@pytest.fixture
def settings(project: Path) -> Settings:
    (project / "models" / "tiny.yaml").write_text(SPEC)
    (project / "models" / "pairs.csv").write_text("source,target\nwhy,because\n")
    return Settings()


@pytest.fixture
def store(settings: Settings) -> Store:
    made = Store(settings.database)
    settings.folder()
    made.create()
    return made


def published(project: Path) -> None:
    """What the data last trained on was read from."""
    inputs = {"pairs.csv": artifact.file_sha256(project / "models" / "pairs.csv")}
    (project / "data" / "tiny.json").write_text(json.dumps({"facts": {"inputs": inputs}}))


def asked_about_games(registry: Registry, version: str) -> None:
    traces, now = Traces(registry.uri, "tiny", registry.artifacts), time.time()
    pairs = zip(stanzas(220, seed=3, kinds=("games",)), outputs(220, seed=4), strict=True)
    for at, (source, output) in enumerate(pairs):
        tags = {"seqline.version": version}
        traces.write(Sampled(f"r{at}", f"r{at}", source, output, now - 1_000 + at, 0.0, "random", 1.0, 9, 9, tags))


def told(settings: Settings, what: str = "watch") -> dict[str, object]:
    found: dict[str, object] = json.loads((settings.workspace / what / "tiny.json").read_text())
    return found


def test_a_drift_starts_a_retrain_once_and_one_that_fails_is_waited_for(
    project: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, version = registered(project)
    published(project)
    watch("tiny")
    assert "drift          -      unknown: input: 0 distinct texts were compared: 200 are needed" in capsys.readouterr().out
    calm = told(settings)
    assert (calm["decision"], calm["last"]) == ({"retrain": False, "why": "nothing calls for a retrain"}, None)

    asked_about_games(registry, version.version)
    written = sorted(settings.workspace.rglob("*.json"))
    watch("tiny", dry_run=True, as_json=True)
    dry = json.loads(capsys.readouterr().out)
    assert dry["decision"]["retrain"]
    assert dry["decision"]["why"].startswith("drift: drifted: input: section: games: ")
    assert (dry["started"], sorted(settings.workspace.rglob("*.json")), told(settings)) == ("", written, calm)

    (project / "models" / "pairs.csv").write_text("source\n")  # a retrain that cannot be: the file lost its column
    with pytest.raises(UserError, match="no column `target`"):
        watch("tiny")
    began = told(settings)
    assert began["decision"]["retrain"]  # type: ignore[index]
    assert began["last"]["helped"] is None  # type: ignore[index]
    assert told(settings, "drift")["verdict"] == "drifted"
    assert all(side["examples"] == [] for side in told(settings, "drift")["sides"])  # type: ignore[attr-defined]

    watch("tiny")
    shown = capsys.readouterr().out
    after = told(settings)
    assert not after["decision"]["retrain"]  # type: ignore[index]
    assert "not now: the last retrain did not help, 6.0 h of back-off left (drift: drifted: input: section: games" in shown
    assert "source         FIRED  changed: pairs.csv" in shown
    assert after["backoff_until"] == pytest.approx(after["last"]["at"] + 6 * 3_600)  # type: ignore[index]
    assert after["last"] == {**began["last"], "helped": False}  # type: ignore[dict-item]


def test_what_came_of_an_attempt_is_read_from_the_registry_and_the_rollout(
    project: Path, settings: Settings, store: Store
) -> None:
    registry, first = registered(project)

    def history() -> list[tuple[str | None, bool | None]]:
        return [(each.version, each.helped) for each in attempts.history("tiny", False, registry, store, settings)]

    def closed(version: str, outcome: str) -> None:
        number = controller.open(store, "tiny", version, first.version, time.time())
        assert history()[-1] == (version, None), "while it is rolled out nothing is decided"
        with store.transaction() as connection:
            ledger.close(number, outcome, time.time(), connection)

    for key, why, verdict in (("k2", "drift: a", "better"), ("k3", "drift: b", "inconclusive")):
        attempts.add("tiny", time.time() - 1, why, settings)
        assert history()[-1] == (None, False)
        own = make(project / key, key)
        rival = {"champion": {"difference": 1.0, "interval": [0.5, 1.5], "verdict": verdict}}

        def report(folder: Path, own: object = own, rival: object = rival) -> None:
            for path in own.report.path.iterdir():  # type: ignore[attr-defined]
                if path.name != artifact.MANIFEST:
                    (folder / path.name).write_bytes(path.read_bytes())
            scores = json.loads((folder / "scores.json").read_text())
            (folder / "scores.json").write_text(json.dumps({**scores, "comparison": rival}))

        scored = artifact.make(artifact.Report, project / f"report-{key}", report)
        made = registry.register("tiny", replace(own, report=scored, lineage=replace(own.lineage, why=why)), KEY)
        assert registry.lineage("tiny", made.version)["why"] == why
        shown = registry.client.get_model_version("tiny", made.version).description or ""
        assert shown.startswith(f"Retrained because of {why}.")
        closed(made.version, "promoted")
    assert history() == [("2", True), ("3", False)], "let in, but not shown to be better"

    attempts.add("tiny", time.time(), "drift: c", settings)
    assert attempts.history("tiny", True, registry, store, settings)[-1].helped is None, "it is still at work"


def test_a_promoted_retrain_of_somebody_elses_ends_the_back_off(project: Path, settings: Settings, store: Store) -> None:
    registry, first = registered(project)
    published(project)
    (project / "models" / "pairs.csv").write_text("source,target\nwhen,now\n")
    for hours in (3, 2):
        attempts.add("tiny", time.time() - hours * 3_600, "drift: a", settings)

    def why() -> str:
        return watching.look(project / "models" / "tiny.yaml", settings, time.time(), dry_run=True).decision.why

    assert "10.0 h of back-off left" in why(), "twice 6 h, since two in a row did not help"
    assert attempts.relieved_at("tiny", registry, store, settings) == 0
    for key, outcome, said in (
        ("k2", "rolled_back", "10.0 h of back-off left"),
        ("k3", "promoted", "source: changed: pairs.csv"),
    ):
        made = registry.register("tiny", make(project / key, key), KEY)  # a person's: no watch gave a reason
        number = controller.open(store, "tiny", made.version, first.version, time.time())
        with store.transaction() as connection:
            ledger.close(number, outcome, time.time(), connection)
        assert said in why()
    history = attempts.history("tiny", False, registry, store, settings)
    assert [each.helped for each in history] == [False, False], "they did not help all the same"


def test_a_retrain_that_could_not_begin_is_no_failure_of_the_model(
    project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at work, a full disk and a server that is away say nothing of what a retrain would bring."""
    from filelock import FileLock

    from flows.sole import Busy

    registered(project)
    published(project)
    spec, path = spec_of("tiny", settings), project / "models" / "tiny.yaml"
    found = watching.Looked("tiny", 5.0, Decision(True, "drift: a", (), None), None, None)
    attempts.add("tiny", 1.0, "drift: a", settings)
    held = FileLock(settings.folder("run") / "retrain-tiny.lock", is_singleton=False)
    with held, pytest.raises(Busy, match="another retrain is at work"):
        watching.start(found, spec, path, settings)
    with monkeypatch.context() as full:
        full.setattr("flows.settings.RUN_BYTES", 2**80)
        with pytest.raises(SeqlineError, match="too little disk space for a run"):
            watching.start(found, spec, path, settings)
    kept = json.loads((settings.workspace / "watch" / "attempts" / "tiny.json").read_text())
    assert [each["at"] for each in kept] == [1.0]
    (project / "models" / "pairs.csv").write_text("source\n")  # what is wrong with the data is a failure
    assert told(settings)["last"] is None
    with pytest.raises(UserError, match="no column `target`"):
        watching.start(found, spec, path, settings)
    kept = json.loads((settings.workspace / "watch" / "attempts" / "tiny.json").read_text())
    assert [each["at"] for each in kept] == [1.0, 5.0]


def test_a_broken_memory_of_attempts_is_no_empty_one(settings: Settings) -> None:
    attempts.add("tiny", 1.0, "drift", settings)
    (settings.workspace / "watch" / "attempts" / "tiny.json").write_text("[{}]")
    with pytest.raises(UserError, match=r"watch/attempts/tiny\.json: not as `seqline watch` wrote it: remove it"):
        watch("tiny")


def test_nothing_is_started_while_a_rollout_is_open_or_a_person_froze_the_model(settings: Settings, store: Store) -> None:
    from pipelines.rollout import holding

    assert starting.held("tiny", store, settings) == ""
    controller.open(store, "tiny", "7", "6", time.time())
    assert starting.held("tiny", store, settings) == "version 7 is being rolled out"
    status.rollback(store, "tiny", "no good", time.time(), "ann")
    with store.transaction() as connection:
        ledger.close(ledger.latest_rollout("tiny", connection).id, "rolled_back", time.time(), connection)  # type: ignore[union-attr]
    holding.freeze(store, "tiny", "holidays", time.time(), "ann")
    assert starting.held("tiny", store, settings).startswith("frozen by ann since ")


def test_replayed_requests_are_no_traffic(project: Path, settings: Settings, store: Store) -> None:
    import hashlib
    import hmac

    registry, version = registered(project)
    asked_about_games(registry, version.version)
    senders = [f"replay-1-{at}" for at in range(0, 4_400, 20)]
    hashed = [hmac.digest(settings.hmac_key, each.encode(), hashlib.sha256).hex() for each in senders]
    now = time.time()
    events = [
        Event(f"r{at}", hashed[at] if at % 2 else "f" * 64, "champion", version.version, now, {"availability": True}, seq=at)
        for at in range(220)
    ]
    store.append("tiny", "g", events)
    ours = pseudonyms(settings.hmac_key, 5_000)
    assert replayed(store, "tiny", 0.0, ours) == {f"r{at}" for at in range(1, 220, 2)}
    assert replayed(store, "tiny", now + 1, ours) == replayed(store, "other", 0.0, ours) == frozenset()
    assert len(seen(spec_of("tiny", settings), settings, now + 1).answers) == 110

    registry.record(version, "promoted", {}, now - 900, "1-promoted")
    later = seen(spec_of("tiny", settings), settings, now + 1)
    assert later.begun == now - 900
    assert 0 < len(later.answers) < 110, "what was asked of the champion before is another reference's"


def test_with_a_worker_the_retrain_is_a_run_of_its_deployment_and_never_two(settings: Settings, store: Store) -> None:
    from uuid import uuid4

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    from flows.stack.prefect_server import served

    settings.apply()
    spec, path = spec_of("tiny", settings), settings.project / "models" / "tiny.yaml"
    with served(settings), get_client(sync_client=True) as client:
        assert starting.at_work("tiny", settings) == starting.held("tiny", store, settings) == ""
        client.create_work_pool(WorkPoolCreate(name="pool", type="process"))
        flow = client.create_flow_from_name("retrain")
        found = client.create_deployment(
            flow_id=flow, name="tiny", work_pool_name="pool", parameters={"spec": str(path)}, entrypoint="flows.retrain.retrain"
        )
        deployed = starting.deployed(client, "tiny")
        assert deployed is not None
        assert (deployed.id, starting.taken(client, deployed)) == (found, False), "no worker: it would wait for ever"
        client.send_worker_heartbeat("pool", f"worker-{uuid4()}")
        with starting.ready(spec, path, settings) as start:
            said = {start("drift: moved", 1.0) for _ in range(2)}
        runs = client.read_flow_runs()
        assert [(run.deployment_id, run.parameters) for run in runs] == [(found, {"spec": str(path), "why": "drift: moved"})]
        assert said == {f"started as run {runs[0].id} of retrain/tiny in Prefect"}
        assert starting.at_work("tiny", settings) == "a run of retrain/tiny is under way in Prefect"


def test_a_lock_that_another_holds_keeps_the_watch_and_the_retrain_away(project: Path, settings: Settings) -> None:
    from filelock import FileLock

    from flows.sole import Busy

    for work, said in (("retrain", "a retrain is at work"), ("watch", "")):
        lock = FileLock(settings.folder("run") / f"{work}-tiny.lock", is_singleton=False)
        with lock:
            assert starting.at_work("tiny", settings) == said
            if work == "watch":
                with pytest.raises(Busy, match="another watch is at work"):
                    watching.look(project / "models" / "tiny.yaml", settings, time.time())
