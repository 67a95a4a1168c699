"""Runbooks read from pages, filled in, and run: what a shell is given, and where a run ends."""

import os
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.operations import runbooks, running
from pipelines.operations.runbooks import HOLE, Step

PAGES = Path(__file__).parents[2] / "infra" / "runbooks"
GIVEN = {"model", "spec", "gateway", "admin", "workspace", "why", "endpoint", "threads"}
"""What `seqline runbook` fills in, and what a person gives by --set."""
PAGE = """# Title

## When

It burns.

## It worked when

It no longer burns.

## Steps

Look at
it:

```sh
echo {why}
```

It is out:

```sh check
test ! -e {workspace}/fire
```
"""


@pytest.mark.parametrize("name", runbooks.names(PAGES))
def test_each_page_can_be_read_and_asks_for_nothing_unknown(name: str) -> None:
    book = runbooks.read(PAGES, name)
    assert book.title
    assert book.when
    assert book.worked
    assert runbooks.holes(book) <= GIVEN
    for step in runbooks.filled(book, dict.fromkeys(GIVEN, "x")).steps:
        assert re.match(r"seqline ", step.command), step.command


def test_an_alerts_page_is_no_runbook() -> None:
    with pytest.raises(UserError, match=r"cost-near-cap: no such runbook: there are backup-model, drain"):
        runbooks.read(PAGES, "cost-near-cap")


def test_a_page_is_read() -> None:
    book = runbooks.parse("fire", PAGE)
    assert (book.title, book.when, book.worked) == ("Title", "It burns.", "It no longer burns.")
    assert book.steps == (
        Step(1, "Look at it:", "echo {why}"),
        Step(2, "It is out:", "test ! -e {workspace}/fire", check=True),
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("## When", "## Whenever", "has no section `## When`"),
        ("## Steps", "## Step", "has no section `## Steps`"),
        ("sh check", "sh", "the last block of `## Steps`, and no other"),
        ("```sh\n", "```sh check\n", "the last block of `## Steps`, and no other"),
        ("It is out:", "", "step 2 does not say what it does"),
    ],
)
def test_a_page_that_is_no_runbook_is_refused_in_one_line(old: str, new: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        runbooks.parse("fire", PAGE.replace(old, new, 1))
    assert "\n" not in str(refused.value)


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_value_reaches_the_shell_as_it_is(value: str) -> None:
    book = runbooks.filled(runbooks.parse("fire", PAGE), {"why": value, "workspace": value})
    assert shlex.split(book.steps[0].command) == ["echo", value]
    assert shlex.split(book.steps[1].command)[3] == f"{value}/fire"


def test_a_missing_value_is_told_and_the_shells_own_braces_stay() -> None:
    with pytest.raises(UserError, match="fire: needs a value for why: add `--set why=VALUE`"):
        runbooks.filled(runbooks.parse("fire", PAGE), {"workspace": "/x"})
    assert HOLE.findall('${home} {"why": 1} {model} { model }') == ["model"]


def steps(*commands: str) -> list[Step]:
    return [Step(number, "does it", command) for number, command in enumerate(commands, 1)]


def test_the_first_step_that_fails_ends_the_run(tmp_path: Path) -> None:
    heard: list[int] = []
    commands = steps("echo one; echo two >&2", "false; echo never", "touch never")
    done = running.run(commands, tmp_path, {"PATH": os.environ["PATH"]}, lambda each: heard.append(each.code))
    assert [(each.code, each.said) for each in done] == [(0, "one\ntwo"), (1, "")]
    assert heard == [0, 1]
    assert not (tmp_path / "never").exists()


def test_a_step_that_hangs_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    (done,) = running.run(steps("sleep 600 & echo $! > child; wait"), tmp_path, {"PATH": os.environ["PATH"]}, longest=2.0)
    assert done.code == running.TIMED_OUT
    assert "stopped after 2 s" in done.said  # and its pipe was closed: the child is gone, too
