"""What a process says, line by line, when libraries, threads and the process itself fail with a user's text in hand."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving import logs

SECRET = "zebrafish"
PROGRAM = """
import asyncio, gc, logging, sys, threading, warnings
from pipelines.serving import logs
for name in ("uvicorn.error", "aiohttp.server"):
    logging.getLogger(name).addHandler(logging.StreamHandler())  # as they come
logs.set_up("gateway", "3")
S = "zebrafish"
ours = logging.getLogger("seqline.serving")
ours.info("route: generation %d", 4)
ours.debug("not shown")
ours.warning("odd \\ud800", extra={"version": "7", "text": S})
logs.request.set("r1")
try:
    raise ValueError(S)
except ValueError:
    ours.exception("a request failed")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=True)
uvicorn = logging.getLogger("uvicorn.error")
uvicorn.warning(f"bad {S}")
uvicorn.warning("Started %s process [%d] at 100%%", S, 42)
uvicorn.error("no such %d", S)
logging.getLogger("aiohttp.server").error("%(x)s", {"x": S})
logging.getLogger("new.library").error(ValueError(S))
logging.getLogger("uvicorn.access").error("GET /%s", S)
warnings.warn(S)
async def fail(text):
    raise KeyError(text)
async def main():
    task = asyncio.create_task(fail(S))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()
    asyncio.get_running_loop().call_soon(int, S)
    await asyncio.sleep(0)
asyncio.run(main())
thread = threading.Thread(target=lambda: int(S))
thread.start()
thread.join()
class Broken:
    def __del__(self):
        raise RuntimeError(S)
Broken()
raise OSError(S)
"""


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert SECRET not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def of(said: list[dict[str, Any]], logger: str) -> list[str]:
    return [line["event"] for line in said if line["logger"] == logger]


def test_our_lines_say_what_they_say(said: list[dict[str, Any]]) -> None:
    first, second, third = [line for line in said if line["logger"] == "seqline.serving"]
    assert first.pop("time")[10] == "T"
    assert first == {
        "level": "info", "logger": "seqline.serving", "event": "route: generation 4", "role": "gateway", "version": "3",
    }  # fmt: skip
    assert (second["event"], second["version"], "text" in second) == ("odd \ud800", "7", False)
    assert (third["event"], third["request"], third["error"]) == (
        "a request failed",
        "r1",
        "ValueError in <module> (<string>:14)",
    )


def test_of_libraries_only_what_stands_in_their_code_and_numbers(said: list[dict[str, Any]]) -> None:
    application, formatted, started, broken = of(said, "uvicorn.error")
    assert application == "Exception in ASGI application"
    assert started == "Started ... process [42] at 100%"
    assert broken == "no such ..."
    for event in (formatted, *of(said, "new.library"), *of(said, "py.warnings")):
        assert event.startswith(logs.WITHHELD)
    assert of(said, "aiohttp.server") == ["..."]
    assert of(said, "uvicorn.access") == []


def test_what_nobody_caught_is_told_by_type_and_place(said: list[dict[str, Any]]) -> None:
    assert [line["error"].partition(" (")[0] for line in said if line["logger"] == "asyncio"] == [
        "KeyError in fail",
        "ValueError in _run",
    ]
    thread, finaliser, end = of(said, "seqline.process")
    assert thread.startswith("a thread ended by an error: ValueError in <lambda>")
    assert finaliser.startswith("an error in a finaliser: RuntimeError in __del__")
    assert end.startswith("the process ended by an error: OSError in <module>")


@given(st.text(), st.lists(st.one_of(st.text(min_size=1), st.integers(), st.floats(allow_nan=False)), max_size=3))
def test_no_text_of_a_librarys_arguments_is_shown(text: str, arguments: list[object]) -> None:
    record = logging.LogRecord("other", logging.ERROR, "nowhere.py", 1, f"{SECRET} {text} %s", (*arguments, SECRET), None)
    assert SECRET not in logs.event_of(record)
    assert json.loads(logs.Lines("engine", None).format(record))["level"] == "error"
