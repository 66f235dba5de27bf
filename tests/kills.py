"""Kill training runs at random moments, start them again, and compare them with runs that went through.

    python tests/kills.py --kills 60        writes data/kills.csv

Every run has two minibatches and two passes over each batch, so most moments lie inside a batch. A run is equal if its
metrics (all but wall time) and its final weights are those of the uninterrupted run, bit for bit.
"""
import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from mora.study.run import read_progress

WEIGHTINGS = {
    "fixed": [],
    "hypervolume": ["--weighting", "hypervolume", "--weighting-options", "{mode: effective}"],
    "gradient, exact": ["--weighting", "gradient"],
    "gradient, sketch": ["--weighting", "gradient", "--weighting-options", "{gradients: sketch}"],
}
STEPS = 12
SETTINGS = ["--max-steps", str(STEPS), "--num-generations", "4", "--per-device-train-batch-size", "8",
    "--steps-per-generation", "2", "--num-iterations", "2", "--validation-size", "4", "--test-size", "4",
    "--test-steps", "2", "--save-steps", "1", "--max-completion-length", "40", "--use-cpu", "true"]


def start(folder, words):
    "`mora train` in a process group of its own."
    command = [sys.executable, "-m", "mora.study.cli", "train", "--out", str(folder), *SETTINGS, *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def finish(folder, words):
    "Let `mora train` end by itself; returns the seconds that it took."
    begun = time.monotonic()
    process = start(folder, words)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return time.monotonic() - begun


def kill_once(folder, words, due):
    "Start `mora train` and kill it as soon as `due()`; False if it had ended before."
    process = start(folder, words)
    while process.poll() is None and not due():
        time.sleep(0.02)
    if process.poll() is not None:
        assert process.returncode == 0, process.communicate()[1]
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def at_step(folder, step, delay=0.0):
    "True once the run in `folder` has done `step` steps, and `delay` seconds have passed since."
    reached = []

    def due():
        if not reached and (read_progress(folder) or 0) >= step:
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() >= reached[0] + delay

    return due


def moment(folder, rng, duration):
    "A random moment between now and the end of the run in `folder`, which takes `duration` seconds in all."
    step = rng.randint(min(read_progress(folder) or 0, STEPS - 1), STEPS - 1)
    return at_step(folder, step, rng.uniform(0, 2) * duration / STEPS)


def same(a, b):
    "Whether two finished runs are equal bit for bit, but for wall time."
    metrics = [pd.read_parquet(Path(f) / "metrics.parquet").drop(columns="seconds") for f in (a, b)]
    weights = [(Path(f) / "model" / "model.safetensors").read_bytes() for f in (a, b)]
    files = [sorted(p.relative_to(f).as_posix() for p in Path(f).rglob("*") if p.is_file()) for f in (a, b)]
    return metrics[0].equals(metrics[1]) and weights[0] == weights[1] and files[0] == files[1]


def campaign(name, kills, folder, rng, kills_a_run=3, progress=lambda: None):
    "Kill runs of one weighting `kills` times in all; one row a run: kills, equal."
    words, rows = WEIGHTINGS[name], []
    duration = finish(folder / "whole", words)
    while sum(r["kills"] for r in rows) < kills:
        killed, wanted = 0, min(kills_a_run, kills - sum(r["kills"] for r in rows))
        run = folder / f"run-{len(rows)}"
        while killed < wanted and kill_once(run, words, moment(run, rng, duration)):
            killed += 1
            progress()
        finish(run, words)
        rows.append(dict(weighting=name, run=len(rows), kills=killed, equal=same(folder / "whole", run)))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="kills in all (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, default=Path("data/kills.csv"),
        help="table to write (default data/kills.csv)")
    args = parser.parse_args()
    rng, rows = random.Random(args.seed), []
    with tqdm(total=args.kills, unit="kill") as bar:
        for i, name in enumerate(WEIGHTINGS):
            share = args.kills // len(WEIGHTINGS) + (i < args.kills % len(WEIGHTINGS))
            with tempfile.TemporaryDirectory() as folder:
                rows += campaign(name, share, Path(folder), rng, progress=bar.update)
    part = args.out.with_suffix(".part")
    with part.open("w", newline="") as file:
        table = csv.DictWriter(file, ["weighting", "run", "kills", "equal"])
        table.writeheader()
        table.writerows(rows)
    os.replace(part, args.out)
    unequal = [r for r in rows if not r["equal"]]
    print(f"{sum(r['kills'] for r in rows)} kills of {len(rows)} runs, {len(unequal)} runs "
        f"differ from those that went through")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
