"""Everything that a scheduled, unattended model needs, on one machine: Prefect server and worker, MLflow, gateway.

The processes are those of infra/Procfile, kept alive by supervisor in a session of their own (supervision.py): `up` starts it
and waits until each address answers, `down` stops it.
"""

import base64
import contextlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from flows.serve import address
from flows.settings import Settings, spec_of
from flows.stack.observing import NAMES, PORTS, SHOWS, found
from flows.stack.supervision import configuration, mistaken
from pipelines.errors import SeqlineError, UserError

POOL = "seqline"
MARK = "SEQLINE_STACK"  # in the environment of all that a stack starts: its workspace
MODEL = "SEQLINE_MODEL"  # the model whose gateway infra/Procfile starts
START_SECONDS = 240
STOP_SECONDS = 30
PREFECT_API = "http://127.0.0.1:4200/api"
OVERVIEW = "http://127.0.0.1:8100"


@dataclass(frozen=True)
class Address:
    what: str
    url: str
    health: str


def addresses(name: str, settings: Settings) -> list[Address]:
    gateway = address(spec_of(name, settings))
    observers = [(what, f"http://127.0.0.1:{port}") for what, port in PORTS.items() if found(NAMES[what])]
    return [
        Address("Prefect (flows, schedules)", "http://127.0.0.1:4200", "http://127.0.0.1:4200/api/health"),
        Address("MLflow (versions, approvals)", "http://127.0.0.1:5000", "http://127.0.0.1:5000/health"),
        Address("gateway (POST /v1/generate)", gateway, f"{gateway}/healthz"),
        Address("status of all models", OVERVIEW, f"{OVERVIEW}/healthz"),
        *(Address(f"{what.capitalize()} ({SHOWS[what]})", url, f"{url}/-/ready") for what, url in observers),
    ]


def environment(name: str, settings: Settings) -> dict[str, str]:
    """What the Procfile's processes find; the tools of this virtual environment come first on the PATH."""
    tools = Path(sys.executable).parent
    return {
        **webhooks(settings),
        **settings.environment(),
        MARK: str(settings.workspace),
        "MLFLOW_TRACKING_URI": settings.mlflow,
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
        "PREFECT_API_URL": PREFECT_API,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "SEQLINE_ARTIFACTS": str(settings.artifacts),
        MODEL: name,
    }


def webhooks(settings: Settings) -> dict[str, str]:
    """Lets this MLflow, which listens on the loopback alone, send webhooks there; they shorten an approval's wait.

    Their secrets are encrypted with a key of the workspace's own: with one of the process, as by default, no webhook at all
    would be sent after a restart.
    """
    key = hmac.digest(settings.hmac_key, b"seqline: secrets of MLflow's webhooks", "sha256")
    return {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # seconds until a watch that just began is told
        "MLFLOW_WEBHOOK_REQUEST_TIMEOUT": "5",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": base64.urlsafe_b64encode(key).decode(),
    }


def up(name: str, settings: Settings) -> Iterator[str]:
    """Start the stack and yield a line for each address as soon as it answers.

    Raises:
        SeqlineError: a process died, or an address did not answer in time.
        UserError: another program (another clone's stack?) holds one of the addresses, or the stack runs with another model's
            gateway: nothing was started.
    """
    stack = running(settings)
    served = stack.environ().get(MODEL, name) if stack else name
    if served != name:
        raise UserError(f"the stack runs with {served}'s gateway: `seqline down` first, or `seqline serve {name}` beside it")
    if stack is None:
        from pipelines.registry import Registry

        stop_members(settings)  # what a killed stack left behind holds the ports
        _free(addresses(name, settings))
        Registry(settings.mlflow, settings.artifacts)  # MLflow's tables are made once, before two processes open them
        process = _supervised(name, settings)
        _pidfile(settings).write_text(json.dumps({"pid": process.pid}))
    for place in addresses(name, settings):
        _wait(place, settings)
        yield f"{place.what:30} {place.url}"


def _free(places: Sequence[Address]) -> None:
    """Else each address would answer at once, and what answers would be somebody else's: their registry, their model.

    Raises:
        UserError: names those that are taken.
    """
    taken = []
    for place in places:
        where = urlsplit(place.url)
        try:
            socket.create_server((where.hostname or "", where.port or 80)).close()
        except OSError as error:
            taken.append(f"{place.what}: {place.url} is taken ({error.strerror}): stop what holds it (another clone's stack?)")
    if taken:
        raise UserError("\n".join(taken))


def _supervised(name: str, settings: Settings) -> "subprocess.Popen[bytes]":
    """Start supervisord over the members, its log begun anew."""
    said, log = settings.folder("run") / "supervisord.conf", settings.folder("logs") / "stack.log"
    absent = {what for what in PORTS if not found(NAMES[what])}
    said.write_text(configuration((settings.project / "infra" / "Procfile").read_text(), settings.workspace, absent))
    log.unlink(missing_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(said)],
        cwd=settings.project,
        env=environment(name, settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait(place: Address, settings: Settings) -> None:
    logs = settings.folder("logs")

    def answers() -> None:
        if running(settings) is None:
            raise SeqlineError(f"{place.what}: the stack stopped: see {logs / 'stack.log'}")
        if mistake := _mistake(logs):
            raise UserError(mistake)
        httpx.get(place.health, timeout=5, trust_env=False)

    try:
        unreachable = retry_if_exception_type(httpx.TransportError)
        Retrying(stop=stop_after_delay(START_SECONDS), wait=wait_fixed(0.5), retry=unreachable)(answers)
    except RetryError:
        raise SeqlineError(f"{place.what}: {place.url} does not answer: see the logs in {logs}") from None


def _mistake(logs: Path) -> str | None:
    """What a member said that cannot start before a person mends something."""
    log = logs / "stack.log"
    member = mistaken(log.read_text(errors="replace")) if log.is_file() else None
    if member is None:
        return None
    said = (logs / f"{member}.log").read_text(errors="replace").strip().splitlines()
    return "\n".join([*said[-1:], f"{member}: is tried again and again, and the rest runs (its log: {logs / member}.log)"])


def down(settings: Settings) -> bool:
    """Stop the stack; False when none runs."""
    process = running(settings)
    if process:
        process.send_signal(signal.SIGTERM)
        psutil.wait_procs([process], timeout=STOP_SECONDS)
    stopped = stop_members(settings)
    _pidfile(settings).unlink(missing_ok=True)
    return process is not None or stopped > 0


def stop_members(settings: Settings) -> int:
    """Stop every process that was started by a stack of this workspace, also by one that was itself killed."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(settings.workspace):
                members.append(process)
    for signalled in (psutil.Process.terminate, psutil.Process.kill):
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                signalled(process)
        _, alive = psutil.wait_procs(members, timeout=STOP_SECONDS)
        if not alive:
            break
    return len(members)


def running(settings: Settings) -> psutil.Process | None:
    """The stack's process, if it runs.

    A pid that was given to another process meanwhile does not count, nor does a file that was not written to its end. (When a
    process began is no mark: it is reckoned from the clock, which is set.)
    """
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError, psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(json.loads(_pidfile(settings).read_text())["pid"])
        if process.environ().get(MARK) == str(settings.workspace) and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _pidfile(settings: Settings) -> Path:
    return settings.folder("run") / "stack.json"


def worker() -> None:
    """Deploy infra/prefect.yaml and become the worker of its pool, once the server answers.

    Raises:
        UserError: the server does not answer.
    """
    from flows.zombies import bury_pool

    def answers() -> None:
        httpx.get(f"{os.environ['PREFECT_API_URL']}/health", timeout=5, trust_env=False).raise_for_status()

    try:
        Retrying(stop=stop_after_delay(START_SECONDS), wait=wait_fixed(0.5), retry=retry_if_exception_type(httpx.HTTPError))(
            answers
        )
    except RetryError:
        raise UserError(f"{os.environ['PREFECT_API_URL']} does not answer: start the Prefect server first") from None
    prefect = [sys.executable, "-m", "prefect"]
    subprocess.run([*prefect, "work-pool", "create", POOL, "--type", "process", "--overwrite"], check=True)
    subprocess.run([*prefect, "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml"], check=True)
    bury_pool(POOL)
    os.execv(sys.executable, [*prefect, "worker", "start", "--pool", POOL, "--type", "process"])  # noqa: S606


if __name__ == "__main__":
    worker()
