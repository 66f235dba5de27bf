"""Gather the finished seeds of a study into its committed results.

    python tools/gather.py leaderboard              runs/leaderboard into data/leaderboard.parquet
    python tools/gather.py paper --runs runs/paper

A seed of an algorithm counts when every run of the grid has finished with it. Those that the file holds already and the
folder does not are kept, so a long study can be gathered in portions. Kept of training are the values that a figure or
table reads, and beside the rows what they depend on: versions, CPU, threads.
"""
import argparse
import re
from pathlib import Path

import pandas as pd
import torch

from mora.study.folders import is_finished, read_config, write_whole
from mora.study.grid import find_grid, gather, grid_configs, read_grid

TRAINING = re.compile(
    r"rewards/.+/mean|weights/.+|multiplier|update/norm|conflict/.+|gradients/influence/.+|completions/mean_length|pareto/hypervolume")
KEY = ["algorithm", "seed"]


def finished(grid, folder, upto):
    "(algorithm, seed) below seed `upto` with all runs of `grid` in `folder`."
    configs = grid_configs(read_grid(find_grid(grid)), upto)
    missing = {(c.algorithm, c.seed) for c in configs if not is_finished(folder / c.name)}
    return sorted({(c.algorithm, c.seed) for c in configs} - missing)


def rows_of(table, keys):
    "Mask of the rows whose (algorithm, seed) is one of `keys`."
    return pd.MultiIndex.from_frame(table[KEY]).isin(keys)


def made_with(folder):
    "Versions, CPU and threads of the runs in `folder`; they must agree, or nobody could say what reproduces them."
    runs = [read_config(f.parent) for f in folder.glob("*/metrics.parquet")]
    found = {tuple((facts["versions"] | {"threads": config.threads}).items()) for config, facts in runs}
    if len(found) > 1:
        raise SystemExit(f"versions: got {len(found)} different ones in {folder}, expected the same for all runs")
    return dict(found.pop()) | {"cpu": torch.backends.cpu.get_cpu_capability()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", help="name of the grid")
    parser.add_argument("--runs", type=Path, help="folder of its runs (default: runs/GRID)")
    args = parser.parse_args()
    folder, out = args.runs or Path("runs") / args.grid, Path("data") / f"{args.grid}.parquet"
    new = gather(folder)
    keys = finished(args.grid, folder, int(new.seed.max()) + 1)
    kept = new[rows_of(new, keys) & ((new.split != "train") | new.name.str.fullmatch(TRAINING))]
    if out.exists():
        old = pd.read_parquet(out)
        kept = pd.concat([kept, old[~rows_of(old, keys)]], ignore_index=True)
    kept = kept.sort_values("seed", kind="stable", ignore_index=True)
    said = {k: v for k, v in new.attrs.items() if v and k != "unfinished"}
    kept.attrs = said | {"made_with": made_with(folder)}
    write_whole(out, kept.to_parquet)
    seeds = "; ".join(f"{a} seeds {', '.join(map(str, sorted(g.seed.unique())))}"
        for a, g in kept.groupby("algorithm", sort=False))
    print(f"{out}: {kept.run.nunique()} runs, {seeds}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
