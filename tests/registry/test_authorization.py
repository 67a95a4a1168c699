"""Who may let a model in, and how the history knows who did: by the pure rules, and on a real MLflow server with names."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry import Registry
from pipelines.registry.authorization import production, writers
from pipelines.registry.stamps import PERSON, person, stamp
from tests.registry.conftest import KEY, Make

ROOT = Path(__file__).parents[2]
AUDIT = b"a key of the server's and the controller's"
PASSWORD = "a password of sixteen"
PEOPLE = ("ann", "bob", "eve", "seqline")
APPROVERS = "ann, bob"
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(names, names, names)
def test_a_stamp_names_who_made_this_version_and_no_other(model: str, version: str, who: str) -> None:
    made = stamp(AUDIT, model, version, who)
    assert person(AUDIT, model, version, made) == who
    for key, of, number, tag in (
        (b"another key", model, version, made), (AUDIT, model + "-prod", version, made), (AUDIT, model, version + "1", made),
        (AUDIT, model, version, made + "x"), (AUDIT, model, version, who), (AUDIT, model, version, None),
        (AUDIT, model, version, ""),
    ):  # fmt: skip
        assert person(key, of, number, tag) is None


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"name": "tiny-prod"}, "tiny-prod"), ({"name": "tiny", "new_name": "tiny-prod"}, "tiny-prod"),
        ({"name": "tiny", "newName": "tiny-prod"}, "tiny-prod"),
        ({"name": "tiny"}, None), ({"name": ["tiny-prod"]}, None), ({}, None), ([], None), (None, None), ("tiny-prod", None),
    ],
)  # fmt: skip
def test_it_is_about_a_production_model_or_not(body: object, model: str | None) -> None:
    assert production(body) == model


def test_only_approvers_and_the_controller_may_write() -> None:
    assert writers({"SEQLINE_APPROVERS": " ann,bob ,,"}) == {"ann", "bob", "seqline"}
    assert writers({"SEQLINE_CONTROLLER": "robot"}) == {"robot"}


@dataclass(frozen=True)
class Named:
    """A server with users: `log` is the log of approvals."""

    url: str
    log: Path

    def post(self, who: str, path: str, body: Any) -> requests.Response:
        secret = PASSWORD if who != "admin" else "admin's " + PASSWORD
        return requests.post(f"{self.url}/api/2.0/mlflow/{path}", json=body, auth=(who, secret), timeout=60)

    def press(self, who: str, version: str, *, to: str = "tiny-prod") -> requests.Response:
        query = {"name": "tiny", "version": version}
        auth = (who, PASSWORD)
        page = requests.get(f"{self.url}/api/2.0/mlflow/model-versions/get", query, auth=auth, timeout=60).json()[
            "model_version"
        ]
        body = {"name": to, "source": f"models:/tiny/{version}", "run_id": page["run_id"], "tags": page.get("tags", [])}
        return self.post(who, "model-versions/create", body)

    def logged(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    home = tmp_path_factory.mktemp("named")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = (
        (ROOT / "infra" / "auth.ini").read_text().replace("sqlite:///.seqline/mlflow_users.db", f"sqlite:///{home}/users.db")
    )
    (home / "auth.ini").write_text(config)
    log = home / "approvals.jsonl"
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "MLFLOW_AUTH_CONFIG_PATH": str(home / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test", "MLFLOW_AUTH_ADMIN_PASSWORD": "admin's " + PASSWORD,
        "SEQLINE_APPROVERS": APPROVERS, "SEQLINE_APPROVALS_LOG": str(log), "SEQLINE_AUDIT_KEY": AUDIT.decode(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{home}/mlflow.db"]
    command += ["--artifacts-destination", str(home / "artifacts")]
    with (home / "log").open("w") as stream:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=stream, stderr=stream, start_new_session=True)
    found = Named(f"http://127.0.0.1:{port}", log)
    try:
        deadline = time.monotonic() + 180
        while not _up(found.url):
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        for who in PEOPLE:
            found.post("admin", "users/create", {"username": who, "password": PASSWORD}).raise_for_status()
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def test_who_approved_is_known_signed_logged_once_and_must_be_an_approver(
    named: Named, candidate: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "seqline")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    registry = Registry(named.url)
    registry.audit_key = AUDIT
    first, second = registry.register("tiny", candidate("k1"), KEY), registry.register("tiny", candidate("k2"), KEY)
    registry.let_in(first, "| stage |", "1" * 64, "no champion: let in by the gates alone")
    opened = time.time()
    registry.open_gate(second, "| stage |", "e" * 64, opened)
    before = len(named.logged())

    for who in ("eve", "admin"):
        body = {"name": "tiny-prod", "source": "models:/tiny/2"}
        refused = named.post(who, "model-versions/create", body)
        assert (refused.status_code, refused.json()["message"]) == (
            403, f"{who} may not write to tiny-prod: only SEQLINE_APPROVERS and the controller may",
        )  # fmt: skip
    other = {"name": "other"}
    named.post("eve", "registered-models/create", other).raise_for_status()
    for path, body in (("model-versions/create", json.dumps({"name": "tiny-prod", "source": "models:/tiny/2"})),
                       ("registered-models/rename", {**other, "newName": "tiny-prod"})):  # fmt: skip
        assert named.post("eve", path, body).status_code == 403, "as JSON in JSON, or by protobuf's other name"
    assert named.press("ann", "2").status_code == 200
    logged = [(line["who"], line["allowed"], line["model"], line["source"]) for line in named.logged()[before:]]
    assert logged == [("eve", False, "tiny-prod", "models:/tiny/2"), ("admin", False, "tiny-prod", "models:/tiny/2"),
                      ("eve", False, "tiny-prod", "models:/tiny/2"), ("eve", False, "tiny-prod", None),
                      ("ann", True, "tiny-prod", "models:/tiny/2")]  # fmt: skip
    [approval] = registry.approvals(second, "e" * 64, opened)
    assert (approval.accepted, approval.user) == (True, "ann")

    stolen = registry.client.get_model_version("tiny-prod", approval.prod_version).tags[PERSON]
    registry.client.set_model_version_tag("tiny", "2", PERSON, stolen)
    assert named.press("bob", "2").status_code == 200, "a page that carries another's stamp"
    assert [each.user for each in registry.approvals(second, "e" * 64, opened)] == ["ann", "bob"]

    registry.confirm(second, approval, "| stage |", "e" * 64)
    entry = next(each for each in registry.history("tiny") if each.detail.get("production") == approval.prod_version)
    assert entry.detail["approver"] == "ann"
    registry.audit_key = None
    assert registry.approvals(second, "e" * 64, opened)[-1].user is None, "without the key nobody is named"
