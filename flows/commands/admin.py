"""A running gateway's admin API, as the operators' commands ask it: what it says, one text, drain."""

import hashlib
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from flows.serve import address
from flows.settings import Settings
from pipelines.errors import SeqlineError
from pipelines.operations.facts import Gateway, Probe
from pipelines.spec import Spec

TEXT = "Package: probe-{}\nDescription: a small package that reads text files"
HOLDER = "seqline doctor"
SECONDS = 20.0


@dataclass(frozen=True)
class Admin:
    """The admin port of `spec`'s gateway, and the key that opens it."""

    spec: Spec
    settings: Settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.spec.serving.admin}"

    def gateway(self) -> Gateway | None:
        """What runs there now; None if nothing answers."""
        said = self._ask("GET", "/status")
        return None if said is None else Gateway(said.json(), time.time() - said.json()["seconds"])

    def listening(self) -> bool:
        """Does anybody hold the port? A gateway gives it back when all of its senders have their answers."""
        try:
            socket.create_connection(("127.0.0.1", self.spec.serving.admin), timeout=SECONDS).close()
        except ConnectionError:
            return False
        return True

    def metrics(self) -> dict[str, float] | None:
        """Each line's value, by its name and labels as they are printed; None if nothing answers."""
        said = self._ask("GET", "/metrics")
        if said is None:
            return None
        lines = (line for line in said.text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def probe(self) -> Probe | None:
        """Have one text answered, as any sender's (no cache has it); None if nothing answers.

        Where senders need a key, one is made for this and revoked again.
        """
        body = {"inputs": [TEXT.format(secrets.token_hex(4))]}
        with self._key() as headers:
            try:
                url = f"{address(self.spec)}/v1/generate"
                said = httpx.post(url, json=body, headers=headers, timeout=SECONDS, trust_env=False)
                told = said.json()
            except (httpx.TransportError, ValueError):
                return None
        if said.status_code != 200:
            return Probe(None, problem=str(told.get("error", f"status {said.status_code}")))
        return Probe(told["version"], frozenset(told["degraded"]))

    @contextmanager
    def _key(self) -> Iterator[dict[str, str]]:
        """The headers of a sender who may ask."""
        who = {"X-User": HOLDER}
        if self.spec.serving.api_keys == "none":
            yield who
            return
        from pipelines.rollout.store import Store
        from pipelines.serving import keys

        store = Store(self.settings.database)
        key = keys.add(store, self.spec.name, HOLDER)
        try:
            time.sleep(2 * keys.POLL_SECONDS)  # gateways read the keys so often
            yield {**who, "Authorization": f"Bearer {key}"}
        finally:
            keys.revoke(store, self.spec.name, hashlib.sha256(key.encode()).hexdigest()[:12])
            store.engine.dispose()

    def drain(self) -> None:
        """Raises SeqlineError: nothing answers, or it refused."""
        said = self._ask("POST", "/drain")
        if said is None:
            raise SeqlineError(f"{self.url} does not answer: the gateway of {self.spec.name} does not run here")
        if said.status_code != 202:
            raise SeqlineError(f"{self.url}: refused: {said.json().get('error', said.status_code)}")

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {self.settings.admin_key}"}
        try:
            return httpx.request(method, self.url + path, json=body, headers=headers, timeout=SECONDS, trust_env=False)
        except httpx.TransportError:
            return None
