"""Convert the committed results from one tidy table to two tables. Used once.

    python tools/convert.py FOLDER_OF_OLD_GRIDS
"""
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from mora.study.grid import find_grid, grid_configs, read_grid, run_names
from mora.study.results import METRIC_COLUMNS, flat, make_results, runs_table
from mora.study.settings import preset_name


def settings(config):
    return {k: v for k, v in asdict(config).items() if k != "label"}


def convert(path, old_grids):
    table = pd.read_parquet(path)
    seeds = None if path.stem in ("simplex", "sketch") else table.seed.nunique()
    olds = {c.name: c for c in grid_configs(read_grid(old_grids / f"{path.stem}.yaml"), seeds)}
    news = grid_configs(read_grid(find_grid(path.stem)), seeds)
    named = list(zip(news, run_names(news), strict=True))
    made = dict(table.attrs.get("made_with", {}))
    facts = {f"versions.{k}": made.pop(k) for k in list(made) if k not in ("threads", "cpu")}
    rows, names = [], {}
    for run, first in table.drop_duplicates("run").set_index("run").iterrows():
        old = olds[run.replace("validation-every", "eval-steps")]
        same = [(c, n) for c, n in named if settings(c) == settings(old)]
        if len(same) > 1: same = [(c, n) for c, n in same if c.label == old.label]
        (config, names[run]), = same
        assert (config.algorithm, config.weighting, preset_name(config.preset), config.seed) == \
            (first.algorithm, first.weighting, first.preset, first.seed)
        assert "threads" not in made or made["threads"] == config.threads
        rows.append(dict(run=names[run]) | flat(asdict(config) | dict(preset=preset_name(config.preset)))
            | facts | dict(commit=None, cpu=made.get("cpu"), objectives=json.dumps(table.attrs["objectives"])))
    metrics = table.assign(run=table.run.map(names))[METRIC_COLUMNS]
    results = make_results(runs_table(rows), metrics)
    results.save(path.with_suffix(""))
    return table, results


if __name__ == "__main__":
    for path in sorted(Path("data").glob("*.parquet")):
        if (Path(sys.argv[1]) / f"{path.stem}.yaml").exists():
            table, results = convert(path, Path(sys.argv[1]))
            print(path, results.runs.run.nunique(), len(results.metrics), path.stat().st_size,
                sum(p.stat().st_size for p in path.with_suffix("").iterdir()))
