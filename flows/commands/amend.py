"""`seqline set NAME KEY=VALUE ...`: keys of a model's YAML, written so that its comments and its order stay."""

import io
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, find_spec
from pipelines.errors import UserError

if TYPE_CHECKING:
    from ruamel.yaml import YAML


def amend(
    name: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")],
    changes: Annotated[list[str], typer.Argument(help="KEY=VALUE, as serving.queue=64; KEY= takes the key out.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Set keys of a model's YAML; refused whole if the YAML would be wrong. A running gateway keeps what it has read."""
    settings = Settings()
    path = find_spec(name, settings)
    if path.resolve().is_relative_to(settings.workspace):
        raise UserError(f"{name}: no YAML in models/ has this name, so there is none to write into: give the path of one")
    before = path.read_text(encoding="utf-8")
    wanted = dict(_pair(change) for change in changes)
    after, was = changed(before, wanted)
    if after != before:
        _write(path, after)
    undo = shlex.join(["seqline", "set", name, *(f"{key}={value}" for key, value in was.items())])
    text = f"{path}: {', '.join(changes)}\nundo           {undo}" if after != before else f"{path}: says so already"
    report({"path": str(path), "set": wanted, "was": was}, as_json, text)


def changed(text: str, wanted: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The YAML `text` with the keys `wanted` (dotted; "" takes one out), and what they were ("" for not there).

    Raises:
        UserError: `text` is no YAML of sections, a key names none of them, or a value is no YAML.
    """
    from ruamel.yaml import YAML

    yaml, out = YAML(), io.StringIO()
    yaml.preserve_quotes, yaml.width = True, 4_096
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = _parsed(yaml, text, "the YAML as it is")
    if not isinstance(content, dict):
        raise UserError("the YAML as it is: must have keys: `seqline schema` says which")
    was = {key: _put(content, key.split("."), value) for key, value in wanted.items()}
    yaml.dump(content, out)
    return (text if all(was[key] == value for key, value in wanted.items()) else out.getvalue()), was


def _put(content: Any, key: list[str], value: str) -> str:
    """Set one key; sections that it needs are made, and one that it leaves empty goes. Returns what it was."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    section, rest = key[0], key[1:]
    if rest:
        if section not in content:
            content.insert(0, section, CommentedMap())
            content[section].fa.set_flow_style()
        if not isinstance(content[section], dict):
            raise UserError(f"{'.'.join(key)}: {section} is no section")
        was = _put(content[section], rest, value)
        if not content[section]:
            del content[section]
        return was
    was = _said(content[section]) if section in content else ""
    if not value:
        content.pop(section, None)
        return was
    given = _parsed(YAML(typ="safe", pure=True), value, f"{section}={value}")
    if section in content:
        content[section] = given
    else:
        content.insert(0, section, given)  # at the end it would come after blank lines
    return was


def _parsed(yaml: "YAML", text: str, what: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return yaml.load(text)
    except (YAMLError, ValueError) as error:  # a ValueError: a date that is none
        said = getattr(error, "problem", None) or type(error).__name__
        raise UserError(f"{what}: is no YAML: {said}") from None


def _said(value: object) -> str:
    """A value as it would be given: `null`, `true`, a number or a word."""
    if isinstance(value, dict | list):
        raise UserError("only single values can be set: edit the YAML for a whole section")
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _pair(change: str) -> tuple[str, str]:
    key, equals, value = change.partition("=")
    if not equals or not all(part.isidentifier() for part in key.split(".")):
        raise UserError(f"{change}: must be KEY=VALUE, as serving.queue=64")
    return key, value


def _write(path: Path, text: str) -> None:
    """Check the new text as a spec, then put it in the old one's place."""
    from pipelines.spec import load

    fresh = path.with_name(f".{path.name}.{os.getpid()}")  # not *.yaml: nobody else finds it
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(path.stat().st_mode)
    try:
        load(fresh)
    except UserError as error:
        raise UserError(str(error).replace(fresh.name, path.name)) from None
    else:
        fresh.replace(path.resolve())
    finally:
        fresh.unlink(missing_ok=True)
