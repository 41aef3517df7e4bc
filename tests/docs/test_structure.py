"""The arrows between packages: the contracts in pyproject.toml, and the kernels, which the contracts do not reach."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_import_contract_holds() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "kernels").glob("*.py"))])
def test_kernels_import_nothing_but_numpy_and_python(name: str) -> None:
    allowed = {*sys.stdlib_module_names, "numpy"}
    for node in ast.walk(ast.parse((ROOT / "kernels" / name).read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").partition(".")[0] in allowed


def test_each_folder_of_the_code_has_one_of_tests() -> None:
    """But the modules that stand beside those folders have their tests beside these."""
    packages = {path.parent.name for path in (ROOT / "falcon_mnist").glob("*/__init__.py")} | {"kernels"}
    assert {name for name in packages if not any((ROOT / "tests" / name).glob("test_*.py"))} == set()
