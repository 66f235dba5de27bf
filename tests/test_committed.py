"""The committed results are what this code gives."""
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from mora.study.grid import find_grid, grid_configs, read_grid, run_names
from mora.study.results import load_results
from mora.study.run import make_trainer, run_task, software, tidy

DATA = Path(__file__).parent.parent / "data"
STEPS = 5


class _StopEarly(TrainerCallback):
    "Leaves a run of 60 steps after the first few: a run of five steps would draw other problems."

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= STEPS


@pytest.mark.parametrize("name", ["grpo-fixed-balanced-s0", "grpo-hypervolume-balanced-s3"])
def test_a_run_trained_again_gives_the_committed_rows(name, tmp_path):
    board = load_results(DATA / "leaderboard").where(f"run=='{name}'")
    [config] = [c for c in grid_configs(read_grid(find_grid("leaderboard")), 4) if c.name == name]
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        trainer = make_trainer(config, run_task(config), tmp_path)
        trainer.add_callback(_StopEarly())
        trainer.train()
    finally:
        torch.set_num_threads(threads)
    old = board.metrics[board.metrics.step <= STEPS]
    both = old.merge(tidy(trainer.state.log_history), on=["step", "split", "name"], how="left",
        suffixes=("", "_again"))
    assert set(both.step) == set(range(STEPS + 1)) and set(both.split) == {"train", "validation", "test"}
    here = {f"versions.{package}": version for package, version in software().items()}
    here |= {"threads": config.threads, "cpu": torch.backends.cpu.get_cpu_capability()}
    if here == board.runs.iloc[0][[*here]].to_dict():
        assert (both.value == both.value_again).all()  # bit for bit
    else:  # other sums round differently: only greedy answers of the policy that ships are the same, up to a near tie
        start = both[(both.step == 0) & (both.split == "test")].set_index("name")
        assert len(start) == 3 and (start.value - start.value_again).abs().lt(pd.Series(dict(accuracy=.02,
            conciseness=.5, clarity=.02))).all()


@pytest.mark.parametrize("study", sorted(p.name for p in DATA.iterdir() if p.is_dir() and p.name != "policies"))
def test_committed_runs_are_those_of_their_grid(study):
    "A weighting that is new since the runs were made has none yet."
    results = load_results(DATA / study)
    grid = read_grid(find_grid(study))
    configs = grid_configs(grid, None if len(grid.axes["seed"]) > 1 else int(results.runs.seed.max()) + 1)
    weightings = {name: config.weighting for name, config in zip(run_names(configs), configs, strict=True)}
    missing = set(weightings) - set(results.runs.run)
    assert set(results.runs.run) <= set(weightings)
    assert not {weightings[name] for name in missing} & set(results.runs.weighting)


def test_committed_runs_say_what_made_them():
    runs = load_results(DATA / "leaderboard").runs
    assert not runs[[*(f"versions.{package}" for package in software()), "threads", "cpu"]].isna().any(axis=None)


def test_runs_of_a_weighting_that_centres_by_itself_do_not_depend_on_the_estimator():
    keys = ["seed", "step", "split", "name"]
    boards = [load_results(DATA / name) for name in ("leaderboard", "leaderboard_rloo")]
    for weighting in ("frontier", "rvpo"):
        chosen = f"weighting=='{weighting}' and preset=='balanced'"
        grpo, rloo = (b.where(chosen).rows().set_index(keys).value.sort_index() for b in boards)
        assert len(rloo) > 1000 and rloo.equals(grpo[rloo.index])
