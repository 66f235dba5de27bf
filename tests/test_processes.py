"""Two gloo processes against one, on the same global batch of 16 completions."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("processes.py")
RUNS = {
    "exact": dict(weighting="gradient"),
    "sketch": dict(weighting="gradient", weighting_options=dict(gradients="sketch")),
    "accumulated": dict(weighting="gradient", weighting_options=dict(gradients="sketch"), gradient_accumulation_steps=2),
    "hypervolume": dict(weighting="hypervolume", weighting_options=dict(mode="effective")),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    "Folder of the runs by number of processes."
    out = {}
    for processes in (1, 2):
        out[processes] = tmp_path_factory.mktemp(f"processes{processes}")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), str(SCRIPT), str(out[processes]), json.dumps(RUNS)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_equal_one(folders, name):
    one, *two = (json.loads((folders[n] / f"{name}.{rank}").read_text()) for n, rank in ((1, 0), (2, 0), (2, 1)))
    assert len(one["logged_weights"]) == 5
    assert len(one["gramians"]) == (0 if name == "hypervolume" else 5)
    for rank in two:
        for a, b in zip(one["gramians"], rank["gramians"], strict=True):
            assert np.linalg.norm(np.subtract(a, b)) <= 1e-5 * np.linalg.norm(a)
        for part in ("weights", "scale"):
            np.testing.assert_allclose(rank[part], one[part], atol=1e-6)
        np.testing.assert_allclose(rank["archive"]["points"], one["archive"]["points"], atol=1e-6)
        np.testing.assert_allclose(rank["parameters"], one["parameters"], atol=1e-5)
    np.testing.assert_allclose(two[0]["logged_weights"], one["logged_weights"], atol=1e-6)  # rank 0 logs
    assert two[0]["parameters"] == two[1]["parameters"] and two[0]["weights"] == two[1]["weights"]
