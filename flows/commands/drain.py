"""`seqline drain NAME`: the gateway finishes what is in flight and ends; `--again` waits for the one that takes its place.

Under `make up` supervisor starts it again at once, and it reads the YAML anew.
"""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import SeqlineError

if TYPE_CHECKING:
    from flows.commands.admin import Admin
    from pipelines.operations.facts import Gateway

POLL_SECONDS = 0.2


def drain(
    name: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")],
    again: Annotated[bool, typer.Option("--again", help="Wait until another one answers in its place.")] = False,
    seconds: Annotated[float, typer.Option(help="The longest that either may take.")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have the gateway finish what is in flight and end, as SIGTERM does."""
    from flows.commands.admin import Admin

    settings = Settings()
    spec = spec_of(name, settings)
    admin = Admin(spec, settings)
    asked, before = time.time(), admin.gateway()
    admin.drain()
    if before:
        (settings.folder("run") / f"drained-{spec.name}.json").write_text(json.dumps(asdict(before)))
    after = _ended(admin, before, asked + seconds)
    took = time.time() - asked
    if again:
        after = _another(admin, before, time.time() + seconds)
    what = f"another one answers since {time.time() - after.since:.1f} s" if after else "nothing answers there now"
    text = f"{spec.name}: the gateway finished and ended within {took:.1f} s; {what}"
    report({"name": spec.name, "seconds": took, "another": after is not None}, as_json, text)


def _ended(admin: "Admin", before: "Gateway | None", until: float) -> "Gateway | None":
    """Wait until the gateway that was asked is gone; what answers then, if anything does.

    Raises:
        SeqlineError: it is still there.
    """
    while admin.listening():
        there = admin.gateway()
        if there and not (before and there.same(before)):
            return there
        if time.time() > until:
            still = f"{there.said['in_flight']} requests are" if there else "something is"
            raise SeqlineError(f"{admin.spec.name}: {still} still in flight: ask again")
        time.sleep(POLL_SECONDS)
    return None


def _another(admin: "Admin", before: "Gateway | None", until: float) -> "Gateway":
    """Raises SeqlineError: nobody started one, or its champion does not answer."""
    while not ((there := admin.gateway()) and there.said["ok"] and not (before and there.same(before))):
        if time.time() > until:
            raise SeqlineError(
                f"{admin.spec.name}: nobody started it again: `seqline serve {admin.spec.name}`, or `seqline up`"
            )
        time.sleep(POLL_SECONDS)
    return there
