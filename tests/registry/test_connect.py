import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import Transient, UserError
from pipelines.registry import Registry, tables

OPEN = "import sys; from pipelines.registry import Registry; print(Registry(sys.argv[1]).find('tiny', 'k'))"


def test_importing_the_package_imports_no_mlflow() -> None:
    code = "import sys, pipelines.registry; sys.exit('mlflow' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_three_processes_open_one_new_database_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path.cwd()) for _ in range(3)]
    assert [(process.communicate(timeout=180), process.returncode) for process in started] == [((b"None\n", b""), 0)] * 3


def test_the_tables_of_a_new_database_are_those_that_mlflows_migrations_make(tmp_path: Path) -> None:
    written = tables.MLFLOW.read_text()
    assert sorted(written.splitlines()) == sorted(tables.migrated().splitlines()), "run `python -m flows.stack.prefect_tables`"
    tables.lay(tmp_path / "mlflow.db", tables.MLFLOW)
    assert tables.dump("mlflow", tmp_path / "mlflow.db") == written


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Transient) as refused:
        Registry(f"http://ada:secret@127.0.0.1:{port}/mlflow")
    message = f"MLflow at http://127.0.0.1:{port}/mlflow does not answer: start it, or unset MLFLOW_TRACKING_URI"
    assert str(refused.value) == message


def test_a_url_of_no_known_kind_is_refused() -> None:
    with pytest.raises(UserError, match="must be an http"):
        Registry("mlruns")


def test_it_is_quiet(registry: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    registry._model("tiny")
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("mlflow.anything").isEnabledFor(logging.WARNING)
