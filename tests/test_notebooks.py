"""Every reading notebook runs, and everything made from notebooks is what they give now."""
import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbdev.test import test_nb as run_notebook

from mora.findings import ANSWER, EXPERIMENTS, FINDING, question

root = Path(__file__).resolve().parent.parent
notebooks = sorted((root / "nbs").glob("*.ipynb"))


@pytest.mark.parametrize("path", notebooks, ids=lambda p: p.stem)
def test_notebook_runs(path, monkeypatch):
    monkeypatch.chdir(root / "nbs")
    # the cell that exports is not run: the tree under test must stay as it is
    ok, seconds = run_notebook(path, skip_flags=["notest", "slow"], do_print=False, basepath=root)
    assert ok, f"{path.name} failed: its traceback is printed above"


def test_package_is_what_the_notebooks_export(tmp_path):
    for name in ("nbs", "mora"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("settings.ini", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / name)
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([Path(sys.executable).with_name(command)], check=True, cwd=tmp_path)
    changed = []
    for folder in ("mora", "nbs"):
        files = {p.relative_to(tmp_path) for p in (tmp_path / folder).rglob("*") if p.is_file() and p.suffix in (".py", ".ipynb")}
        ours = {p.relative_to(root) for p in (root / folder).rglob("*") if p.suffix in (".py", ".ipynb") and ".ipynb_checkpoints" not in p.parts}
        changed += [str(f) for f in files ^ ours] + [str(f) for f in files & ours if not filecmp.cmp(root / f, tmp_path / f, shallow=False)]
    assert not changed, f"run nbdev_export and nbdev_clean: {changed} differ"


def test_readme_is_made_from_the_index():
    done = subprocess.run([sys.executable, root / "tools" / "readme.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_saved_output_holds_a_traceback():
    import nbformat

    for path in root.glob("nbs/**/*.ipynb"):
        nb = nbformat.read(path, 4)
        bad = [o for c in nb.cells for o in c.get("outputs", []) if o.output_type == "error"]
        assert not bad, f"{path.name} holds a traceback in a saved output"
        if path.parent.name == "experiments":
            assert not any(c.get("outputs") for c in nb.cells), f"{path.name}: experiments are committed without outputs"


def test_every_experiment_on_the_page_of_findings_has_some():
    import nbformat

    for name in EXPERIMENTS:
        nb = nbformat.read(root / "nbs" / "experiments" / f"{name}.ipynb", 4)
        tags = [t for c in nb.cells for t in c.metadata.get("tags", [])]
        assert FINDING in tags and tags.count(ANSWER) == 1, f"{name}.ipynb: expected cells tagged {FINDING} and one tagged {ANSWER}"
        assert question(nb)[1], f"{name}.ipynb: no paragraph below its title"
