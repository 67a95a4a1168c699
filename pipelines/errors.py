"""The errors that seqline raises on purpose, and the exit code of each.

SeqlineError            1  a fault that is nobody's input: one line says what broke
├── UserError           2  the input is wrong: the line names the file, the field or the row, and the mend
├── Transient           1  worth another try (network, lock, a busy server): flows retry it
└── GateClosed          3  the evidence did not suffice: `reasons` lists each closed rule
"""

from collections.abc import Sequence


class SeqlineError(Exception):
    exit_code = 1


class UserError(SeqlineError):
    exit_code = 2


class Transient(SeqlineError):
    pass


class GateClosed(SeqlineError):
    exit_code = 3

    def __init__(self, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)
