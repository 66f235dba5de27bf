"""Gather the finished seeds of a study into its committed results.

    python tools/gather.py leaderboard              runs/leaderboard into data/leaderboard.parquet
    python tools/gather.py paper --runs runs/paper

A seed counts when every run of the grid has finished with it. Seeds that the file holds already and the folder does not
are kept, so a long study can be gathered in portions. Kept of training are the values that a figure or table reads.
"""
import argparse
import re
from pathlib import Path

import pandas as pd

from mora.experiment import is_finished, write_whole
from mora.study import find_grid, gather, grid_configs, read_grid

TRAINING = re.compile(r"rewards/.+/mean|weights/.+|multiplier|update/norm|conflict/.+|gradients/influence/.+|completions/mean_length|pareto/hypervolume")


def finished_seeds(grid, folder, upto):
    "Seeds below `upto` with all runs of `grid` in `folder`."
    configs = grid_configs(read_grid(find_grid(grid)), upto)
    missing = {c.seed for c in configs if not is_finished(folder / c.name)}
    return sorted({c.seed for c in configs} - missing)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", help="name of the grid")
    parser.add_argument("--runs", type=Path, help="folder of its runs (default: runs/GRID)")
    args = parser.parse_args()
    folder, out = args.runs or Path("runs") / args.grid, Path("data") / f"{args.grid}.parquet"
    new = gather(folder)
    seeds = finished_seeds(args.grid, folder, int(new.seed.max()) + 1)
    kept = new[new.seed.isin(seeds) & ((new.split != "train") | new.name.str.fullmatch(TRAINING))]
    if out.exists():
        old = pd.read_parquet(out)
        kept = pd.concat([kept, old[~old.seed.isin(seeds)]], ignore_index=True)
    kept = kept.sort_values("seed", kind="stable", ignore_index=True)
    kept.attrs = new.attrs
    write_whole(out, kept.to_parquet)
    print(f"{out}: {kept.run.nunique()} runs, seeds {', '.join(map(str, sorted(kept.seed.unique())))}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
