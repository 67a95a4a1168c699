"""Runbooks: pages of infra/runbooks/ whose steps are commands, read, and filled in for a model.

A page has a title, a section `When` (to use it), a section `It worked when` (what one sees), and a section `Steps`: fenced `sh`
blocks, each under the sentence that says what it does. The last block is fenced `sh check`: it proves the effect, by its exit
status. `{model}` and the like in a command are filled in, quoted for the shell.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines.errors import UserError

HOLE = re.compile(r"(?<!\$)\{([a-z_]+)\}")
"""A placeholder of a command; `${NAME}` is the shell's own."""
WHEN, WORKED, STEPS = "When", "It worked when", "Steps"


@dataclass(frozen=True)
class Step:
    """One command of a runbook, `number` from 1 on; `check` if it proves the effect and changes nothing."""

    number: int
    text: str
    command: str
    check: bool = False


@dataclass(frozen=True)
class Runbook:
    name: str
    title: str
    when: str
    worked: str
    steps: tuple[Step, ...]


def names(folder: Path) -> list[str]:
    """The pages of `folder` that have steps to run; the others are the pages of alerts."""
    return sorted(path.stem for path in folder.glob("*.md") if f"\n## {STEPS}\n" in path.read_text(encoding="utf-8"))


def read(folder: Path, name: str) -> Runbook:
    """The runbook `name` of `folder`.

    Raises:
        UserError: there is no such page, or it is not written as a runbook is.
    """
    known = names(folder)
    if name not in known:
        raise UserError(f"{name}: no such runbook: there are {', '.join(known) or 'none'} (in {folder})")
    return parse(name, (folder / f"{name}.md").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Runbook:
    """The runbook that a page says.

    Raises:
        UserError: it has no title, lacks a section, or does not end with a check.
    """
    sections = dict(_sections(MarkdownIt().parse(text)))
    title = next(iter(sections), "")
    for wanted in (WHEN, WORKED, STEPS):
        if wanted not in sections:
            raise UserError(f"{name}.md: has no section `## {wanted}`")
    steps = tuple(_steps(sections[STEPS]))
    if not steps or not steps[-1].check or any(step.check for step in steps[:-1]):
        raise UserError(f"{name}.md: the last block of `## {STEPS}`, and no other, must be fenced as `sh check`")
    if unsaid := [step.number for step in steps if not step.text]:
        raise UserError(f"{name}.md: step {unsaid[0]} does not say what it does: put a sentence above its block")
    return Runbook(name, title, _prose(sections[WHEN]), _prose(sections[WORKED]), steps)


def filled(runbook: Runbook, values: Mapping[str, str]) -> Runbook:
    """`runbook` with its commands filled in.

    Raises:
        UserError: a value is missing; the line says how to give it.
    """

    def fill(command: str) -> str:
        def put(hole: re.Match[str]) -> str:
            if hole[1] not in values:
                raise UserError(f"{runbook.name}: needs a value for {hole[1]}: add `--set {hole[1]}=VALUE`")
            return shlex.quote(values[hole[1]])

        return HOLE.sub(put, command)

    return replace(runbook, steps=tuple(replace(step, command=fill(step.command)) for step in runbook.steps))


def holes(runbook: Runbook) -> set[str]:
    """The values that the commands ask for."""
    return {name for step in runbook.steps for name in HOLE.findall(step.command)}


def _sections(tokens: Sequence[Token]) -> Iterator[tuple[str, list[Token]]]:
    """(heading, what stands under it), the page's title first."""
    at = [place for place, token in enumerate(tokens) if token.type == "heading_open" and token.tag in ("h1", "h2")]
    for begin, end in zip(at, [*at[1:], len(tokens)], strict=True):
        yield tokens[begin + 1].content, list(tokens[begin + 3 : end])


def _steps(tokens: Sequence[Token]) -> Iterator[Step]:
    said, number = "", 0
    for token in tokens:
        if token.type == "inline":
            said = f"{said} {_line(token.content)}".strip()
        elif token.type == "fence" and token.info.split()[:1] == ["sh"]:
            number += 1
            yield Step(number, said, token.content.strip(), check="check" in token.info.split())
            said = ""


def _prose(tokens: Sequence[Token]) -> str:
    return "\n".join(_line(token.content) for token in tokens if token.type == "inline")


def _line(text: str) -> str:
    return " ".join(text.split())
