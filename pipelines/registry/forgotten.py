"""The requests of a model that were forgotten, by a hash of their ids. Light: the review process looks at each answer."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.registry.erasing import write


class Forgotten:
    """The requests of a model that were forgotten, by a hash of their ids: an answer on its way must not bring one back."""

    def __init__(self, workspace: Path, name: str) -> None:
        self.path = workspace / "retention" / f"{name}.forgotten.json"
        self._stamp, self._hashes = 0, dict[str, float]()

    def __contains__(self, request: object) -> bool:
        return bool(self.hashes) and hash_of(str(request)) in self.hashes

    @property
    def hashes(self) -> dict[str, float]:
        """Hash -> when it was forgotten; read again when the file changed."""
        try:
            stamp = self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if stamp != self._stamp:
            self._hashes, self._stamp = json.loads(self.path.read_text(encoding="utf-8")), stamp
        return self._hashes

    def add(self, requests: Sequence[str], at: float) -> None:
        write(self.path, {**{hash_of(each): at for each in requests}, **self.hashes})

    def lose(self, before: float) -> None:
        """Those forgotten before `before`: no gateway has them in its memory any more."""
        left = {each: at for each, at in self.hashes.items() if at >= before}
        if len(left) < len(self.hashes):
            write(self.path, left)


def hash_of(request: str) -> str:
    return hashlib.sha256(f"forgotten {request}".encode()).hexdigest()
