"""The folder that becomes a version: pyfunc model, signed export, report, policy, lineage, card, and last the manifest."""

import html
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from pipelines import artifact, signature
from pipelines.errors import SeqlineError
from pipelines.registry import card, judge_card
from pipelines.registry.records import Candidate

EXPORT = "artifacts/export"
GATE = "report/gate.json"
POLICY = "policy/privacy.json"
SCRUB = "policy/scrub.json"
LINEAGE = "lineage/lineage.json"
SPEC = "lineage/spec.json"
DATA = "lineage/data.dvc"
CARD = "README.md"
REPORT = "report/report.html"
LINEAGE_MARK = "<!-- lineage of the registered version -->"
"""Where report.html takes what is known only now. No text of the report can hold it: all of them are escaped."""
SIGNATURE = f"{EXPORT}/{artifact.SIGNATURE}"
CODE = "pyfunc_model.py"
JUDGE_LOADER = "pipelines.scoring.judge.pyfunc"
TOLD = {"seq2seq": "export.json", "judge": "judge.json"}
"""Where an export says what it is."""
REQUIRED = (f"{EXPORT}/{artifact.MANIFEST}", GATE, SCRUB, POLICY, LINEAGE, SPEC, DATA, CARD, "MLmodel")
RUNTIME = ("ctranslate2", "mlflow", "numpy", "pandas", "pydantic", "tokenizers", "transformers")


def facts(candidate: Candidate) -> card.Facts:
    """Read what the artifacts say about themselves.

    Raises:
        SeqlineError: a file that the contract promises is missing or is not JSON.
    """
    return card.Facts(
        scores=_json(candidate.report.path / "scores.json"),
        gate=_json(candidate.report.path / "gate.json"),
        dataset=_json(candidate.dataset.path / "dataset.json"),
        scrub=_json(candidate.clean.path / "scrub.json"),
        export=_json(candidate.export.path / TOLD[candidate.kind]),
        training=_json(candidate.weights.path / "training.json"),
    )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SeqlineError(f"{path.parent.name}/{path.name}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise SeqlineError(f"{path.parent.name}/{path.name}: must hold a JSON object")
    return content


def write(folder: Path, name: str, candidate: Candidate, told: card.Facts, run_id: str, signing_key: Path) -> str:
    """Fill `folder` (which must not exist), sign its export and seal it; return the digest of its manifest.

    The large files are links until MLflow copies them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about the type hints of its own classes
        _pyfunc(folder, candidate, run_id)
    _link(candidate.export.path, folder / EXPORT)
    signature.sign(candidate.export.path, signing_key, folder / SIGNATURE)
    _link(candidate.report.path, folder / "report", artifact.MANIFEST)
    _link(candidate.page.path, folder / "data", artifact.MANIFEST)
    lineage = asdict(candidate.lineage) | {
        "key": candidate.key,
        "dataset_sha256": candidate.dataset.sha256,
        "weights_sha256": candidate.weights.sha256,
        "export_sha256": candidate.export.sha256,
        "report_sha256": candidate.report.sha256,
    }
    spec, data = lineage.pop("spec"), lineage.pop("data_dvc")
    _put_lineage(folder / REPORT, lineage)
    texts = {
        SCRUB: _dump(told.scrub),
        POLICY: _dump(candidate.privacy),
        "data/dataset.json": _dump(told.dataset),
        "training/training.json": _dump(told.training),
        LINEAGE: _dump(lineage),
        SPEC: _dump(spec),
        DATA: data,
        CARD: _card(name, candidate, told),
    }
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return artifact.seal(folder)


def _put_lineage(page: Path, lineage: Mapping[str, Any]) -> None:
    """Replace the link to the report's page, if there is one, by the page with the version's lineage in it."""
    if not page.is_file():
        return
    text = page.read_text(encoding="utf-8")
    told = "".join(
        f"<dt>{html.escape(name.replace('_', ' '))}</dt><dd>{html.escape(str(said))}</dd>" for name, said in lineage.items()
    )
    page.unlink()
    page.write_text(text.replace(LINEAGE_MARK, f"<dl>{told}</dl>"), encoding="utf-8")


def _card(name: str, candidate: Candidate, told: card.Facts) -> str:
    if candidate.kind == "judge":
        return judge_card.card(name, told, candidate.lineage)
    return card.card(name, candidate.task, told, candidate.lineage, candidate.privacy)


def _pyfunc(folder: Path, candidate: Candidate, run_id: str) -> None:
    from mlflow import pyfunc
    from mlflow.models import Model

    model = Model(artifact_path="model", run_id=run_id)
    needs = [f"{package}=={installed(package)}" for package in RUNTIME]
    if candidate.kind == "judge":
        pyfunc.save_model(path=str(folder), loader_module=JUDGE_LOADER, mlflow_model=model, pip_requirements=needs)
        model.flavors[pyfunc.FLAVOR_NAME]["data"] = EXPORT
        model.save(str(folder / "MLmodel"))
        return
    pyfunc.save_model(
        path=str(folder),
        python_model=str(Path(__file__).with_name(CODE)),
        mlflow_model=model,
        model_config={"decoding": dict(candidate.decoding)},
        pip_requirements=needs,
    )
    # MLflow would write this machine's paths of both into MLmodel; on loading it wants them relative.
    flavor = model.flavors[pyfunc.FLAVOR_NAME]
    flavor["model_code_path"] = CODE
    flavor["artifacts"] = {"export": {"path": EXPORT, "uri": EXPORT}}
    model.save(str(folder / "MLmodel"))


def _link(source: Path, target: Path, *without: str) -> None:
    shutil.copytree(
        source,
        target,
        copy_function=lambda original, link: Path(link).symlink_to(Path(original).resolve()),
        ignore=shutil.ignore_patterns(*without),
    )


def _dump(content: object) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, default=dict) + "\n"


def params(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The spec's keys, flat (`training.steps`), as MLflow's params."""
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from params(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def data_input(name: str, candidate: Candidate, told: card.Facts) -> Any:
    """The dataset as MLflow shows it on a run's page: its digest, where it lies, its schema and counts."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import ColSpec, Schema

    columns = Schema([ColSpec("string", column) for column in ("id", "source", "target")])
    made = Dataset(
        name=f"data/{name}",
        digest=candidate.lineage.data_md5[:32],
        source_type="dvc",
        source=json.dumps({"path": f"data/{name}", "data.dvc": candidate.lineage.data_md5, "commit": candidate.lineage.commit}),
        schema=json.dumps({"mlflow_colspec": columns.to_dict()}),
        profile=json.dumps({key: told.dataset[key] for key in ("rows", "kept", "splits") if key in told.dataset}),
    )
    return DatasetInput(made, [InputTag("mlflow.data.context", "training")])


def metrics(told: card.Facts) -> Iterator[tuple[str, float]]:
    """Scores and recalls, with the ends of their intervals, and what differential privacy cost, as MLflow's metrics."""
    scored: dict[str, Any] = {"model": told.scores.get("model", {}), **told.scores.get("baselines", {})}
    for who, found in scored.items():
        for metric, measured in found.items():
            yield from _measured(metric if who == "model" else f"{who}.{metric}", measured)
    for part in ("judge", "corpus"):
        for metric, measured in told.scores.get(part, {}).items():
            yield from _measured(f"{part}.{metric}", measured)
    for where in ("known", "audit"):
        for language, entities in told.scrub.get(where, {}).items():
            for entity, measured in entities.items():
                yield from _measured(f"recall.{where}.{language}.{entity}", {**measured, "value": measured["recall"]})
    for when, measured in (told.training.get("preferences") or {}).get("accuracy", {}).items():
        yield from _measured(f"preferences.accuracy.{when}", measured)
    for fact, value in (told.training.get("private") or {}).items():
        yield from _measured(f"private.{fact}", value)


def _measured(name: str, measured: object) -> Iterator[tuple[str, float]]:
    value = measured.get("value") if isinstance(measured, Mapping) else measured
    if not isinstance(value, int | float):
        return
    yield name, float(value)
    bounds = measured.get("interval") if isinstance(measured, Mapping) else None
    if bounds:
        yield f"{name}.low", float(bounds[0])
        yield f"{name}.high", float(bounds[1])
