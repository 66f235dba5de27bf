"""The library needs torch, numpy, moocore and math-verify alone, and knows nothing of the study."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import minimal  # noqa: E402

MODULES = {p.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): p for p in (ROOT / "mora").rglob("*.py")
    if p.stem != "_modidx"}
STUDY = {name for name in MODULES if name.startswith("mora.study.")} | {"mora.__main__"}
LIBRARY = set(MODULES) - STUDY
OF_TRL = {"mora.figure_style", "mora.trainer", "mora.live", "mora.training.checkpoints", "mora.training.evidence"}
ABSENT = ["trl", "transformers", "datasets", "accelerate", "pandas", "pyarrow", "matplotlib", "seaborn", "papermill",
    "nbformat", "IPython", "yaml",
          "joblib", "jinja2", "rich", "tqdm", "scipy", "fastcore"]

ALONE = """
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}: raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
{body}
"""


def alone(body):
    "What Python says that lacks everything but the library's own needs."
    command = [sys.executable, "-c", ALONE.format(absent=set(ABSENT), body=body)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def imports(path, at_import):
    "Modules of ours that a module imports; those that it imports as soon as it is loaded, if `at_import`."
    tree, package = ast.parse(path.read_text()), path.relative_to(ROOT).parent.as_posix().split("/")
    nodes = tree.body if at_import else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*start, *filter(None, [node.module])])
            found |= {name} if name in MODULES else {f"{name}.{a.name}" for a in node.names}
    return found & set(MODULES)


def test_the_library_does_not_import_the_study():
    arrows = {(name, other) for name in LIBRARY for other in imports(MODULES[name], False) & STUDY}
    assert not arrows


def test_no_module_needs_itself_to_be_loaded():
    after = {name: imports(path, True) for name, path in MODULES.items()}
    while after:
        free = [name for name, needs in after.items() if not needs & set(after)]
        assert free, sorted(after)
        after = {name: needs for name, needs in after.items() if name not in free}


def test_weightings_rewards_and_estimators_work_without_trl_and_the_study():
    modules = sorted(LIBRARY - OF_TRL)
    said = alone(f"""
for name in {modules}: importlib.import_module(name)
import mora, torch
objectives = [mora.Objective("a"), mora.Objective("b", "min", (0, 10))]
for name in mora.weighting_names():
    if name!="gramian": mora.check_weighting(lambda weights=None, name=name: mora.make_weighting(name, weights=weights))
print(mora.grpo(torch.tensor([0., 1., 0., 1.]), 2).tolist(), mora.AccuracyReward()(["\\\\boxed{{2}}"], answer=["2"]))
""")
    assert said.returncode == 0 and said.stdout.split(
        "[")[1].startswith("-0.7") and said.stdout.strip().endswith("[1.0]"), said.stdout + said.stderr


@pytest.mark.parametrize("what, says", [
    ("from mora import MultiObjectiveTrainer", "mora.MultiObjectiveTrainer needs "),
    ("from mora.study import run_experiment", "pip install 'mora-rl[study]'"),
])
def test_a_missing_extra_is_named(what, says):
    said = alone(what)
    assert said.returncode == 1 and says in said.stderr.splitlines()[-1] and "mora-rl[" in said.stderr.splitlines(
        )[-1]


def test_the_command_names_the_extra_in_one_line():
    said = alone("from mora.__main__ import main; sys.exit(main())")
    assert said.returncode == 2 and said.stderr == "mora: yaml is not installed: pip install 'mora-rl[study]'\n"


def test_a_cell_that_needs_an_extra_says_so():
    "`make test-minimal` skips cells that begin with `#| needs PACKAGE`, where the package is not installed."
    imported = re.compile(rf"^(?:import|from) (?:{'|'.join(minimal.ABSENT)})\b", re.MULTILINE)
    unmarked = []
    for path in minimal.notebooks():
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code" and imported.search(cell.source) and "#| needs " not in cell.source:
                unmarked.append((path.name, cell.id))
    assert unmarked == []
