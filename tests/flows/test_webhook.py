"""The ear for MLflow's webhooks: what is signed, fresh and new wakes the controller; nothing else does."""

import json
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.entities.webhook import Webhook, WebhookEvent
from mlflow.webhooks import delivery
from mlflow.webhooks.types import ModelVersionCreatedPayload
from rich.console import Console

from flows.settings import Settings
from flows.stack import members as stack
from flows.stack import webhook
from flows.stack.webhook import FRESH_SECONDS, LARGEST_BODY, REMEMBERED, Ear
from pipelines.registry import webhooks

SECRET = "s" * 64
NOW = 1_800_000_000.0
PAYLOAD = ModelVersionCreatedPayload(
    name="synopsis-prod",
    version="1",
    source="models:/synopsis/2",
    run_id=None,
    tags={"seqline.evidence": "a" * 64},
    description=None,
)
CREATED = WebhookEvent.from_str("model_version.created")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def signed(body: bytes, at: float = NOW, secret: str = SECRET, delivery_id: str | None = None) -> dict[str, str]:
    """Headers as MLflow's own code makes them."""
    number = delivery_id or str(uuid4())
    made = delivery._generate_hmac_signature(secret, number, str(int(at)), body.decode())
    return {"x-mlflow-delivery-id": number, "x-mlflow-timestamp": str(int(at)), "x-mlflow-signature": made}


def woken(ear: Ear) -> bool:
    return ear._heard.is_set()


def test_a_signed_delivery_wakes() -> None:
    ear = Ear(SECRET, Clock())
    assert ear.take(signed(b"{}"), b"{}") is None
    assert woken(ear)
    ear.wait(60)  # at once: what came before counts
    assert not woken(ear)


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ({}, b"{}", "no delivery id or no time"),
        (signed(b"{}", secret="another"), b"{}", "signature"),
        (signed(b"{}"), b'{"more": 1}', "signature"),
        (signed(b"{}") | {"x-mlflow-signature": ""}, b"{}", "signature"),
        (signed(b"{}") | {"x-mlflow-signature": "v1,é\udcff"}, b"{}", "signature"),
        (signed(b"{}") | {"x-mlflow-timestamp": f"{NOW - 1:.0f}"}, b"{}", "signature"),
        (signed(b"{}") | {"x-mlflow-timestamp": "-1"}, b"{}", "no delivery id or no time"),
        (signed(b"{}") | {"x-mlflow-timestamp": "9" * 400}, b"{}", "no delivery id or no time"),
        (signed(b"{}") | {"x-mlflow-delivery-id": str(uuid4())}, b"{}", "signature"),
        (signed(b"{}", at=NOW - FRESH_SECONDS - 1), b"{}", "time"),
        (signed(b"{}", at=NOW + FRESH_SECONDS + 1), b"{}", "time"),
    ],
)
def test_what_is_not_refused_for_its_reason(headers: dict[str, str], body: bytes, why: str) -> None:
    ear = Ear(SECRET, Clock())
    assert ear.take(headers, body) == why
    assert ear.counts == {why: 1}
    assert not woken(ear)


def test_a_delivery_counts_once_for_as_long_as_it_is_fresh() -> None:
    clock = Clock()
    ear, headers = Ear(SECRET, clock), signed(b"{}", at=NOW + FRESH_SECONDS - 1)
    assert ear.take(headers, b"{}") is None
    for later in (0.0, 1.0, FRESH_SECONDS, 2 * FRESH_SECONDS - 1, 2 * FRESH_SECONDS + 1, 1e6):
        clock.now = NOW + later
        assert ear.take(headers, b"{}") in ("replay", "time")
    assert ear.counts["taken"] == 1


def test_id_time_and_body_cannot_be_cut_anew() -> None:
    body = b"1.{}"
    headers = signed(body)
    number, at = headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"]
    moved = headers | {"x-mlflow-delivery-id": f"{number}.{at}", "x-mlflow-timestamp": "1"}
    assert Ear(SECRET, Clock()).take(moved, b"{}") == "no delivery id or no time"


def test_a_flood_is_refused_and_its_memory_bounded() -> None:
    clock = Clock()
    ear = Ear(SECRET, clock)
    refused = [ear.take(signed(b"{}"), b"{}") for _ in range(REMEMBERED + 5)]
    assert refused == [None] * REMEMBERED + ["flood"] * 5
    clock.now += 2 * FRESH_SECONDS + 1
    assert ear.take(signed(b"{}", at=clock.now), b"{}") is None


@given(st.binary(max_size=40), st.dictionaries(st.sampled_from(sorted(signed(b""))), st.text(max_size=60)))
@settings(max_examples=100, deadline=None)
def test_nothing_but_the_secret_opens_it(body: bytes, headers: dict[str, str]) -> None:
    ear = Ear(SECRET, Clock())
    assert ear.take(headers, body) is not None
    assert not woken(ear)


def test_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own sender delivers; a huge body, a wrong signature and a replay are refused, and the counts are shown."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    ear = Ear(SECRET)
    with webhook.served(ear) as url, httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
        ours = Webhook("1", "ours", url, [CREATED], 0, 0, secret=SECRET)
        with delivery._create_webhook_session() as session:
            sent = delivery._send_webhook_request(ours, PAYLOAD, CREATED, session)
        assert sent.status_code == 202
        assert woken(ear)
        headers = {name: str(value) for name, value in sent.request.headers.items() if name.lower().startswith("x-mlflow")}
        body = sent.request.body
        assert isinstance(body, bytes)
        assert client.post("/", content=body, headers=headers).json() == {"error": "replay"}
        assert client.post("/", content=b"{}", headers=headers).status_code == 403
        assert client.post("/", content=b"x" * (LARGEST_BODY + 1), headers=headers).status_code == 413
        assert client.post("/", content=iter([b"{}"]), headers=headers).status_code == 413
        assert client.get("/healthz").json() == {"taken": 1, "replay": 1, "signature": 1, "size": 2}
    assert not [thread for thread in threading.enumerate() if thread.name == "webhook"]


def test_a_wait_ends_with_a_delivery() -> None:
    ear, knocked = Ear(SECRET), threading.Event()

    def knock() -> None:
        knocked.set()
        ear.take(signed(b"{}", at=time.time()), b"{}")

    thread = threading.Thread(target=knock)
    thread.start()
    ear.wait(120)
    thread.join()
    assert knocked.is_set()
    assert ear.counts == {"taken": 1}


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("http://127.0.0.1:5000", True), ("http://localhost:5000/x", True), ("https://[::1]:5000", True),
        ("http://mlflow.example.org", False), ("sqlite:///127.0.0.1", False), ("", False),
    ],
)  # fmt: skip
def test_only_a_server_on_this_machine_is_asked(uri: str, here: bool) -> None:
    assert webhooks.is_here(uri) is here


def test_without_a_server_the_poll_is_all(tmp_path: Path) -> None:
    alone = Settings.model_validate(
        {"SEQLINE_PROJECT": tmp_path, "SEQLINE_HOME": tmp_path / "home", "MLFLOW_TRACKING_URI": None}
    )
    with webhook.listening("synopsis", alone, Console()) as wait:
        assert wait is time.sleep


def test_a_server_that_is_away_is_said_and_the_poll_goes_on(tmp_path: Path) -> None:
    gone = Settings.model_validate({"SEQLINE_PROJECT": tmp_path, "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"})
    console = Console(soft_wrap=True)
    with console.capture() as said, webhook.listening("synopsis", gone, console) as wait:
        wait(0.0)
    assert said.get().startswith("no webhook, so MLflow is asked every 2 s: MLflow at http://127.0.0.1:1 does not answer")


def test_the_stack_keeps_its_key(tmp_path: Path) -> None:
    one, again = (stack.webhooks(Settings.model_validate({"SEQLINE_PROJECT": tmp_path})) for _ in range(2))
    assert one == again
    assert json.dumps(one)
