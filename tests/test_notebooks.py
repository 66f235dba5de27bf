"""Every reading notebook runs, and everything made from notebooks is what they give now."""
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import papermill
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from nbdev.test import test_nb as run_notebook

from mora.study.pages import EXPERIMENTS, answer, question

root = Path(__file__).resolve().parent.parent
notebooks = [*sorted((root / "nbs").glob("*.ipynb")),
    *sorted((root / "nbs" / "study").glob("*.ipynb"))]


@pytest.mark.parametrize("path", notebooks, ids=lambda p: p.stem)
def test_notebook_runs(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    # the cell that exports is not run: the tree under test must stay as it is
    ok, seconds = run_notebook(path, skip_flags=["notest", "slow"], do_print=False, basepath=root)
    assert ok, f"{path.name} failed: its traceback is printed above"


def test_package_is_what_the_notebooks_export(tmp_path):
    for name in ("nbs", "mora"):
        shutil.copytree(root / name, tmp_path / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("settings.ini", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / name)
    for command in ("nbdev-export", "nbdev-clean"):
        subprocess.run([Path(sys.executable).with_name(command)], check=True, cwd=tmp_path)
    changed = []
    for folder in ("mora", "nbs"):
        files = {p.relative_to(tmp_path) for p in (tmp_path / folder).rglob("*") if p.is_file()
            and p.suffix in (".py", ".ipynb")}
        ours = {p.relative_to(root) for p in (root / folder).rglob("*")
            if p.suffix in (".py", ".ipynb") and ".ipynb_checkpoints" not in p.parts}
        changed += ([str(f) for f in files ^ ours]
            + [str(f) for f in files & ours if not filecmp.cmp(root / f, tmp_path / f,
            shallow=False)])
    assert not changed, f"run nbdev-export and nbdev-clean: {changed} differ"


def test_readme_is_made_from_the_index():
    done = subprocess.run([sys.executable, root / "tools" / "readme.py", "--check"],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_saved_output_holds_a_traceback():
    for path in root.glob("nbs/**/*.ipynb"):
        nb = nbformat.read(path, 4)
        bad = [o for c in nb.cells for o in c.get("outputs", []) if o.output_type == "error"]
        assert not bad, f"{path.name} holds a traceback in a saved output"


EXECUTED = [*EXPERIMENTS, "report", "train"]


@pytest.mark.parametrize("name", EXECUTED)
def test_experiments_are_committed_executed(name):
    nb = nbformat.read(root / "nbs" / "experiments" / f"{name}.ipynb", 4)
    outputs = [o for c in nb.cells for o in c.get("outputs", [])]
    kinds = {kind for o in outputs for kind in o.get("data", {})}
    assert "image/png" in kinds and "text/html" in kinds and len(nb.cells) <= 60
    assert not [k for k in kinds if "widget" in k] and "widgets" not in nb.metadata
    text = json.dumps(outputs)
    assert not re.findall(r"/(?:home|root|tmp|work|Users)/",
        text), f"{name}.ipynb: an output holds a path of a machine"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_asks_and_answers(name):
    nb = nbformat.read(root / "nbs" / "experiments" / f"{name}.ipynb", 4)
    assert question(nb) and answer(nb)
    [at] = [i for i, c in enumerate(nb.cells) if "answer" in c.metadata.get("tags", [])]
    assert "assert " in nb.cells[at - 1].source, f"{name}.ipynb: expected asserts right before the answer"


QUICK = {"nonconvex": dict(steps=3, seeds=1, weights=[0.5], preferences=[0.5])}


# that one is in test_inert.py
@pytest.mark.parametrize("name", sorted({*EXECUTED} - {"what_is_inert"}))
def test_experiments_run_and_their_conclusions_hold(name, tmp_path):
    path = root / "nbs" / "experiments" / f"{name}.ipynb"
    papermill.execute_notebook(path, tmp_path / "out.ipynb", QUICK.get(name, {}), cwd=path.parent,
        progress_bar=False)


GUARD = "from mora.study.grid import check_parameters\ncheck_parameters()"


@pytest.mark.parametrize("path", sorted((root / "nbs" / "experiments").glob("*.ipynb")),
    ids=lambda p: p.stem)
def test_every_experiment_looks_at_its_parameters(path):
    cells = nbformat.read(path, 4).cells
    [at] = [i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", [])]
    assert cells[at + 1].source.startswith(
        GUARD), f"{path.name}: expected check_parameters() right after the parameters"


def test_papermill_with_a_parameter_that_is_not_there_runs_nothing(tmp_path):
    nb = nbformat.read(root / "nbs" / "experiments" / "train.ipynb", 4)
    nb.cells = nb.cells[:4]  # up to the guard
    nb.cells.append(nbformat.v4.new_code_cell(
        "from pathlib import Path; Path(folder, 'trained').touch()"))
    nbformat.write(nb, tmp_path / "train.ipynb")

    def run(**parameters):
        given = dict(folder=str(tmp_path)) | parameters
        papermill.execute_notebook(tmp_path / "train.ipynb", tmp_path / "out.ipynb", given,
            progress_bar=False)

    with pytest.raises(papermill.PapermillExecutionError,
            match="weightng: got .*gradient.*expected a known setting, such as weighting"):
        run(weightng="gradient")
    assert not (tmp_path / "trained").exists()
    run(weighting="gradient")
    assert (tmp_path / "trained").exists()


@pytest.fixture
def lab(tmp_path):
    "A copy of the repository with JupyterLab's server on its notebooks, as `make lab` starts it: (folder, call)."
    folder, runtime = tmp_path / "mora", tmp_path / "runtime"
    skipped = shutil.ignore_patterns(".git", ".venv", "runs", "data", "figures", "__pycache__",
        ".ipynb_checkpoints")
    shutil.copytree(root, folder, ignore=skipped)
    said = re.search(r"JUPYTER_CONFIG_PATH=\"\$\(CURDIR\)/([\w/]+)\"",
        (root / "Makefile").read_text())[1]
    places = dict(JUPYTER_CONFIG_PATH=str(folder / said), JUPYTER_RUNTIME_DIR=str(runtime),
        HOME=str(tmp_path))
    words = ["lab", "nbs", "--no-browser", "--port=0", "--IdentityProvider.token=lab",
        "--allow-root"]
    server = subprocess.Popen([sys.executable, "-m", "jupyter", *words], cwd=folder,
        env=os.environ | places, stderr=subprocess.DEVNULL)
    while not (found := list(runtime.glob("jpserver-*.json"))) and server.poll() is None:
        time.sleep(0.2)
    url = json.loads(found[0].read_text())["url"]

    def call(path, method="GET", model=None):
        data = None if model is None else json.dumps(model).encode()
        request = urllib.request.Request(f"{url}api/contents/{path}", data,
            {"Authorization": "token lab"}, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())

    yield folder, call
    server.terminate()
    server.wait()


def git(folder, *words):
    return subprocess.run(["git", "-c", "user.name=lab", "-c", "user.email=", *words], cwd=folder,
        check=True, capture_output=True, text=True).stdout


def test_opening_and_saving_in_jupyterlab_leaves_git_alone(lab):
    folder, call = lab
    for words in (["init"], ["add", "-A"], ["commit", "-qm", "all"]):
        git(folder, *words)
    manager, client = start_new_kernel()
    running = client.kernel_info(reply=True)["content"]["language_info"]
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    spec = manager.kernel_spec
    expected = dict(kernelspec=dict(name="python3", display_name=spec.display_name,
        language=spec.language), language_info=running)
    for path in sorted((folder / "nbs").rglob("*.ipynb")):
        name = path.relative_to(folder / "nbs").as_posix()
        content = call(name)["content"]
        # JupyterLab sets these when the kernel has started: another value is an unsaved change
        assert content["metadata"] == expected, name
        for cell in content["cells"]:
            cell["metadata"]["trusted"] = True
            if cell["cell_type"] == "code":
                cell["execution_count"] = 7
                cell["metadata"]["execution"] = {"iopub.execute_input": "2026-11-27T00:00:00Z"}
        call(name, "PUT", dict(type="notebook", format="json", content=content))
    assert git(folder, "status", "--short") == ""


def test_saving_after_run_all_keeps_what_nbdev_keeps(lab):
    folder, call = lab
    content = call("00_errors.ipynb")["content"]
    nb = nbformat.from_dict(content)
    NotebookClient(nb, resources={"metadata": {"path": str(folder / "nbs")}}).execute()
    call("00_errors.ipynb", "PUT", dict(type="notebook", format="json", content=nb))
    saved = (folder / "nbs" / "00_errors.ipynb").read_bytes()
    subprocess.run([Path(sys.executable).with_name("nbdev-clean")], check=True, cwd=folder)
    assert (folder / "nbs" / "00_errors.ipynb").read_bytes() == saved
