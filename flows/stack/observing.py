"""Prometheus and Alertmanager beside the stack, with infra/'s rules: python -m flows.stack.observing prometheus|alertmanager

Both are Debian's, from .venv/tools (`make setup` unpacks them there) or the PATH. Where there is none this says so and ends;
the rest of the stack runs on.
"""

import os
import shutil
import sys
from pathlib import Path

from flows.settings import Settings
from pipelines.errors import UserError

TOOLS = Path(sys.prefix) / "tools"
NAMES = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
PORTS = {"prometheus": 9090, "alertmanager": 9093}
SHOWS = {"prometheus": "figures, alerts, runbooks", "alertmanager": "who is told"}
KEPT = "35d"  # longer than an SLO's window of 30 days


def found(program: str) -> str | None:
    """Where a program of Debian's packages lies, if it does."""
    return shutil.which(program, path=os.pathsep.join([str(TOOLS / "usr" / "bin"), os.environ.get("PATH", "")]))


def command(what: str, config: Path, data: Path, runbooks: Path, port: int) -> list[str]:
    """The command line of `what` on a loopback port; its `data` are kept in that folder.

    Prometheus shows the pages of the folder `runbooks` under /user: alerts link them there.

    Raises:
        UserError: the program is not here.
    """
    program = found(NAMES[what])
    if program is None:
        raise UserError(f"{NAMES[what]} is not here: `make setup` brings Debian's by apt, or put it on the PATH")
    at = f"127.0.0.1:{port}"
    flags = [program, f"--config.file={config}", f"--web.listen-address={at}", f"--web.external-url=http://{at}"]
    flags.append("--log.level=warn")
    if what == "alertmanager":
        return [*flags, f"--storage.path={data}", "--cluster.listen-address="]  # one alone needs no peers
    kept = [f"--storage.tsdb.path={data}", f"--storage.tsdb.retention.time={KEPT}", f"--web.user-assets={runbooks}"]
    assets = TOOLS / "usr" / "share" / "prometheus" / "web"
    return [*flags, *kept, *([f"--web.local-assets={assets}"] if assets.is_dir() else [])]


def folder() -> Path:
    """Where the programs must be started: Alertmanager looks for its templates below it (the Makefile says why)."""
    return TOOLS if TOOLS.is_dir() else Path()


def main() -> None:
    """Become the program that the first argument names; exit code 2 where it is not here."""
    what = sys.argv[1]
    settings = Settings()
    infra = settings.project / "infra"
    config = infra / what / f"{what}.yml"
    try:
        started = command(what, config, settings.folder(what), infra / "runbooks", PORTS[what])
    except UserError as error:
        sys.stderr.write(f"seqline: {error}\n")
        sys.exit(error.exit_code)
    os.chdir(folder())
    os.execv(started[0], started)  # noqa: S606


if __name__ == "__main__":
    main()
