"""`mora train` under a launcher: two processes, one run."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil

from mora.study.cli import main
from mora.study.run import last_checkpoint, load_run, read_progress, run_experiment
from mora.study.settings import make_config

TESTS = Path(__file__).parent
ENV = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
# two processes cannot halve 5 or 3
TINY = dict(num_generations=4, per_device_train_batch_size=4, validation_size=5, test_size=3, test_steps=2,
    save_steps=2, max_steps=6, weighting="hypervolume", use_cpu=True)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "recipes/accelerate/ddp.yaml",
    "--num_processes", "2", "--main_process_port", "0", "-m", "mora.study.cli"]


def words(settings):
    return [w for k, v in settings.items() for w in (f"--{k}", str(v))]


def start(*command):
    return subprocess.Popen([*map(str, command)], cwd=TESTS.parent, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=ENV)


def kill_all(process, reached, limit=120):
    "kill -9 of the launcher and what it launched, as soon as `reached()`."
    end = time.time() + limit
    while not reached() and process.poll() is None and time.time() < end:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]
    launched = psutil.Process(process.pid).children(recursive=True)
    assert len(launched) >= 2
    for p in (psutil.Process(process.pid), *launched):
        p.kill()
    psutil.wait_procs(launched)
    process.communicate()


def numbers(folder):
    return load_run(folder).metrics.drop(columns="seconds")


def test_two_processes_one_run_and_killed_it_goes_on(tmp_path):
    whole = start(*TORCHRUN, TESTS / "launched.py", tmp_path, "train", "--out", tmp_path / "whole", *words(TINY))
    said = whole.communicate(timeout=300)[0]
    assert whole.returncode == 0, said
    # one process speaks
    assert said.count("grpo-hypervolume-balanced-s0 in ") == 1 and said.count(
        "grpo-hypervolume-balanced-s0: accuracy") == 1
    assert {p.name for p in (tmp_path / "whole").iterdir()} >= {"config.yaml", "metrics.parquet", "model",
        "checkpoint-4", "checkpoint-6"}
    assert {f"rng_state_{rank}.pth" for rank in (0, 1)} < {p.name
        for p in (tmp_path / "whole" / "checkpoint-4").iterdir()}
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    # weights, archive, running length, parameters, every validation
    assert first == second and len(first["vectors"]) == 7

    one = run_experiment(make_config(TINY | dict(max_steps=1)), tmp_path / "one")
    # the initial policy, greedy: each held-out prompt counts once, however many processes share them
    for split in ("validation", "test"):
        pd.testing.assert_series_equal(load_run(tmp_path / "whole").values(split).loc[0].dropna(),
            one.values(split).loc[0].dropna())

    killed = tmp_path / "killed"
    kill_all(start(*TORCHRUN, "-m", "mora.study.cli", "train", "--out", killed,
        *words(TINY)), lambda: (read_progress(killed) or 0) >= 3)
    assert not (killed / "metrics.parquet").exists() and last_checkpoint(killed)
    again = start(*ACCELERATE, "train", "--out", killed, *words(TINY))
    said = again.communicate(timeout=300)[0]
    assert again.returncode == 0, said
    pd.testing.assert_frame_equal(numbers(killed), numbers(tmp_path / "whole"), check_exact=True)
    weights = [(tmp_path / f / "model" / "model.safetensors").read_bytes() for f in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_mistake_is_said_once(tmp_path):
    wrong = start(*ACCELERATE, "train", "--out", tmp_path / "run", "--weighting", "hypervolum")
    said = wrong.communicate(timeout=300)[0]
    assert said.count("mora: weighting: got 'hypervolum', expected one of") == 1 and "exitcode  : 2" in said
    assert wrong.returncode != 0 and not (tmp_path / "run").exists()  # the launcher makes 1 of the 2


def test_processes_that_would_train_alone_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as a launcher says, but nobody joins them
    assert main(["train", "--out", str(tmp_path / "run"), *words(TINY | dict(use_cpu=False))]) == 2
    assert "use_cpu: got False, expected true where 2 processes are launched without GPUs" in capsys.readouterr(
        ).err and not (tmp_path / "run").exists()
