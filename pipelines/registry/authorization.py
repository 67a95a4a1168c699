"""What MLflow's server asks before each request, where it runs with authentication: who is it, and may they let a model in?

Set as `authorization_function` in infra/auth.ini. MLflow's own check of name and password decides who it is. On top of it:

- only SEQLINE_APPROVERS (names, by commas) and the controller (SEQLINE_CONTROLLER, by default `seqline`) may write to a model
  called `NAME-prod`, administrators neither;
- each such request is in the log SEQLINE_APPROVALS_LOG (who, when, what; a line of JSON, on the disk before it is answered);
- a version that was made is stamped with its maker's name, signed with SEQLINE_AUDIT_KEY, which the controller has as well.

MLflow calls the function several times a request, some of them without its body: only a call with the body is a request.
If the log cannot be written the request is refused: what nobody can vouch for does not happen.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.registry.records import PRODUCTION
from pipelines.registry.stamps import PERSON, stamp

if TYPE_CHECKING:
    from flask import Response
    from werkzeug.datastructures import Authorization

READS = frozenset({"GET", "HEAD", "OPTIONS"})
MODELS = ("/mlflow/registered-models/", "/mlflow/model-versions/")
SEARCHES = ("/search", "/get-latest-versions")  # reads that are posted
CREATE = "/mlflow/model-versions/create"


def authorize() -> "Authorization | Response":
    """Who asks, or the answer that refuses them."""
    from flask import after_this_request, g, request
    from mlflow.server.auth import authenticate_request_basic_auth
    from mlflow.server.handlers import _get_normalized_request_json as body_of  # as its handlers read it: JSON in JSON, too

    found = authenticate_request_basic_auth()
    name = getattr(found, "username", None)
    if name is None or request.method in READS or not any(part in request.path for part in MODELS):
        return found
    body: Any = body_of(request)
    target = production(body)
    if target is None or request.path.endswith(SEARCHES) or getattr(g, "seqline_logged", False):
        return found
    g.seqline_logged = True
    allowed = name in writers(os.environ)
    try:
        _log({"at": time.time(), "who": name, "allowed": allowed, "what": request.path, "model": target,
              "version": body.get("version"), "source": body.get("source")})  # fmt: skip
    except OSError as error:
        return _refused(503, f"the log of approvals cannot be written ({error.strerror}): nothing was changed")
    if not allowed:
        return _refused(403, f"{name} may not write to {target}: only SEQLINE_APPROVERS and the controller may")
    if request.path.endswith(CREATE):
        after_this_request(lambda response: _stamped(response, target, name))
    return found


def production(body: object) -> str | None:
    """The production model that a request is about, if it is about one: by its name or by the one it would get."""
    if not isinstance(body, dict):
        return None
    names = (body.get("name"), body.get("new_name"), body.get("newName"))  # protobuf's JSON knows a field by both names
    return next((name for name in names if isinstance(name, str) and name.endswith(PRODUCTION)), None)


def writers(environment: Mapping[str, str]) -> frozenset[str]:
    """Who may write to production models."""
    named = environment.get("SEQLINE_APPROVERS", "").split(",")
    return frozenset({name.strip() for name in named if name.strip()} | {environment.get("SEQLINE_CONTROLLER", "seqline")})


def _log(entry: Mapping[str, Any]) -> None:
    """Append a line that is on the disk when this returns."""
    path = Path(os.environ.get("SEQLINE_APPROVALS_LOG", "approvals.jsonl"))
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode("utf-8", "surrogatepass"))
        os.fsync(file)
    finally:
        os.close(file)


def _stamped(response: "Response", model: str, person: str) -> "Response":
    """Write the maker's name onto the version that `response` tells of. Without it the approver stays unknown."""
    from mlflow.entities.model_registry import ModelVersionTag
    from mlflow.server.handlers import _get_model_registry_store

    key, answer = os.environ.get("SEQLINE_AUDIT_KEY", ""), response.get_json(silent=True) or {}
    version = answer.get("model_version", {}).get("version")
    if key and version and response.status_code == 200:
        store: Any = _get_model_registry_store()
        signed: Any = ModelVersionTag
        store.set_model_version_tag(model, str(version), signed(PERSON, stamp(key.encode(), model, str(version), person)))
    return response


def _refused(status: int, line: str) -> "Response":
    from flask import jsonify, make_response

    return make_response(jsonify({"error_code": "PERMISSION_DENIED", "message": line}), status)
