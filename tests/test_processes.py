"""Two gloo processes against one, on the same global batch of 16 completions; and against two that share the
parameters out."""
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("processes.py")
RUNS = {
    "exact": dict(weighting="gradient"),
    "sketch": dict(weighting="gradient", weighting_options=dict(gradients="sketch")),
    "accumulated": dict(weighting="gradient", weighting_options=dict(gradients="sketch"),
    gradient_accumulation_steps=2),
    "hypervolume": dict(weighting="hypervolume", weighting_options=dict(mode="effective")),
    "update": dict(weighting="ctwa"),
    "initial_policy": dict(weighting="pama"),
    "missing": dict(weighting="gdpo", missing=True),
    "fixed": dict(weighting="fixed"),
}
GRAMIANS = ("exact", "sketch", "accumulated")
SHARDED = ("fixed", "missing", "hypervolume")
UNSHARDED = {"exact": "per-objective gradients", "sketch": "per-objective gradients",
    "update": "log-probs before and after a step", "initial_policy": "log-probs before and after a step"}


def launch(folder, runs, processes=2, env=None):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
        str(SCRIPT), str(folder), json.dumps(runs)]
    alone = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}) | alone, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def told(folder, name, rank):
    return json.loads((folder / f"{name}.{rank}").read_text())


def launcher_settings(name, *options):
    "Return the arguments and the environment that `accelerate launch` makes of a file in recipes/accelerate."
    args, file, _ = _validate_launch_command(launch_command_parser().parse_args(["--config_file",
        str(ROOT / "recipes" / "accelerate" / f"{name}.yaml"), *options, "mora.study.cli"]))
    args.deepspeed_fields_from_accelerate_config = ""
    env = prepare_deepspeed_cmd_env(args)[1] if args.use_deepspeed else prepare_multi_gpu_env(args)
    return args, {k: v for k, v in env.items() if k.startswith(("ACCELERATE_", "FSDP_"))}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    "Folder of the runs by number of processes."
    return {n: launch(tmp_path_factory.mktemp(f"processes{n}"), RUNS, n) for n in (1, 2)}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_equal_one(folders, name):
    one, *two = (told(folders[n], name, rank) for n, rank in ((1, 0), (2, 0), (2, 1)))
    assert len(one["logged_weights"]) == 5
    assert len(one["gramians"]) == (5 if name in GRAMIANS else 0)
    for rank in two:
        for a, b in zip(one["gramians"], rank["gramians"], strict=True):
            assert np.linalg.norm(np.subtract(a, b)) <= 1e-6 * np.linalg.norm(a)
        for part in ("weights", "multiplier"):
            np.testing.assert_allclose(rank[part], one[part], atol=1e-6)
        np.testing.assert_allclose(rank["archive"]["points"], one["archive"]["points"], atol=1e-6)
        np.testing.assert_allclose(rank["parameters"], one["parameters"], atol=1e-5)
    np.testing.assert_allclose(two[0]["logged_weights"], one["logged_weights"], atol=1e-6)  # rank 0 logs
    assert two[0]["parameters"] == two[1]["parameters"] and two[0]["weights"] == two[1]["weights"]


@pytest.mark.parametrize("kind", ["fsdp2", "zero2", "zero3"])
def test_sharded_equals_whole(folders, tmp_path, kind):
    if kind.startswith("zero") and not importlib.util.find_spec("deepspeed"):
        pytest.skip("needs deepspeed")
    runs = {n: RUNS[n] for n in (*SHARDED, *UNSHARDED)}
    launch(tmp_path, runs, env=launcher_settings(kind)[1])
    for rank in (0, 1):
        for name in SHARDED:
            assert (tmp_path / name / "checkpoint-5" / f"rng_state_{rank}.pth").exists()
            sharded, whole = told(tmp_path, name, rank), told(folders[2], name, rank)
            assert sharded["sharded"] == (kind != "zero2") and not whole["sharded"]
            np.testing.assert_allclose(sharded["parameters"], whole["parameters"], atol=1e-5)
            np.testing.assert_allclose(sharded["logged_weights"], whole["logged_weights"], atol=1e-6)
            np.testing.assert_allclose(sharded["archive"]["points"], whole["archive"]["points"], atol=1e-6)
            if kind == "fsdp2":  # DeepSpeed steps where a callback cannot look
                np.testing.assert_allclose(sharded["update_norms"], whole["update_norms"], rtol=1e-3)
            saved = AutoModelForCausalLM.from_pretrained(tmp_path / name / "checkpoint-5")  # whole, beside the shards
            np.testing.assert_allclose(torch.cat([p.flatten() for p in saved.parameters()]).detach(),
                whole["parameters"], atol=1e-5)
        for name, what in UNSHARDED.items():
            assert told(tmp_path, name, rank)["refused"].endswith(
                f"expected unsharded parameters (one process or DDP) for {what}")


@pytest.mark.parametrize("name,says", [
    ("ddp", dict()),
    ("fsdp2", dict(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2", FSDP_RESHARD_AFTER_FORWARD="true")),
    ("zero2", dict(ACCELERATE_USE_DEEPSPEED="true", ACCELERATE_DEEPSPEED_ZERO_STAGE="2")),
    ("zero3", dict(ACCELERATE_USE_DEEPSPEED="true", ACCELERATE_DEEPSPEED_ZERO_STAGE="3",
    ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL="true"))])
def test_launcher_reads_its_files(name, says):
    args, env = launcher_settings(name)
    assert args.num_processes == 8 and (args.multi_gpu, args.use_fsdp, args.use_deepspeed) == (name == "ddp",
        name == "fsdp2", name.startswith("zero"))
    assert env | says | dict(ACCELERATE_MIXED_PRECISION="no") == env  # the recipe's bf16 decides
