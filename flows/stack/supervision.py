"""The members of the stack (infra/Procfile) as supervisor keeps them: one that dies is started again.

At once where it had run, else after a second, then two, three and so on. What a member says lies in logs/NAME.log of the
workspace, in bounded files.
"""

import configparser
import io
import re
import shlex
import sys
from collections.abc import Container
from pathlib import Path

KEPT = {
    "autorestart": "true",
    "startsecs": "3",  # a member that ran so long is started again at once
    "startretries": "1000",
    "stopwaitsecs": "25",  # the gateway's drain
    "stopasgroup": "true",
    "killasgroup": "true",
    "redirect_stderr": "true",
    "stdout_logfile_maxbytes": "10MB",
    "stdout_logfile_backups": "2",
}
"""http://supervisord.org/configuration.html#program-x-section-settings"""
MEMBER = "SEQLINE_MEMBER"  # in the environment of a member and of all that it starts: its name
FAMILIES = ("mlflow", "prefect")
"""Their servers are children of the process that is kept: killed, it leaves them behind, with the port."""
TOLD = re.compile(r"(?:exited: (\S+) \((.*?); |success: (\S+) entered RUNNING state)")
MISTAKE = "exit status 2"


def members(procfile: str) -> dict[str, str]:
    """Name -> shell command of each line `NAME: COMMAND`."""
    named = (line.partition(":") for line in procfile.splitlines() if line.strip() and not line.startswith("#"))
    return {name.strip(): command.strip() for name, _, command in named}


def configuration(procfile: str, workspace: Path, absent: Container[str] = ()) -> str:
    """The configuration of supervisord for the members of a Procfile but the `absent`; what is written lies in `workspace`."""
    logs = workspace / "logs"
    parser = configparser.RawConfigParser()
    parser["supervisord"] = _escaped(
        {
            "nodaemon": "true",
            "silent": "true",
            "logfile": str(logs / "stack.log"),
            "pidfile": str(workspace / "run" / "stack.pid"),
        }
    )
    for name, command in members(procfile).items():
        if name in absent:
            continue
        left = f"{sys.executable} -m flows.stack.leftovers; " if name in FAMILIES else ""
        run = f"sh -c {shlex.quote(f'{left}exec {command}')}"
        member = {"command": run, "stdout_logfile": str(logs / f"{name}.log"), "environment": f'{MEMBER}="{name}"', **KEPT}
        parser[f"program:{name}"] = _escaped(member)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def mistaken(log: str) -> str | None:
    """The first member that ended last with exit code 2, a person's mistake, by what supervisord has logged since it started;
    not one that has run since."""
    last = {found[1] or found[3]: found[2] for found in TOLD.finditer(log)}
    return next((member for member, ended in last.items() if ended == MISTAKE), None)


def _escaped(values: dict[str, str]) -> dict[str, str]:
    """supervisord expands %(...)s; what follows ` ;` or ` #` is a comment to it: no command of a Procfile may hold them."""
    return {key: value.replace("%", "%%") for key, value in values.items()}
