"""`seqline keys`: who may ask a model's gateway (specs with `serving.api_keys: required`) and its admin API."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of

if TYPE_CHECKING:
    from pipelines.rollout.store import Store
    from pipelines.serving.keys import Key

app = typer.Typer(no_args_is_help=True, help="API keys of a model's gateway: add, list, revoke.")

Name = Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def add(
    name: Name,
    holder: Annotated[str, typer.Argument(help="Who gets it: stands in numbers and histories.")],
    rate: Annotated[int | None, typer.Option(help="Requests a minute; by default serving.requests_per_minute.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="It opens the admin API too.")] = False,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once: only its sha256 is kept."""
    from pipelines.serving import keys

    model, store = _model(name)
    secret = keys.add(store, model, holder, rate=rate, admin=admin)
    shown = f"{secret}\nkeep it: it is not shown again. Requests send `Authorization: Bearer {secret[:6]}...`"
    _report({"name": model, "holder": holder, "key": secret}, as_json, shown)


@app.command("list")
def list_(name: Name, as_json: Json = False) -> None:
    """The keys, without what is secret of them."""
    from rich.table import Table

    from pipelines.serving import keys

    model, store = _model(name)
    store.create()
    found = keys.listed(store, model)
    table = Table("id", "holder", "requests a minute", "admin", "made", "revoked", box=None)
    for key in found:
        rate = str(key.requests_per_minute or "as the spec says")
        table.add_row(key.id, key.holder, rate, "yes" if key.admin else "", _when(key.created_at), _when(key.revoked_at))
    _report([_told(key) for key in found], as_json, table if found else f"{model}: no keys yet")


@app.command()
def revoke(
    name: Name,
    which: Annotated[str, typer.Argument(help="A key's id (see `seqline keys list`), or a holder: all of that holder's keys.")],
    as_json: Json = False,
) -> None:
    """Take a key back; gateways refuse it within a second."""
    from pipelines.serving import keys

    model, store = _model(name)
    gone = keys.revoke(store, model, which)
    _report([_told(key) for key in gone], as_json, "\n".join(f"revoked        {key.id} {key.holder}" for key in gone))


def _told(key: "Key") -> dict[str, Any]:
    return {"id": key.id, **{field: value for field, value in asdict(key).items() if field != "sha256"}}


def _when(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) if at else ""


def _model(name: str) -> "tuple[str, Store]":
    from pipelines.rollout.store import Store

    settings = Settings().apply()
    return spec_of(name, settings).name, Store(settings.database)


def _report(content: Any, as_json: bool, shown: Any) -> None:

    report(content, as_json, shown)
