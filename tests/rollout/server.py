"""A real PostgreSQL of a test's own, where the machine has one."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def missing() -> str | None:
    """What this machine lacks to run one."""
    if _binaries() is None:
        return "no PostgreSQL server here"
    return None if find_spec("psycopg") else "the driver psycopg is not installed"


@contextmanager
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database on a Unix socket; the server ends with the block."""
    binaries = _binaries()
    assert binaries
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is short, and root's folders are closed
    as_owner: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses root
        owner = pwd.getpwnam("postgres")
        os.chown(home, owner.pw_uid, owner.pw_gid)
        as_owner = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    data = str(home / "data")

    def run(tool: str, *arguments: str) -> None:
        subprocess.run([*as_owner, str(binaries / tool), *arguments], check=True, capture_output=True, cwd=home)

    try:
        run("initdb", "-D", data, "-U", "seqline", "-A", "trust", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", data, "-w", "-l", str(home / "log"), "-o", f"-k {home} -c listen_addresses=''", "start")
        yield f"postgresql+psycopg://seqline@/postgres?host={home}"
    finally:
        if Path(data, "postmaster.pid").exists():
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(home)


def _binaries() -> Path | None:
    places = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)
