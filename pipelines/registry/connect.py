"""The way to MLflow: quiet, its schema made once, its faults told in one line."""

import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from pipelines.errors import SeqlineError, Transient, UserError
from pipelines.registry import tables

if TYPE_CHECKING:
    from mlflow import MlflowClient

ANSWER_SECONDS = 5.0
LOCK_SECONDS = 120.0
QUIET = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # its 7 with backoff hide a dead server for minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # or it copies the project's files into the model
}

P = ParamSpec("P")
R = TypeVar("R")


def shown(uri: str) -> str:
    """`uri` without the user and password it may carry."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else uri


def asking(method: Callable[P, R]) -> Callable[P, R]:
    """Tell MLflow's faults as ours: Transient where another try may help, else SeqlineError."""

    @wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (SeqlineError, AssertionError):
            raise
        except Exception as error:
            raise _told(error) from error

    return asked


def _told(error: Exception) -> Exception:
    from mlflow.exceptions import MlflowException

    if isinstance(error, OSError) and not isinstance(error, ConnectionError) and error.errno is not None:
        return SeqlineError(f"MLflow's files: {error.strerror}")
    if not isinstance(error, MlflowException):
        return error
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    passing = {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
    return (Transient if error.error_code in passing else SeqlineError)(f"MLflow: {line}")


class Connection:
    """One MLflow tracking server or database. Everything else of the registry builds on `client` and `text`."""

    def __init__(self, uri: str, artifacts: Path | None = None) -> None:
        """Reach `uri` (sqlite:///FILE, another SQLAlchemy URL, or http(s)); `artifacts` is where a database's files go.

        Raises:
            UserError: `uri` is of no kind that the registry can use.
            Transient: the server or database does not answer.
        """
        self.uri = uri
        self.artifacts: Path | None = None
        self._database: Path | None = None
        scheme = urlsplit(uri).scheme
        if scheme in ("http", "https"):
            _answers(uri)
        elif scheme.startswith("sqlite"):
            self._database = Path(unquote(urlsplit(uri).path.removeprefix("/"))).absolute()
            self._database.parent.mkdir(parents=True, exist_ok=True)
            self.artifacts = (artifacts or self._database.with_name("mlartifacts")).absolute()
        elif scheme.partition("+")[0] in ("postgresql", "mysql", "mssql"):
            self.artifacts = artifacts.absolute() if artifacts else None
        else:
            raise UserError(f"MLFLOW_TRACKING_URI {shown(uri)!r}: must be an http(s), sqlite or other database URL")
        self.client = self._connect()

    @asking
    def _connect(self) -> "MlflowClient":
        os.environ.update({key: os.environ.get(key, value) for key, value in QUIET.items()})
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # Several processes opening one new database at once destroy it: whoever comes first makes the schema, alone.
        with self.alone("schema"):
            if self._database:
                tables.lay(self._database, tables.MLFLOW)
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            client.search_registered_models(max_results=1)
            return client

    def alone(self, work: str) -> AbstractContextManager[Any]:
        """Keep other processes on this machine from doing the same `work` on a database file; a server keeps its own order."""
        if self._database is None:
            return nullcontext()
        from filelock import FileLock, Timeout

        try:
            return FileLock(f"{self._database}.{work}.lock", timeout=LOCK_SECONDS).acquire()
        except Timeout:
            raise Transient(f"{self._database.name}: another process has been at `{work}` for {LOCK_SECONDS:.0f} s") from None

    def text(self, run_id: str, path: str) -> str | None:
        """The text of an artifact of a run, None if it is not there."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                return Path(self.client.download_artifacts(run_id, path, folder)).read_bytes().decode()
            except MlflowException as error:
                if error.error_code == "TEMPORARILY_UNAVAILABLE":
                    raise
                return None


def _answers(uri: str) -> None:
    import requests

    try:
        requests.get(uri.rstrip("/") + "/health", timeout=ANSWER_SECONDS)
    except requests.RequestException:
        raise Transient(f"MLflow at {shown(uri)} does not answer: start it, or unset MLFLOW_TRACKING_URI") from None
