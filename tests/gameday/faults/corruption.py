"""A bit that flips in a file: of the model that serves, of the data's cache, of a training's last checkpoint."""

import subprocess
from pathlib import Path

import psutil

from tests.dataset.project import damage
from tests.gameday.facing import Facing
from tests.gameday.site import NAME, Site, until


def model(facing: Facing) -> None:
    """The served weights; then their engine dies, so that they have to be read."""
    site = facing.site
    champion = site.champion
    pid = site.engine(champion)
    assert pid
    weights = site.workspace / "live" / NAME / champion / "ct2" / "model.bin"
    facing.strike()
    damage(weights, weights.stat().st_size // 2)
    psutil.Process(pid).kill()
    facing.detect(lambda: facing.said(r"model\.bin"))
    facing.mend("an engine answers from whole files", lambda: site.engine(champion) not in (None, pid), 120)
    if facing.seen.mended is None:  # for the faults after this one
        _by_hand(facing, weights)


def _by_hand(facing: Facing, weights: Path) -> None:
    facing.seen.notes.append("mended by hand, for the faults after this one: the damaged folder was removed")
    damage(weights, weights.stat().st_size // 2)
    until(lambda: facing.site.health().get("ok"), 120)


def cached(facing: Facing) -> None:
    """An object of the DVC cache, of the data in use; then a retrain that needs it."""
    site = facing.site
    objects = (site.project.folder / ".dvc" / "cache").glob("files/md5/*/*")
    victim = max((path for path in objects if path.suffix != ".dir"), key=lambda path: path.stat().st_size)
    whole = victim.read_bytes()
    facing.strike()
    damage(victim, len(whole) // 2)
    retrain = site.retrain()
    try:
        facing.detect(lambda: facing.said(victim.name) or _made_anew(victim, whole))
        facing.mend("the object is whole again, and the retrain went on", lambda: _made_anew(victim, whole) and _on(site))
        promoted(facing, retrain)
    finally:
        stop(retrain)


def _made_anew(victim: Path, whole: bytes) -> str:
    sound = victim.is_file() and victim.read_bytes() == whole
    return "no line; the object was hashed, found damaged and made anew" if sound else ""


def _on(site: Site) -> bool:
    """Whether the retrain has trained, or more."""
    return site.phase() is not None or any((site.workspace / "work" / NAME).glob(".weights-*.partial/step-*"))


def checkpoint(facing: Facing) -> None:
    """The last checkpoint of a training that was killed: the next run has to do with the one before."""
    site = facing.site
    work = site.workspace / "work" / NAME
    killed = site.retrain()
    until(lambda: len(list(work.glob(".weights-*.partial/step-*"))) > 1 or killed.poll() is not None, what="two checkpoints")
    killed.kill()
    killed.wait()
    last = max(work.glob(".weights-*.partial/step-*"))
    facing.strike()
    damage(last / "weights.safetensors", (last / "weights.safetensors").stat().st_size // 2)
    resumed = site.start("retrain", f"models/{NAME}.yaml")
    try:
        facing.detect(lambda: facing.said(rf"checkpoint {last.name} is damaged"))
        facing.mend("the training was resumed from the one before, to its end", lambda: site.phase() is not None)
        promoted(facing, resumed)
    finally:
        stop(resumed)


def promoted(facing: Facing, retrain: "subprocess.Popen[str]") -> None:
    """The version that the retrain made may answer, too; wait for its end and tell how it was."""
    site = facing.site
    with_canary = {str(version) for (version,) in site.asked("SELECT version FROM rollouts")}
    facing.seen.right |= with_canary
    code = until(lambda: "0" if retrain.poll() == 0 else retrain.poll(), 420)
    facing.seen.right |= {str(version) for (version,) in site.asked("SELECT version FROM rollouts")}
    said = "the next run went through" if code == "0" else f"the next run did not end well (exit {code})"
    facing.seen.notes.append(f"{said}: {site.outcome() or 'its rollout is open'}")
    if code != "0":
        facing.seen.mended = None


def stop(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
