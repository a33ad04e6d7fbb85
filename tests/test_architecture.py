"""The map in the package docstring is the reading order, and the rooms keep their rules."""

import ast
import re
from pathlib import Path

import pytest

import cds_service

PACKAGE = Path(cds_service.__file__).parent
ORDER = re.findall(r"^    ([a-z0-9_.]+) {2,}", cds_service.__doc__ or "", re.MULTILINE)
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and "migrations" not in path.parts  # steps that alembic runs and nobody imports
)


def imported(module: str) -> set[str]:
    """Every module that a module imports, wherever in it."""
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def own(module: str) -> set[str]:
    """The modules of this package among the imports."""
    short = {name.removeprefix("cds_service.") for name in imported(module) if name.startswith("cds_service.")}
    return short & set(MODULES)


def test_the_map_names_every_module_once():
    assert sorted(ORDER) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_modules_above_it(module):
    above = set(ORDER[: ORDER.index(module)])

    assert own(module) <= above


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("edge.")])
def test_only_the_edge_knows_the_network_the_clock_and_the_environment(module):
    outside = {"flask", "waitress", "socket", "urllib", "http", "sqlite3", "os", "time", "datetime", "httpx", "click"}
    # takes the text of a URL apart and opens none
    names = {name for name in imported(module) if not name.startswith("urllib.parse")}

    assert not {name.partition(".")[0] for name in names} & outside


@pytest.mark.parametrize("module", MODULES)
def test_only_the_patient_room_knows_fhir_resources(module):
    knows = any(name.startswith("fhir") for name in imported(module))

    assert not knows or module.startswith("patient.")


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("decision.")])
def test_decisions_know_neither_fhir_nor_hooks(module):
    assert not {name.partition(".")[0] for name in own(module)} & {"patient", "hooks", "edge"}


def test_no_drug_or_code_of_the_knowledge_stands_in_python():
    drugs = {path.stem for path in (PACKAGE.parent / "cards" / "drugs").glob("*.yaml")}
    for module in MODULES:
        tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        docs = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        }
        words = {
            word
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docs
            for word in re.findall(r"[a-z-]{6,}|\d{5,}-\d|\d{6,}", node.value.lower())
        }
        assert not words & drugs, module
        assert not [word for word in words if word[0].isdigit()], module
