"""Pinned wheels from the Python index that this machine uses, kept and checked by sha256. Nothing in them is run."""

import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.artifact import file_sha256
from pipelines.errors import Transient, UserError

PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+")
OPTIONS = ("--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-input", "--disable-pip-version-check", "-q")
SECONDS = 900


def fetch(package: str, folder: Path) -> tuple[Path, str]:
    """(wheel, sha256) of `package` (name==version), from `folder` if it is there, else by pip.

    Raises:
        UserError: it is not pinned, or the index has no such wheel. Transient: no pip, or the index does not answer.
    """
    if not PIN.fullmatch(package):
        raise UserError(f"data.source.packages: {package}: must be pinned, as `name==version`")
    kept = folder / package
    if not kept.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fetching = folder / f".{package}.{os.getpid()}"
        fetching.mkdir(mode=0o700)
        try:
            _download(package, fetching)
            if not kept.is_dir():  # another process may have been faster
                fetching.replace(kept)
        finally:
            shutil.rmtree(fetching, ignore_errors=True)
    wheel = next(kept.glob("*.whl"))
    return wheel, file_sha256(wheel)


def _download(package: str, into: Path) -> None:
    command = [*_pip(), "download", *OPTIONS, "--dest", str(into), package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Transient(f"data.source.packages: {package}: the index did not deliver it in {SECONDS // 60} minutes") from None
    if done.returncode == 0 and list(into.glob("*.whl")):
        return
    if "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    # of several indexes one may answer, with fewer versions, while another is out of reach
    answered = "Retrying" not in done.stderr and "onnection" not in done.stderr
    if answered and "(from versions: " in done.stderr:
        raise UserError(f"data.source.packages: {package}: the index has no wheel of it: choose a version that it has")
    raise Transient(f"data.source.packages: {package}: pip cannot fetch it: the index does not answer")


def _pip() -> list[str]:
    """pip of this environment, of the Python it was made from, or of the PATH: an environment made by uv has none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    base = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([base, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [base, "-m", "pip"]
    found = shutil.which("pip") or shutil.which("pip3")
    if not found:
        raise Transient("data.source.kind: catalogs needs pip, which this machine lacks: install it, then run the same again")
    return [found]
