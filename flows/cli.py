"""The command line.

Exit codes: 0 done (or waiting for an approval, said plainly), 1 a fault, 2 the user's mistake, 3 a gate closed.
"""

import errno
import gc
import json
import sys
import time
import traceback
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.commands import data, keys, orders
from flows.commands.amend import amend
from flows.commands.audit import audit
from flows.commands.backup import backup, restore
from flows.commands.batch import batch
from flows.commands.cost import cost
from flows.commands.distil import distil
from flows.commands.divert import divert
from flows.commands.doctor import doctor
from flows.commands.drain import drain
from flows.commands.drift import drift
from flows.commands.export import export
from flows.commands.gate import gate
from flows.commands.labels import labels
from flows.commands.postmortem import postmortem
from flows.commands.runbook import runbook
from flows.commands.samples import samples
from flows.commands.sweep import sweep
from flows.overview.page import overview
from flows.reporting import console, report
from flows.settings import Settings, spec_of
from flows.watching.look import watch as watch_once
from pipelines.errors import GateClosed, SeqlineError

if TYPE_CHECKING:
    from flows.retrain import Retrained
    from pipelines.rollout.controller import Outcome
    from pipelines.spec import Spec

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(data.app, name="data")
app.add_typer(keys.app, name="keys")
app.command("set")(amend)
app.command()(audit)
app.command()(backup)
app.command()(batch)
app.command()(cost)
app.command()(distil)
app.command()(divert)
app.command()(doctor)
app.command()(drain)
app.command()(drift)
app.command()(export)
app.command()(gate)
app.command()(labels)
app.command()(overview)
app.command()(postmortem)
app.command()(restore)
app.command()(runbook)
app.command()(samples)
app.command()(sweep)
app.command()(watch_once)
for order in (orders.status, orders.history, orders.page, orders.rollback, orders.pause, orders.freeze, orders.resume):
    app.command()(order)
complaints = Console(stderr=True, highlight=False, soft_wrap=True)

KEPT_OBJECTS = (50_000, 10, 10)  # as mypy does: what imports make stays, and Python's 700 have it looked at for seconds
NEARLY_NOTHING = 2**20  # bytes: with less, whatever failed has failed for want of space

Name = Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def retrain(spec: Annotated[Path, typer.Argument(help="The model's YAML.")], as_json: Json = False) -> None:
    """Raw data to a version in production: every step that is not done yet."""
    from flows import receipt
    from flows.sole import sole
    from pipelines.rollout.store import Store
    from pipelines.spec import kind_of, load

    settings = Settings().apply()
    if kind_of(spec) == "judge":
        _judge(spec, settings, as_json)
        return
    model = load(spec)
    settings.check_disk()
    store = Store(settings.database)
    store.create()
    with sole("retrain", model.name, settings, lambda line: complaints.print(f"seqline: {line}", markup=False)):
        done = receipt.find(model, receipt.key(model, spec, settings), settings)
        if done and store.open_rollout(model.name) is None:
            text = f"nothing to do: {model.name} {done.version} already comes from this data, spec and code"
            report({"name": model.name, "version": done.version, "why": text}, as_json, text)
            return
        with progress(as_json):
            made = _whole_line(model, spec, settings)
        if made:
            from flows import summary

            report(summary.facts(made, settings), as_json, "\n".join(summary.lines(made, settings)))


def _judge(spec: Path, settings: Settings, as_json: bool) -> None:
    """The line of a judge, which has no rollout: it is champion when its gate is open."""
    from pipelines.spec import load_judge

    judge = load_judge(spec)
    settings.check_disk()
    gc.set_threshold(*KEPT_OBJECTS)
    from flows.judging import judging as flow
    from flows.stack.prefect_server import served

    with progress(as_json), served(settings):
        made = flow(str(spec))
    paper = made.report.path / "report.md"
    text = (
        f"{judge.name} {made.version.version} is champion (report: {paper})\n"
        f"next           `scoring: {{judge: {judge.name}@champion}}` in a model's YAML"
    )
    report({"name": judge.name, "version": made.version.version, "report": str(paper)}, as_json, text)


def _whole_line(model: "Spec", spec: Path, settings: Settings) -> "Retrained | None":
    """All that a changed retrain does. Two at once would fight over the model's work, so the caller holds the lock."""
    from pipelines import sources

    gc.set_threshold(*KEPT_OBJECTS)
    # What is wrong with the data is told before the seconds that Prefect's start costs; the flow finds what is made here.
    sources.ingest(model.data, spec.parent, settings.source_cache, settings.quarantine(model.name), settings.source_urls)
    from flows.retrain import retrain as flow
    from flows.stack.prefect_server import served

    with served(settings):
        return flow(str(spec))


@app.command()
def pretrain(spec: Annotated[Path, typer.Argument(help="The base's YAML.")], as_json: Json = False) -> None:
    """Several models' data to a base that they are fine-tuned from: every step that is not done yet."""
    from pipelines.spec import load_base

    settings = Settings().apply()
    base = load_base(spec)
    settings.check_disk()
    gc.set_threshold(*KEPT_OBJECTS)
    from flows.pretrain import pretrain as flow
    from flows.stack.prefect_server import served

    with progress(as_json), served(settings):
        made = flow(str(spec))
    card = made / "README.md"
    text = f"{base.name} lies in {made} (card: {card})\nnext           `training: {{base: {base.name}}}` in a model's YAML"
    report({"name": base.name, "folder": str(made), "card": str(card)}, as_json, text)


@app.command()
def rollout(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Tick to the end, the approval, or the probation.")] = False,
    as_json: Json = False,
) -> None:
    """One tick of the controller: read everything anew, decide, apply."""
    from flows import rollout as flow
    from flows import summary

    settings = Settings().apply()
    spec = spec_of(name, settings)
    if not watch:
        outcome = flow.tick(spec, settings)
        report(_told(outcome), as_json, outcome.summary)
        return
    with progress(as_json):
        watched = flow.watch(spec, settings)
    shown = [*summary.traffic(watched), *(f"next           {line}" for line in summary.what_next(spec, watched, settings))]
    report({**_told(watched.outcome), "traffic": watched.traffic}, as_json, "\n".join(shown))


def _told(outcome: "Outcome") -> dict[str, Any]:
    return {"open": outcome.open, "summary": outcome.summary, "reasons": outcome.reasons}


@app.command()
def serve(name: Name, parent: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """The model's gateway, its engines and its judge, until SIGTERM."""
    from flows.serve import serve as run
    from pipelines.processes import end_with

    if parent:
        end_with(parent)
    run(name, Settings().apply(), standing=parent is None)


@app.command()
def up(name: Annotated[str, typer.Argument()] = "synopsis") -> None:
    """Start Prefect (server and worker), MLflow and the gateway, and print their addresses."""
    from flows.stack import members as stack

    for line in stack.up(name, Settings().apply()):
        console.print(line)
    console.print("stop them: make down")


@app.command()
def down() -> None:
    """Stop what `up` started."""
    from flows.stack import members as stack

    console.print("stopped" if stack.down(Settings().apply()) else "nothing runs")


@app.command()
def fetch(name: Name, version: str) -> None:
    """Bring a version's files from the registry: whole, and signed by the key that engines trust."""
    from pipelines.registry import Registry

    settings = Settings().apply()
    registry, live = Registry(settings.mlflow, settings.artifacts), settings.folder("live", name)
    console.print(registry.fetch(name, version, live, settings.signer).name)


@app.command()
def lineage(name: Annotated[str, typer.Argument(help="NAME, NAME@champion or NAME@VERSION.")], as_json: Json = False) -> None:
    """Which data, code, spec and approval made a version."""
    from pipelines.registry import Registry

    settings = Settings().apply()
    model, _, reference = name.partition("@")
    found = Registry(settings.mlflow, settings.artifacts).lineage(model, reference or "champion")
    report(found, as_json, "\n".join(f"{key:20} {orders.short(value)}" for key, value in found.items()))


@app.command()
def schema() -> None:
    """The JSON Schema of a model's YAML."""
    from pipelines.spec import schema as spec_schema

    sys.stdout.write(json.dumps(spec_schema(), indent=1) + "\n")


def progress(as_json: bool) -> AbstractContextManager[object]:
    """Where the JSON alone may stand on stdout, what is said on the way goes to stderr."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def main() -> None:
    try:
        app()
    except GateClosed as error:
        complaints.print("\n".join([f"seqline: {error}", *(f"  {reason}" for reason in error.reasons)]), markup=False)
        sys.exit(error.exit_code)
    except SeqlineError as error:
        complaints.print("\n".join(f"seqline: {line}" for line in str(error).splitlines()), markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complaints.print("seqline: stopped; the next run carries on from here")
        sys.exit(130)
    except Exception as error:
        fault(error)
    finally:
        gc.freeze()  # or Python's last collection walks all that torch, MLflow and Prefect brought: 3 CPU seconds


def fault(error: Exception) -> None:
    """A fault of ours or the machine's: one line for the user; of ours, the traceback goes to the workspace's logs."""
    settings = Settings()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or settings.free_bytes() < NEARLY_NOTHING:
        complaints.print("seqline: no space left on the disk: free some and run the same command again; nothing is lost")
        sys.exit(1)
    path = settings.folder("logs") / "faults.log"
    with path.open("a") as stream:
        stream.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + "".join(traceback.format_exception(error)) + "\n")
    complaints.print(f"seqline: a fault: {type(error).__name__}: {str(error)[:300]} (traceback: {path})", markup=False)
    sys.exit(1)


if __name__ == "__main__":
    main()
