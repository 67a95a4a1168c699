"""`seqline backup` and `seqline restore`: what seqline remembers, kept apart and brought back."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from flows.reporting import report
from flows.settings import Settings
from pipelines.errors import UserError
from pipelines.operations import backups

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LAST = "backup.json"  # in run/: where the last one was put


def backup(
    to: Annotated[
        Path | None, typer.Option(help="The folder of the backups, on another disk; by default the workspace's.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="The newest that stay; older ones are deleted.")] = 3,
    as_json: Json = False,
) -> None:
    """Copy databases, versions' files, data and keys, while all runs on. It holds private keys and the scrubbed samples."""
    settings = Settings()
    for what, url in (("SEQLINE_DATABASE", settings.database), ("MLFLOW_TRACKING_URI", settings.mlflow)):
        if not url.startswith(f"sqlite:///{settings.workspace}"):
            raise UserError(f"{what}: lies elsewhere: back it up there (pg_dump, or that server's own way)")
    folder = to.resolve() if to else settings.workspace / "backups"
    made = backups.make(settings.workspace, folder, time.time(), keep)
    told = {"path": str(made.path), "at": made.at, "files": made.files, "bytes": made.size}
    (settings.folder("run") / LAST).write_text(json.dumps(told))
    where = "" if to else "\nnext           it lies on the same disk: `seqline backup --to` another one, or copy it away"
    report(told, as_json, f"{made.path}: {made.files} files, {made.size / 1e6:,.1f} MB{where}")


def restore(
    path: Annotated[Path | None, typer.Argument(help="The backup; by default the newest known.")] = None,
    as_json: Json = False,
) -> None:
    """Bring databases, versions' files, data and keys back from a backup; what is there now is kept beside."""
    settings = Settings()
    _nothing_runs(settings)
    wanted = path or newest(settings)
    if wanted is None:
        raise UserError("no backup is known: give the path of one (`seqline backup` makes them)")
    put = backups.restore(wanted.resolve(), settings.workspace, time.time())
    text = f"restored from {wanted}: {len(put)} files put back ({', '.join(put[:3])}{', ...' if len(put) > 3 else ''})"
    shown = text if put else f"{wanted}: all of it is there already"
    forgot = sorted(path.name.removesuffix(".forgotten.json") for path in settings.workspace.glob("retention/*.forgotten.json"))
    shown += "".join(f"\nnext           `seqline samples {each} sweep`: what was forgotten since goes again" for each in forgot)
    report({"path": str(wanted), "restored": put}, as_json, shown)


def newest(settings: Settings) -> Path | None:
    """The newest whole backup: in the workspace, or where the last one was put."""
    there = backups.found(settings.workspace / "backups")
    last = settings.workspace / "run" / LAST
    if last.is_file() and (elsewhere := Path(json.loads(last.read_text())["path"])).is_dir():
        there += backups.found(elsewhere.parent)
    return max(there, key=lambda each: each.at).path if there else None


def _nothing_runs(settings: Settings) -> None:
    """Raises UserError: something runs that would write on into files which are replaced."""
    from flows import serve
    from flows.stack import infra
    from flows.stack import members as stack

    if stack.running(settings):
        raise UserError("the stack runs, and would write on into the old files: `seqline down` first")
    for spec in infra.served(settings.project):
        if serve.health(spec):
            raise UserError(
                f"the gateway of {spec.name} runs, and would write on into the old files: `seqline drain {spec.name}` first"
            )
