"""A model's gateway: run one here, or attach to the one that runs, or own one for the length of a flow."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from flows.settings import Settings, find_spec
from pipelines import artifact
from pipelines.errors import SeqlineError, UserError
from pipelines.rollout.store import Store
from pipelines.spec import Spec, load

START_SECONDS = 120.0


def serve(name: str, settings: Settings, *, standing: bool = True) -> None:
    """Run the gateway of `name`, its engines, its judge and its review until SIGTERM. One that is not `standing` ends with a
    rollout, and nobody misses it.

    Raises:
        UserError: its address is taken.
    """
    from pipelines.rollout import page, status
    from pipelines.serving import logs
    from pipelines.serving.admin import Admin
    from pipelines.serving.server import serve as run

    path = find_spec(name, settings)
    spec = load(path)
    store = Store(settings.database)
    store.create()
    logs.set_up("gateway")

    def rollback(why: str, by: str) -> str:
        return status.rollback(store, spec.name, why, time.time(), by)

    with review(spec, settings) as review_url, judge(spec, settings, review_url) as judge_url:
        run(
            spec,
            store,
            fetch=lambda version: fetch(spec.name, version, settings),
            key=settings.hmac_key,
            judge_url=judge_url,
            review_url=review_url,
            signer=settings.signer,
            standing=standing,
            admin=Admin(settings.admin_key, rollback, spec.serving.admin, rollout=lambda: page.latest(store, spec.name)),
        )


def fetch(name: str, version: str, settings: Settings) -> Path:
    """The verified files of a version, brought from the registry if they are not here.

    The registry is asked in a process of its own: MLflow would cost a gateway 400 MB that it never needs again.
    """
    live = settings.folder("live", name)
    try:
        artifact.verify(live / version)
    except artifact.Corrupt as damage:
        if (live / version).exists():  # an engine would refuse it, again and again
            logging.getLogger("seqline.serving").error("version %s is fetched anew: %s", version, damage)
    else:
        return live / version
    command = [sys.executable, "-m", "flows.cli", "fetch", name, version]
    done = subprocess.run(command, capture_output=True, text=True, env=settings.environment(), check=False)
    if done.returncode:
        raise SeqlineError(f"{name} {version}: {done.stderr.strip() or 'fetch failed'}")
    return live / version


@contextmanager
def child(command: list[str], log: Path, settings: Settings, *, stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run `command` until the block ends; what it says goes to `log`, unless `stdout` is a pipe for the caller to read."""
    with log.open("a") as stream:
        process = subprocess.Popen(command, stdout=stdout or stream, stderr=stream, text=True, env=settings.environment())
    with process:
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[str], patience: float = 30) -> None:
    """SIGTERM, then SIGKILL after `patience` seconds."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def judge(spec: Spec, settings: Settings, review_url: str | None = None) -> Iterator[str]:
    """The judge's own process; yields the address that takes pairs. What it flags goes to `review_url`."""
    told = ["--database", settings.database, "--threshold", str(spec.scoring.judge_threshold)]
    told += ["--judge", spec.scoring.judge, "--task", spec.task]
    with taker("judge", [*told, *(["--review", review_url] if review_url else [])], spec, settings) as url:
        yield url


@contextmanager
def review(spec: Spec, settings: Settings) -> Iterator[str | None]:
    """The review's own process (MLflow would cost the gateway 400 MB); yields the address that takes samples.

    None where the spec keeps none.
    """
    if not spec.serving.review.per_hour:
        yield None
        return
    told = ["--per-hour", str(spec.serving.review.per_hour), "--share", str(spec.serving.review.share)]
    with taker("review", told, spec, settings) as url:
        yield url


@contextmanager
def taker(kind: str, told: Sequence[str], spec: Spec, settings: Settings) -> Iterator[str]:
    """`flows.services.KIND` in a process that takes pairs and ends with this one; yields its address."""
    command = [sys.executable, "-m", f"flows.services.{kind}", "--name", spec.name, "--parent", str(os.getpid()), *told]
    log = settings.folder("logs") / f"{kind}-{spec.name}.log"
    with child(command, log, settings, stdout=subprocess.PIPE) as process:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise SeqlineError(f"the {kind} did not start: see {log.name} in the workspace's logs")
        yield f"http://127.0.0.1:{json.loads(line)['port']}/pairs"


def health(spec: Spec) -> dict[str, Any] | None:
    """What the gateway of this model says of itself at its address; None if nothing listens there.

    Raises:
        UserError: something else holds the port.
    """
    url = address(spec)
    try:
        found: dict[str, Any] = httpx.get(f"{url}/healthz", timeout=5, trust_env=False).json()
        model = found["model"]
    except httpx.TransportError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{url} is held by something that is not a seqline gateway: stop it, or set serving.port") from None
    if model != spec.name:
        raise UserError(f"{url} is the gateway of {model}: stop it, or give {spec.name} another serving.port")
    return found


def address(spec: Spec) -> str:
    return f"http://{spec.serving.host}:{spec.serving.port}"


@contextmanager
def gateway(spec: Spec, settings: Settings) -> Iterator[str]:
    """The address of the model's gateway once its champion answers: the running one, or one that lives as long as the block."""
    with ExitStack() as own:
        process = None
        if health(spec) is None:
            log = settings.folder("logs") / f"gateway-{spec.name}.log"
            spec_path = str(find_spec(spec.name, settings))
            command = [sys.executable, "-m", "flows.cli", "serve", spec_path, "--parent", str(os.getpid())]
            process = own.enter_context(child(command, log, settings))
        deadline = time.monotonic() + START_SECONDS
        while not (found := health(spec)) or not found["ok"]:
            if (process and process.poll() is not None) or time.monotonic() > deadline:
                raise SeqlineError(
                    f"the gateway at {address(spec)} does not answer: see logs/gateway-{spec.name}.log in the workspace"
                )
            time.sleep(0.2)
        yield address(spec)


@contextmanager
def traffic(spec: Spec, url: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """Held-out requests through the gateway, where the spec says `rollout.traffic: replay`.

    Yields what the replay counted (sent, ok, failed, p50_ms, p99_ms), filled when the block ends.
    """
    counted: dict[str, Any] = {}
    if spec.rollout.traffic != "replay":
        yield counted
        return
    replay = spec.rollout.replay
    command = [
        *(
            sys.executable,
            "-m",
            "pipelines.rollout.replay",
            "--parquet",
            str(settings.project / "data" / spec.name / "test.parquet"),
        ),
        *("--url", url, "--rate", str(replay.rate), "--users", str(replay.users), "--parent", str(os.getpid())),
    ]
    log = settings.folder("logs") / f"replay-{spec.name}.log"
    with child(command, log, settings, stdout=subprocess.PIPE) as process:
        yield counted
        stop(process)
        counted.update(json.loads((process.stdout.read() if process.stdout else "") or "{}"))
