"""Gather the finished seeds of a study into its committed results.

    python tools/gather.py leaderboard              runs/leaderboard into data/leaderboard
    python tools/gather.py paper --runs runs/paper

A seed of an algorithm counts when every run of the grid has finished with it. Runs that data/ holds already and the
folder does not are kept, so a long study can be gathered in portions. Of the training metrics only those are kept that
a figure or table reads.
"""
import argparse
import re
from pathlib import Path

import pandas as pd

from mora.study.grid import find_grid, grid_configs, read_grid, run_names
from mora.study.results import gather, load_results, pool

TRAINING = re.compile(
    r"rewards/.+/mean|weights/.+|multiplier|update/norm|conflict/.+|gradients/influence/.+|completions/mean_length|pareto/hypervolume")
KEY = ["algorithm", "seed"]


def finished(grid, runs):
    "Names of the runs whose (algorithm, seed) has finished with all runs of the grid."
    configs = grid_configs(read_grid(find_grid(grid)), int(runs.seed.max()) + 1)
    names = pd.DataFrame(dict(run=run_names(configs), algorithm=[c.algorithm for c in configs],
        seed=[c.seed for c in configs]))
    whole = names.assign(there=names.run.isin(runs.run)).groupby(KEY).there.transform("all")
    return set(names.run[whole])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", help="name of the grid")
    parser.add_argument("--runs", type=Path, help="folder of its runs (default: runs/GRID)")
    args = parser.parse_args()
    out = Path("data") / args.grid
    new = gather(args.runs or Path("runs") / args.grid)
    new = new.where(new.runs.run.isin(finished(args.grid, new.runs)))
    used = (new.metrics.split != "train") | new.metrics.name.str.fullmatch(TRAINING)
    new.metrics = new.metrics[used]
    if out.exists():
        old = load_results(out)
        new = pool(new, old.where(~old.runs.run.isin(new.runs.run)))
    new.runs = new.runs.sort_values("seed", kind="stable", ignore_index=True)
    new.save(out)
    seeds = "; ".join(f"{a} seeds {', '.join(map(str, sorted(r.runs.seed.unique())))}"
        for a, r in new.by_algorithm().items())
    size = sum(p.stat().st_size for p in out.iterdir())
    print(f"{out}: {len(new.runs)} runs, {seeds}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
