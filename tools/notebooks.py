"""Run the reading notebooks in order and keep their outputs; then export and clean.

    python tools/notebooks.py              all of nbs/*.ipynb and nbs/study/*.ipynb
    python tools/notebooks.py 11 30        those whose name begins so
    python tools/notebooks.py claims       an experiment, by its name: nbs/experiments/claims.ipynb
"""
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

nbs = Path(__file__).resolve().parent.parent / "nbs"


def is_progress(output):
    "Whether an output is a progress bar or a warning, which are different on every run."
    bar = "%|" in output.get("text", "") or "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return bar or output.get("name") == "stderr"


def run(path):
    "Execute one notebook in its folder and write it back."
    nb = nbformat.read(path, 4)
    NotebookClient(nb, timeout=1200, kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}}).execute()
    if path.parent.name == "experiments":
        for cell in (c for c in nb.cells if c.cell_type == "code"):
            cell.outputs = [o for o in cell.outputs if not is_progress(o)]
        nb.metadata.pop("widgets", None)
    nb.metadata = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
    tmp = path.with_suffix(".tmp")
    nbformat.write(nb, tmp)
    os.replace(tmp, path)


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:]) or ("",)
    reading = [*sorted(nbs.glob("*.ipynb")), *sorted((nbs / "study").glob("*.ipynb"))]
    experiments = [p for p in sorted((nbs / "experiments").glob("*.ipynb")) if p.stem in wanted]
    bar = tqdm([p for p in reading if p.name.startswith(wanted)] + experiments, unit="notebook")
    for path in bar:
        bar.set_postfix_str(path.stem)
        run(path)
    for command in ("nbdev-export", "nbdev-clean"):
        subprocess.run([Path(sys.executable).with_name(command)], check=True, cwd=nbs.parent)
