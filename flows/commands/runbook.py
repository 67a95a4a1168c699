"""`seqline runbook NAME MODEL`: a page of infra/runbooks/ filled in for a model; with --run its steps are done, one by one."""

import json
import os
import sys
from dataclasses import asdict
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.reporting import console, report
from flows.settings import Settings, find_spec
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.operations.runbooks import Runbook
    from pipelines.operations.running import Done
    from pipelines.spec import Spec

FAILED = 1


def runbook(
    page: Annotated[
        str, typer.Argument(metavar="NAME", help="rollback, backup-model, shrink-beam, drain, restore, freeze, scale.")
    ],
    model: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")],
    run: Annotated[bool, typer.Option("--run", help="Do the steps; the first that fails ends it.")] = False,
    from_: Annotated[int, typer.Option("--from", min=1, help="Begin with this step.")] = 1,
    why: Annotated[str, typer.Option(help="Goes into the history.")] = "",
    values: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, for a page that asks for one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a runbook's commands for a model, or run them; the last step proves the effect."""
    from pipelines.operations import runbooks
    from pipelines.spec import load

    settings = Settings()
    path = find_spec(model, settings)
    spec = load(path)
    book = runbooks.read(settings.project / "infra" / "runbooks", page)
    book = runbooks.filled(book, {**known(spec, path, why or f"runbook {page}", settings), **_given(values or [])})
    if not run:
        report(asdict(book), as_json, "\n".join(shown(book, spec.name)))
        return
    steps = [step for step in book.steps if step.number >= from_]
    if not steps:
        raise UserError(f"--from {from_}: {page} has {len(book.steps)} steps")
    _run(book, spec.name, from_, settings, as_json)


def known(spec: "Spec", path: Path, why: str, settings: Settings) -> dict[str, str]:
    """What a page can name without being told."""
    from flows.serve import address

    admin = f"http://127.0.0.1:{spec.serving.admin}"
    found = {"model": spec.name, "spec": str(path), "gateway": address(spec), "admin": admin, "why": why}
    found["workspace"] = str(settings.workspace)
    endpoints = spec.serving.endpoints
    backup = spec.serving.overload.backup or (next(iter(endpoints)) if len(endpoints) == 1 else None)
    return {**found, "endpoint": backup} if backup else found


def shown(book: "Runbook", model: str) -> list[str]:
    """The page for a terminal."""
    lines = [f"{book.title} ({model})", "", f"when           {book.when}", f"worked when    {book.worked}"]
    for step in book.steps:
        lines += ["", f"{step.number}. {step.text}", *(f"   $ {line}" for line in step.command.splitlines())]
    return [*lines, "", f"next           do them by hand, or all: seqline runbook {book.name} {model} --run"]


def _run(book: "Runbook", model: str, from_: int, settings: Settings, as_json: bool) -> None:
    """Do the steps; exit 1 at the first that fails, saying how to go on."""
    from pipelines.operations import running

    journal = settings.folder("runbooks") / f"{model}.jsonl"

    def told(done: "Done") -> None:
        _keep(journal, book.name, done)
        if not as_json:
            for line in _said(done, len(book.steps)):
                console.print(line, markup=False)

    steps = [step for step in book.steps if step.number >= from_]
    done = running.run(steps, settings.project, environment(settings), told)
    failed = done[-1] if done[-1].code else None
    if failed:
        again = f"seqline runbook {book.name} {model} --run --from {failed.step.number}"
        end = f"stopped at step {failed.step.number}: exit status {failed.code}\nnext           mend it, then: {again}"
    else:
        end = f"done: {book.worked}"
    report({"runbook": book.name, "model": model, "done": [asdict(each) for each in done]}, as_json, end)
    if failed:
        raise typer.Exit(FAILED)


def environment(settings: Settings) -> dict[str, str]:
    """What steps find: this workspace, and this virtual environment's `seqline` first on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**settings.environment(), "PATH": path}


def _said(done: "Done", steps: int) -> list[str]:
    mark = "ok" if not done.code else f"FAILED ({done.code})"
    head = f"[{done.step.number}/{steps}] {done.step.text}"
    commands = [f"      $ {line}" for line in done.step.command.splitlines()]
    return [head, *commands, *(f"        {line}" for line in done.said.splitlines()), f"      {mark}, {done.seconds:.1f} s"]


def _keep(journal: Path, page: str, done: "Done") -> None:
    """For the postmortem's timeline; what a step said is not kept."""
    row = {"at": done.at, "runbook": page, "step": done.step.number, "text": done.step.text, "command": done.step.command}
    with journal.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**row, "code": done.code, "seconds": done.seconds, "by": getuser()}) + "\n")


def _given(values: list[str]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not equals or not name.isidentifier():
            raise UserError(f"--set {name}: must be NAME=VALUE")
    return {name: value for name, _, value in pairs}
