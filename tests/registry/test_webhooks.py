"""The webhook that a watch keeps in MLflow, in a real registry's database."""

import base64
import os
import subprocess
import sys
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


TOLD = """
import sys
from pipelines.registry import webhooks
with webhooks.told(sys.argv[1], "synopsis", "http://127.0.0.1:9/", "s" * 64):
    print("told")
"""


@pytest.mark.usefixtures("private")
def test_webhooks_under_a_key_that_changed_are_one_clear_line(connection: Connection) -> None:
    def told(key: int) -> subprocess.CompletedProcess[str]:
        """In a process of its own: MLflow reads the key once."""
        given = {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(bytes([key] * 32)).decode()}
        command = [sys.executable, "-c", TOLD, connection.uri]
        return subprocess.run(command, env={**os.environ, **given}, capture_output=True, text=True, check=False)

    assert told(0).stdout == "told\n"
    other = told(1)
    assert other.returncode == 1
    assert other.stderr.splitlines()[-1] == f"pipelines.errors.SeqlineError: {webhooks.UNREADABLE}"
    assert told(0).stdout == "told\n", "the former key, brought back"


def test_a_server_that_sends_to_public_addresses_alone_refuses(connection: Connection) -> None:
    with (
        pytest.raises(SeqlineError, match="MLflow: Invalid webhook URL scheme: 'http'"),
        webhooks.told(connection.uri, "synopsis", URL, "s" * 64),
    ):
        pass
    assert kept(connection) == []
