"""The house's rules that a machine can hold: who imports whom, and what files may be called."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.stack import deployments
from pipelines import spec

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("flows/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
LEAVES = {
    "artifact", "decode", "errors", "spec", "registry", "scrub.detect",
    "rollout.evidence", "rollout.store", "processes", "filters", "signature", "masking",
}  # fmt: skip
OWNERS = {
    "prefect": ("flows",),
    "dvc": ("pipelines.dataset",),
    "mlflow": ("pipelines.registry",),
    "presidio_analyzer": ("pipelines.scrub",),
    "presidio_anonymizer": ("pipelines.scrub",),
    "spacy": ("pipelines.scrub",),
}


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function, as far down as the syntax names it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known = {module(other) for other in SOURCES}
            found |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return found


def step_of(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_imports_run_one_way(path: Path) -> None:
    own = module(path)
    for name in imports(path):
        if name.startswith("flows"):
            assert own.startswith("flows"), f"{own} imports {name}: nothing but flows/ imports flows/"
        if own.startswith("pipelines.") and name.startswith("pipelines."):
            leaf = any(name == f"pipelines.{each}" or name.startswith(f"pipelines.{each}.") for each in LEAVES)
            assert leaf or step_of(name) == step_of(own), f"{own} imports {name}: steps import leaves only"


@pytest.mark.parametrize("path", SOURCES, ids=module)
def test_one_owner_a_dependency(path: Path) -> None:
    own = module(path)
    for name in imports(path):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or own.startswith(owners), f"{own} imports {name}: only {', '.join(owners or ())} may"


def test_no_file_shadows_a_dependency() -> None:
    taken = set(packages_distributions()) | sys.stdlib_module_names
    for path in SOURCES:
        inside_package = path.parent != ROOT / "flows"
        assert inside_package or path.stem == "__init__" or path.stem not in taken, f"{path.name} shadows an installed module"


def test_no_name_that_says_nothing() -> None:
    for path in SOURCES:
        assert path.stem not in {"utils", "helpers", "common", "manager", "misc"}, path


def test_no_function_past_sixty_lines() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= 60, f"{path.name}: {node.name} has {length} lines"


def crons(path: Path) -> dict[tuple[str, str], str]:
    """{(entrypoint, deployment): cron line} that the spec at `path` asks for."""
    if "\nkind: base\n" in path.read_text():
        return {}  # made once, by a person
    if "\nkind: judge\n" in path.read_text():
        judge = spec.load_judge(path)
        return {("flows.judging.judging", judge.name): judge.schedule}
    model = spec.load(path)
    kinds = {"retrain": "retrain", "rollout": "rollout", "watch": "watch", "retention": "retention", "auditing": "audit"}
    return {(f"flows.{kind}.{kind}", model.name): getattr(model.schedule, key) for kind, key in kinds.items()}


def test_the_deployments_are_those_of_the_specs() -> None:
    written = (ROOT / "infra" / "prefect.yaml").read_text()
    assert written == deployments.written(ROOT), "run `python -m flows.stack.deployments`"
    content = YAML(typ="safe", pure=True).load(written)["deployments"]
    deployed = {(each["entrypoint"], each["name"]): each["schedules"][0]["cron"] for each in content}
    wanted = {key: cron for path in (ROOT / "models").glob("*.yaml") for key, cron in crons(path).items()}
    assert deployed == wanted
    assert len(content) == len(wanted)
    for each in content:
        assert each["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
        assert each["tags"] == [each["name"], each["entrypoint"].split(".")[1]]


def test_every_deployment_names_a_flow_that_takes_its_parameters() -> None:
    for each in deployments.deployments(ROOT):
        place, _, name = each["entrypoint"].rpartition(".")
        tree = ast.parse((ROOT / place.replace(".", "/")).with_suffix(".py").read_text())
        (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        assert any("flow(" in ast.unparse(decorator) for decorator in found.decorator_list), each["entrypoint"]
        assert set(each["parameters"]) <= {argument.arg for argument in found.args.args}, each["entrypoint"]
