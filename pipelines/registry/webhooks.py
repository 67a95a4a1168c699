"""Have an MLflow server say when a version is made. It may be late, twice or never: who hears it reads the registry anew."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.artifact import digest
from pipelines.errors import SeqlineError
from pipelines.registry.connect import Connection, asking

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.webhook import Webhook

# A hint is not worth MLflow's own patience with a server that hangs: it has minutes, a canary's lease 30 seconds.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "4", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
UNREADABLE = (
    "MLflow cannot read the webhooks that it keeps, nor send any: after SEQLINE_HMAC_KEY or run/hmac.key changed they are "
    "still encrypted with the former key: bring that back, or delete all rows of MLflow's tables webhook_events and webhooks"
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_here(uri: str) -> bool:
    """Whether this is a server on this machine: another one could not reach an address of the loopback."""
    parts = urlsplit(uri)
    return parts.scheme in ("http", "https") and parts.hostname in LOOPBACK


@contextmanager
def told(uri: str, name: str, url: str, secret: str) -> Iterator[None]:
    """In the block, the MLflow server at `uri` posts to `url` when a version is made, signed with `secret`.

    `name` says who listens, whatever its letters: one webhook is kept for it, and a killed listener's is taken over.

    Raises:
        SeqlineError: the server keeps no webhook for such an address (or Transient: it does not answer).
    """
    with _impatient():
        client = Connection(uri).client
        webhook = _registered(client, f"seqline-{digest(name)[:16]}", f"wakes the controller: {name}", url, secret)
    try:
        yield
    finally:
        # the server may be gone by now, and a webhook that nobody hears does no harm
        with suppress(SeqlineError), _impatient():
            _silence(client, webhook)


@contextmanager
def _impatient() -> Iterator[None]:
    before = {key: os.environ.get(key) for key in IMPATIENT}
    os.environ.update(IMPATIENT)
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


@asking
def _registered(client: "MlflowClient", name: str, what: str, url: str, secret: str) -> str:
    found = next((each for each in _listed(client) if each.name == name), None)
    if found is None:
        made = client.create_webhook(name, url, ["model_version.created"], what, secret, "ACTIVE")  # what Promote model makes
        return str(made.webhook_id)
    client.update_webhook(found.webhook_id, url=url, secret=secret, status="ACTIVE")
    return str(found.webhook_id)


def _listed(client: "MlflowClient") -> "list[Webhook]":
    from mlflow.exceptions import MlflowException

    try:
        page = client.list_webhooks(max_results=100)
        known = list(page)
        while page.token:
            page = client.list_webhooks(max_results=100, page_token=page.token)
            known += page
    except MlflowException as error:
        # a database's own failure has no message, a server's is told so
        if error.error_code == "INTERNAL_ERROR" and (not str(error) or "500 error responses" in str(error)):
            raise SeqlineError(UNREADABLE) from None
        raise
    return known


@asking
def _silence(client: "MlflowClient", webhook: str) -> None:
    client.update_webhook(webhook, status="DISABLED")
