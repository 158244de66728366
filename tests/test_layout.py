"""The house stays as it was drawn."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hotline", "data", "training", "evaluation", "serving", "pipelines")
HEAVY = ("torch", "ray", "mlflow", "pandas", "great_expectations")


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["pipelines.cli", "hotline.tasks", *PACKAGES])
def test_importing_costs_no_heavy_library(module: str) -> None:
    assert loaded_after(f"import {module}") == set()


def test_help_loads_no_heavy_library() -> None:
    statement = "import sys\nfrom typer.testing import CliRunner\nfrom pipelines.cli import app\n"
    statement += "assert CliRunner().invoke(app, ['--help']).exit_code == 0"
    assert loaded_after(statement) == set()


def test_a_recipe_is_resolved_before_torch_is_imported() -> None:
    statement = "from pathlib import Path\nfrom training.recipe import load\n"
    statement += "load(Path('training/recipes/tickets.yaml'))"
    assert "torch" not in loaded_after(statement)


def test_the_mlflow_folder_holds_no_python() -> None:
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_the_installed_mlflow_is_the_real_one() -> None:
    code = "import importlib.util as u; print(u.find_spec('mlflow').origin)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "site-packages" in done.stdout


def test_tests_have_no_package_files() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_corpora_hold_no_python() -> None:
    assert not list((ROOT / "data" / "corpora").rglob("*.py"))


def test_modules_that_make_routes_keep_their_annotations_evaluated() -> None:
    """FastAPI reads the types of routes that are made in a loop: with postponed annotations it cannot."""
    builders = [path for path in (ROOT / "serving").rglob("*.py") if "[name-defined]" in path.read_text()]
    assert builders
    assert not [path.name for path in builders if "\nfrom __future__ import annotations" in path.read_text()]


def test_requirements_name_versions_and_no_addresses() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"https?://|file:|@ |--index|--find-links|\+cpu", text)
    assert "torch==2.13.0\n" in text


def test_only_the_registry_module_speaks_to_the_model_registry() -> None:
    verbs = re.compile(r"create_model_version|set_registered_model_alias|search_model_versions|get_model_version")
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert [path.name for path in sources if verbs.search(path.read_text())] == ["registry.py"]


def test_only_settings_reads_the_environment() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    readers = [path for path in sources if re.search(r"os\.environ\.get|os\.getenv|os\.environ\[", path.read_text())]
    assert {path.relative_to(ROOT).as_posix() for path in readers} <= {
        "hotline/settings.py",
        "pipelines/workspace.py",
        "pipelines/cli.py",
    }


def test_files_and_functions_stay_small() -> None:
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert {path.name: lines for path in sources if (lines := path.read_text().count("\n")) > 250} == {}
