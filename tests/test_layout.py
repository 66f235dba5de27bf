"""How the code is laid out, and what CONTRIBUTING.md promises."""
import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
MODULES = [path for path in (ROOT / "mora").rglob("*.py") if path.name != "_modidx.py"]


def public_names(path):
    "The names in `__all__` of a module."
    for node in ast.parse(path.read_text()).body:
        names = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        if names and isinstance(node.value, ast.List):
            return [name.value for name in node.value.elts]
    return []


def test_few_lines_are_long():
    "`ruff` refuses lines over 120 characters and semicolons; at most 3% are over 100."
    lines = [line for path in MODULES for line in path.read_text().splitlines() if not line.startswith("__all__")]
    assert max(map(len, lines)) <= 120
    assert sum(len(line) > 100 for line in lines) <= 0.03 * len(lines)


def test_public_names_are_few():
    assert sum(len(public_names(path)) for path in MODULES) <= 170


def test_a_notebook_has_at_most_60_cells():
    cells = {path.name: len(nbformat.read(path, 4).cells) for path in (ROOT / "nbs").rglob("*.ipynb")}
    assert {name: n for name, n in cells.items() if n > 60} == {}


def test_a_method_added_by_contributing_is_found_everywhere(tmp_path):
    "A notebook with one class is enough for the trainer, the command line and the leaderboard."
    for name in ("nbs", "mora"):
        skipped = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("settings.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "data").symlink_to(ROOT / "data")
    example = nbformat.read(ROOT / "nbs" / "90_extending.ipynb", 4)
    [source] = [cell.source for cell in example.cells if "class WeakestWeighting" in cell.source]
    cells = ["#| default_exp weighting.weakest", "#| export\nimport numpy as np", "#| export\n" + source]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell("# Weakest\n\n> Lean to the objectives with low rewards."))
    nbformat.write(notebook, tmp_path / "nbs" / "19_weighting_weakest.ipynb")
    subprocess.run([Path(sys.executable).with_name("nbdev-export")], check=True, cwd=tmp_path)
    found = """
import json, mora
from mora.study.grid import find_grid, grid_configs, read_grid
from mora.trainer import MultiObjectiveConfig
board = {c.weighting for c in grid_configs(read_grid(find_grid("leaderboard")))}
args = MultiObjectiveConfig("out", weighting="weakest", use_cpu=True, bf16=False)
print(json.dumps([mora.__file__, "weakest" in mora.weighting_names(), "weakest" in board, args.weighting]))
"""
    environment = os.environ | dict(PYTHONPATH=str(tmp_path))
    said = subprocess.run([sys.executable, "-c", found], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout.splitlines()[-1]) == [str(tmp_path / "mora" / "__init__.py"), True, True, "weakest"]
    command = [sys.executable, "-m", "mora", "train", "--weighting", "weakest", "--max-steps", "1", "--dry-run"]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 0 and "weighting: weakest" in said.stdout, said.stderr
