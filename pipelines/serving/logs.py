"""JSON lines on stderr: time, level, logger, event, version, request. Never any text of a request.

Our own messages hold none by the house's rule. Those of libraries might (asyncio quotes the exception of a task that nobody
awaited): of them only what stands in their code is shown, and numbers. Of an exception, only its type and place are.
"""

import logging
import re
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from types import CodeType, TracebackType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

OURS = ("seqline", "pipelines", "flows")
WITHHELD = "a message that may hold text: withheld"
CONVERSION = re.compile(r"%(?:\(\w+\))?[-#0 +]*\d*(?:\.\d+)?[a-zA-Z%]")
request: ContextVar[str | None] = ContextVar("request", default=None)
"""The id of the request that is being answered: set it where it is known, and each line from then on has it."""


class Lines(JsonFormatter):
    """One line a record, of these fields alone: a record's `extra` is not shown, but for our `version`."""

    def __init__(self, role: str, version: str | None) -> None:
        super().__init__()
        self._role, self._version = role, version

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event_of(record),
            "role": self._role,
            "version": record.__dict__.get("version", self._version) if ours(record.name) else self._version,
            "request": request.get(),
        }
        if record.exc_info and record.exc_info[0]:
            fields["error"] = error_of(record.exc_info[0], record.exc_info[2])
        return self.serialize_log_record({name: value for name, value in fields.items() if value is not None})


def set_up(role: str, version: str | None = None, *, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Log as JSON lines from here on, in this whole process: our loggers, uvicorn's, aiohttp's, asyncio's, and what would
    end a thread or the process. `role` is gateway, engine, judge or review; `version` the one that an engine serves."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Lines(role, version))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in [name for name in logging.root.manager.loggerDict if not ours(name)]:
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
    logging.getLogger("uvicorn.access").disabled = True
    logging.raiseExceptions = False  # or a line that cannot be written is printed with its arguments
    logging.captureWarnings(True)
    died = logging.getLogger("seqline.process")

    def ended(kind: type[BaseException], _error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            died.critical("the process ended by an error: %s", error_of(kind, trace))

    sys.excepthook = ended
    threading.excepthook = lambda found: died.error("a thread ended by an error: %s", _found(found))
    sys.unraisablehook = lambda found: died.error("an error in a finaliser: %s", _found(found))


def ours(logger: str) -> bool:
    return logger.partition(".")[0] in OURS


def event_of(record: logging.LogRecord) -> str:
    """What may be shown of a record's message."""
    if ours(record.name):
        return record.getMessage()
    if not isinstance(record.msg, str) or not _literal(record.msg, record):
        return f"{WITHHELD} ({record.module}:{record.lineno})"
    arguments = iter(record.args if isinstance(record.args, tuple) else ())

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value = next(arguments, None)
        return str(value) if isinstance(value, int | float) else "..."

    return CONVERSION.sub(fill, record.msg).strip() if record.args else record.msg.strip()


def error_of(kind: type[BaseException], trace: TracebackType | None) -> str:
    """The type of an exception and the innermost place that it came from: never its message."""
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" in {code.co_name} ({code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return kind.__name__ + place


def _found(found: Any) -> str:
    return error_of(found.exc_type, found.exc_traceback)


def _literal(message: str, record: logging.LogRecord) -> bool:
    """Does `message` stand in the code that logged it, word for word? Then nothing of a request is in it."""
    frame = sys._getframe()
    while frame is not None and (frame.f_code.co_filename, frame.f_lineno) != (record.pathname, record.lineno):
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and message in _texts(frame.f_code)


def _texts(code: CodeType) -> list[str]:
    return [each for each in code.co_consts if isinstance(each, str)]
