"""The webhook that a watch keeps in MLflow, in a real registry's database."""

from pathlib import Path

import pytest

from pipelines.errors import SeqlineError
from pipelines.registry import webhooks
from pipelines.registry.connect import Connection

URL = "http://127.0.0.1:9/"


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    return Connection(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")


def kept(connection: Connection) -> list[tuple[str, str, str]]:
    return [(each.name, each.url, str(each.status.value)) for each in connection.client.list_webhooks()]


@pytest.mark.usefixtures("private")
def test_one_webhook_is_kept_for_a_listener_whatever_became_of_the_last(connection: Connection) -> None:
    killed = webhooks.told(connection.uri, "Übung in /home/me", URL, "s" * 64)
    killed.__enter__()
    ((name, *_),) = kept(connection)
    with webhooks.told(connection.uri, "Übung in /home/me", f"{URL}anew", "t" * 64):
        assert kept(connection) == [(name, f"{URL}anew", "ACTIVE")]
        with webhooks.told(connection.uri, "another", URL, "u" * 64):
            assert len(kept(connection)) == 2
    assert {status for _, _, status in kept(connection)} == {"DISABLED"}


def test_a_server_that_sends_to_public_addresses_alone_refuses(connection: Connection) -> None:
    with (
        pytest.raises(SeqlineError, match="MLflow: Invalid webhook URL scheme: 'http'"),
        webhooks.told(connection.uri, "synopsis", URL, "s" * 64),
    ):
        pass
    assert kept(connection) == []
