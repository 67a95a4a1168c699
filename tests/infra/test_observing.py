import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.stack import observing
from pipelines.errors import UserError
from tests.serving.site import until


def test_without_the_program_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(observing, "TOOLS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="prometheus-alertmanager is not here: `make setup`"):
        observing.command("alertmanager", tmp_path, tmp_path, tmp_path, 1)


def test_without_the_program_the_stack_goes_on_and_ends(tmp_path: Path) -> None:
    code = (
        f"import os, sys; from pathlib import Path; from flows.stack import observing as o; o.TOOLS = Path({str(tmp_path)!r})\n"
    )
    code += f"os.environ['PATH'] = {str(tmp_path)!r}; sys.argv[1:] = ['prometheus']; o.main()"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "prometheus is not here" in process.stderr.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        until(lambda: process.poll() is not None)
    assert process.returncode == -signal.SIGTERM
