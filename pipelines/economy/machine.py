"""This machine: what it is, what it computes in, and how much an Export is to it."""

import platform
from pathlib import Path
from typing import Any

from pipelines.decode import loading


def told() -> dict[str, Any]:
    """Its processor, and the types that CTranslate2 computes in here: times hold for these."""
    return {"processor": _processor(), "computes_in": sorted(_able())}


def computed_in(export: Path, quantisation: str) -> str:
    """The type that this machine computes in with the weights of `export`."""
    return loading.compute_type(quantisation, "cpu", _able()) if (export / "ct2").is_dir() else "float32"


def able(export: Path, quantisation: str) -> bool:
    """Whether it computes in the type of the weights (there is but one way where CTranslate2 has no part in it)."""
    return not (export / "ct2").is_dir() or quantisation == "float32" or computed_in(export, quantisation) != "float32"


def size(export: Path) -> int:
    """Bytes of what is loaded to serve: CTranslate2's form, or the Hugging Face folder where there is none."""
    folder = export / "ct2" if (export / "ct2").is_dir() else export / "hf"
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _able() -> set[str]:
    import ctranslate2

    return set(ctranslate2.get_supported_compute_types("cpu"))


def _processor() -> str:
    """The processor's name, where the system tells it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8", errors="replace").splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
