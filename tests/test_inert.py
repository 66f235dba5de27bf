"""The proofs of nbs/experiments/what_is_inert.ipynb run at their smallest; their asserts are the test."""
from pathlib import Path

import papermill

NOTEBOOK = Path(__file__).parents[1] / "nbs" / "experiments" / "what_is_inert.ipynb"
SMALLEST = dict(seeds=[0], steps=2, prompts=4, simulations=50)


def test_its_proofs_hold_at_their_smallest(tmp_path):
    assert set(SMALLEST) <= set(papermill.inspect_notebook(NOTEBOOK))
    papermill.execute_notebook(NOTEBOOK, tmp_path / "out.ipynb", SMALLEST, cwd=NOTEBOOK.parent, progress_bar=False)
