"""What a finished retrain leaves behind, so that an unchanged one can see in a second that there is nothing to do."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from flows.settings import Settings
from pipelines import artifact, sources
from pipelines.dataset.versions import forgotten
from pipelines.spec import Spec
from pipelines.training import base

PIPELINES = Path(artifact.__file__).parent


@dataclass(frozen=True)
class Receipt:
    """A finished retrain: the key of what went in, the version that came out, the folder of its report."""

    key: str
    name: str
    version: str
    report: str


@cache
def code_sha256() -> str:
    """The digest of every line of pipelines/: changed code is a changed retrain."""
    return artifact.digest(*(artifact.file_sha256(path) for path in sorted(PIPELINES.rglob("*.py"))))


def key(spec: Spec, spec_path: Path, settings: Settings) -> str:
    """The digest of all that a retrain reads: the source as it is now, the spec, the base in a folder, the code."""
    gone = sorted(forgotten(settings.project, spec.name))
    seen = sources.fingerprint(spec.data, spec_path.parent, settings.source_cache, settings.source_urls)
    start = base.local(spec.training.base, spec_path.parent)
    asked = []  # of the registry, which takes seconds to reach: only where the spec wants to know
    if spec.preferences or spec.teacher:
        from flows import preferring, teaching

        asked = [preferring.seen(spec, settings), teaching.seen(spec, settings)]
    return artifact.digest("retrain", seen, gone, spec, start and base.fingerprint(start), code_sha256(), *asked)


def find(spec: Spec, wanted: str, settings: Settings) -> Receipt | None:
    path = _path(spec.name, settings)
    if not path.is_file():
        return None
    receipt = Receipt(**json.loads(path.read_text()))
    return receipt if receipt.key == wanted else None


def leave(receipt: Receipt, settings: Settings) -> None:
    path = _path(receipt.name, settings)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(receipt), indent=1))
    fresh.replace(path)


def _path(name: str, settings: Settings) -> Path:
    return settings.folder("work", name) / "receipt.json"
