"""The environment, read in one place: where things lie, which servers are used, what the dependencies may do.

SEQLINE_PROJECT       the folder with models/ and data.dvc, the current one by default
SEQLINE_HOME          the workspace, `.seqline` in the project by default
SEQLINE_DATABASE      the rollout database (SQLAlchemy URL; postgresql+psycopg://... with the extra `postgres`)
SEQLINE_HMAC_KEY      key of the senders' pseudonyms; by default made once and kept in the workspace
SEQLINE_VAULT_KEY     key of the vault (64 hex digits), for specs with `privacy.vault`
SEQLINE_ADMIN_KEY     opens the gateways' admin API; by default made once and kept in the workspace (run/admin.key)
SEQLINE_SIGNING_KEY   path of the EC private key (PEM) that signs versions; by default made once and kept in the workspace
SEQLINE_SIGNER        path of the public key (PEM) that engines trust, by default that of the signing key
SEQLINE_AUDIT_KEY     signs approvers' names, where MLflow asks for passwords (infra/auth.ini; SEQLINE_APPROVERS,
                      SEQLINE_CONTROLLER and SEQLINE_APPROVALS_LOG are that MLflow server's own)
SEQLINE_SQL_NAME      SQLAlchemy URL of a `sql` source that says `url: env:NAME`
SEQLINE_MLFLOW_UI     where people open MLflow
MLFLOW_TRACKING_URI   the registry
PREFECT_API_URL       a running Prefect server; without one a flow brings its own
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines import signature
from pipelines.errors import Transient, UserError
from pipelines.spec import Spec, load

DEPENDENCY_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow's job runners (six processes, 250 MB each) serve features that seqline does not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",  # what is older than 90 days
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT10M",  # of rollouts planned ahead; an hour's by default
    # An in-process server can need more than a minute beside a training on two cores.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "TOKENIZERS_PARALLELISM": "false",
    # Presidio gives a pattern a minute for a text, and a batch with such a text is halved until it stands alone.
    "REGEX_TIMEOUT_SECONDS": "10",
}


RUN_BYTES = 300 * 2**20  # servers, data and a small model; training checks again for the model it has


class Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True)

    project_folder: Path = Field(Path(), validation_alias="SEQLINE_PROJECT")
    home: Path | None = Field(None, validation_alias="SEQLINE_HOME")
    database_url: str | None = Field(None, validation_alias="SEQLINE_DATABASE")
    hmac_key_hex: str | None = Field(None, validation_alias="SEQLINE_HMAC_KEY")
    vault_key_hex: str | None = Field(None, validation_alias="SEQLINE_VAULT_KEY")
    audit_key: str = Field("", validation_alias="SEQLINE_AUDIT_KEY")
    admin_key_given: str | None = Field(None, validation_alias="SEQLINE_ADMIN_KEY")
    signing_key_file: Path | None = Field(None, validation_alias="SEQLINE_SIGNING_KEY")
    signer_file: Path | None = Field(None, validation_alias="SEQLINE_SIGNER")
    mlflow_url: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    mlflow_ui_url: str = Field("http://127.0.0.1:5000", validation_alias="SEQLINE_MLFLOW_UI")

    @cached_property
    def project(self) -> Path:
        return self.project_folder.resolve()

    @cached_property
    def workspace(self) -> Path:
        return (self.home or self.project / ".seqline").resolve()

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.workspace / 'rollout.db'}"

    @property
    def mlflow(self) -> str:
        return self.mlflow_url or f"sqlite:///{self.workspace / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.workspace / "mlartifacts"

    @property
    def mlflow_ui(self) -> str:
        return self.mlflow_url if self.mlflow_url and self.mlflow_url.startswith("http") else self.mlflow_ui_url

    @cached_property
    def hmac_key(self) -> bytes:
        """The key of the senders' pseudonyms: 32 bytes, made on first use."""
        if self.hmac_key_hex:
            return bytes.fromhex(self.hmac_key_hex)
        return bytes.fromhex(self._made_once("hmac.key"))

    @cached_property
    def admin_key(self) -> str:
        """What opens the admin API: the one given, or one made on first use and kept in run/admin.key."""
        return self.admin_key_given or self._made_once("admin.key")

    def _made_once(self, name: str) -> str:
        """32 random bytes in hex, kept in the workspace for its owner's eyes."""
        path = self.folder("run") / name
        if not path.exists():
            fresh = path.with_name(f".{name}.{os.getpid()}")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
            with suppress(FileExistsError):  # another process was first
                os.link(fresh, path)  # whole, or not there
            fresh.unlink()
        return path.read_text()

    @property
    def vault_key(self) -> bytes | None:
        """The key of the vault, if there is one.

        Raises:
            UserError: it is not 64 hex digits.
        """
        if not self.vault_key_hex:
            return None
        try:
            key = bytes.fromhex(self.vault_key_hex)
        except ValueError:
            key = b""
        if len(key) != 32:
            raise UserError("SEQLINE_VAULT_KEY: must be 64 hex digits: make one with `openssl rand -hex 32`")
        return key

    @cached_property
    def signing_key(self) -> Path:
        """The private key that signs what is registered: the one given, or the workspace's own, made on first use."""
        if self.signing_key_file:
            return self.signing_key_file.resolve()
        path = self.folder("run") / "signing.key"
        signature.make_key(path)
        return path

    @cached_property
    def signer(self) -> Path:
        """The public key that signed what may be served: the one given, or that of the signing key, written beside the
        workspace's own (run/signing.pub).

        Raises:
            UserError: the signing key is none that can sign.
        """
        if self.signer_file:
            return self.signer_file.resolve()
        pem = signature.public_pem(self.signing_key)
        path = self.folder("run") / "signing.pub"
        if not path.is_file() or path.read_bytes() != pem:
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_bytes(pem)
            fresh.replace(path)
        return path

    @property
    def source_urls(self) -> dict[str, str]:
        """What sources connect to, by name: databases (SEQLINE_SQL_NAME) and the registry (MLFLOW)."""
        prefix = "SEQLINE_SQL_"
        named = {name.removeprefix(prefix): url for name, url in os.environ.items() if name.startswith(prefix)}
        return {**named, "MLFLOW": self.mlflow}

    def free_bytes(self) -> int:
        """What is free where the workspace lies."""
        there = next(path for path in (self.workspace, *self.workspace.parents) if path.exists())
        return shutil.disk_usage(there).free

    def check_disk(self) -> None:
        """Raises Transient when a run cannot be expected to fit: nothing is wrong with the model or its data."""
        if self.free_bytes() < RUN_BYTES:
            free = self.free_bytes() / 2**20
            raise Transient(
                f"{self.workspace.name}: too little disk space for a run: {free:,.0f} MB free of {RUN_BYTES / 2**20:,.0f}"
            )

    def folder(self, *parts: str) -> Path:
        """A folder of the workspace, made if missing."""
        path = self.workspace.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def quarantine(self, name: str) -> Path:
        """Where raw text of `name` may lie: readable by its owner alone."""
        path = self.folder("quarantine", name)
        path.chmod(0o700)
        path.parent.chmod(0o700)
        return path

    @property
    def source_cache(self) -> Path:
        """What sources keep between runs (the apt index, say): raw text too, so in the quarantine."""
        return self.quarantine("_cache")

    def environment(self) -> dict[str, str]:
        """What a child process, and each dependency in this one, should find in its environment."""
        defaults = {**DEPENDENCY_DEFAULTS, "PREFECT_HOME": str(self.workspace / "prefect")}
        return {**defaults, **os.environ, "SEQLINE_PROJECT": str(self.project), "SEQLINE_HOME": str(self.workspace)}

    def apply(self) -> "Settings":
        """Set the dependencies' environment in this process; call it before they are imported."""
        os.environ.update(self.environment())
        Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect makes the last folder only
        return self


def find_spec(name: str, settings: Settings) -> Path:
    """The spec of `name`: a path, the YAML in models/ that says `name: NAME`, or the one last trained here.

    Raises:
        UserError: there is none, or more than one.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    says = re.compile(rf"""^name:\s*(['"]?){re.escape(name)}\1\s*(#.*)?$""", re.MULTILINE)
    yamls = sorted((settings.project / "models").glob("*.yaml"))
    found = [path for path in yamls if says.search(path.read_text(encoding="utf-8", errors="replace"))]
    if len(found) > 1:
        both = " and ".join(f"models/{path.name}" for path in found)
        raise UserError(f"{name}: {both} have this name: change it in all but one")
    if found:
        return found[0]
    trained = settings.workspace / "work" / name / "spec.yaml"
    if trained.is_file():
        return trained
    raise UserError(f"{name}: no YAML in models/ has this name: see `ls models/`, or give the path of its YAML")


def spec_of(name: str, settings: Settings) -> Spec:
    return load(find_spec(name, settings))
