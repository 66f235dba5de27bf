"""What each weighting adds to a step, interleaved with fixed weights in one process: K = 3, embedded policy.

    python benchmarks/method_overhead.py                       every method by name; table to data/method_overhead.csv
    python benchmarks/method_overhead.py --methods frontier gdpo --steps 20

Two figures a method. `own`: time inside the weighting itself (all its observations and the advantages), less that of
fixed weights, as a share of a fixed step: exact to a few microseconds, and the whole cost of a method that
needs nothing
but rewards. `whole`: ratio of whole steps to fixed weights step by step (median), which also holds what the
trainer does
for a method that needs a Gramian or log-ratios; two runs of the same method differ by some 3% in it. Validation is not
in either: it costs one greedy pass over the held-out prompts each time (in the leaderboard's last column it is
included).
"""
import argparse
import os
import sys
import time
from types import SimpleNamespace

import pandas as pd
import torch
from step_time import WORKER_ENVIRONMENT, MultiObjectiveConfig, MultiObjectiveTrainer, PrinterCallback
from step_time import Stopwatch, Turns, settings_of, silence, take_turns

from mora.study.folders import write_whole
from mora.weighting.core import make_weighting, weighting_names

# what the leaderboard runs under a label of its own, or with other than default options
OPTIONS = {"gradnorm": ("gradnorm", dict(gradients="sketch")),
    "gradient-anchor": ("gradient", dict(anchor=0.05, gradients="sketch")),
           "gramian-upgrad": ("gramian", dict(method="upgrad", gradients="sketch")),
           "gramian-mgda": ("gramian", dict(method="mgda", gradients="sketch"))}
CALLS = ["observe_rewards", "observe_values", "observe_gramian", "observe_initial_policy", "observe_update",
    "advantages"]


def watch_calls(weighting, spent):
    "Add up the time inside the weighting, one number a step."
    depth = [0]

    def timed(call):
        def wrapped(*args, **kwargs):
            depth[0] += 1
            start = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                depth[0] -= 1
                if not depth[0]:  # a call within a call is counted once
                    spent[-1] += time.perf_counter() - start
        return wrapped

    for name in CALLS:
        setattr(weighting, name, timed(getattr(weighting, name)))


def weighting_of(name):
    "The weighting that the leaderboard runs under this name."
    weighting, options = OPTIONS.get(name, (name.split()[0], {}))
    return make_weighting(weighting, **options)


def make_trainer(name, args, spent):
    "A trainer of a fresh policy under the weighting called so."
    weighting = weighting_of(name)
    model, rewards, settings, common = settings_of("64", 3, args)
    # held-out prompts must be there; they are looked at before the first step alone
    if "validation" in weighting.needs:
        common |= dict(eval_dataset=common["train_dataset"].select(range(2)))
        settings |= dict(eval_strategy="steps", eval_steps=10**6)
    trainer = MultiObjectiveTrainer(model, rewards, MultiObjectiveConfig(**settings), weighting=weighting, **common)
    watch_calls(weighting, spent)
    trainer.remove_callback(PrinterCallback)
    return trainer


def measure(names, args):
    "DataFrame: method, step, seconds of the whole step and inside the weighting."
    turns, watches, trainers, own = Turns(len(names)), [], [], []
    for i, name in enumerate(names):
        spent = []
        watch = Stopwatch(i, turns, "cpu")
        begin = watch.on_step_begin
        watch.on_step_begin = lambda *a, begin=begin, spent=spent, **k: (begin(*a, **k), spent.append(0.0))[0]
        trainer = make_trainer(name, args, spent)
        trainer.add_callback(watch)
        watches.append(watch)
        trainers.append(trainer)
        own.append(spent)
    take_turns(trainers, turns)
    return pd.concat(pd.DataFrame(dict(method=n, step=range(len(w.rows)), whole=[r[0] for r in w.rows],
        own=s[: len(w.rows)])).iloc[args.warmup:] for n, w, s in zip(names, watches, own, strict=True))


def summary(rows):
    "One line a method."
    by = rows.pivot(index="step", columns="method", values="whole")
    own = rows.groupby("method").own.median()
    out = []
    for name in rows.method.unique():
        needs = weighting_of(name).needs
        out.append(dict(method=name, needs=", ".join(sorted(needs)), whole_min_s=by[name].min(),
            whole_median_s=by[name].median(), whole_ratio=(by[name] / by["fixed"]).median(),
                        own_ms=1e3 * own[name], own_share=(own[name] - own["fixed"]) / by["fixed"].median()))
    return pd.DataFrame(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=None, help="names of weightings (default: all)")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each method")
    parser.add_argument("--warmup", type=int, default=2, help="steps before")
    parser.add_argument("--out", default="data/method_overhead.csv")
    args = parser.parse_args()
    if not WORKER_ENVIRONMENT.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], WORKER_ENVIRONMENT | os.environ)
    torch.set_num_threads(1)
    silence()
    known = [*(n for n in weighting_names() if n not in ("fixed", "gramian")),
        *(n for n in OPTIONS if n != "gradnorm")]
    names = ["fixed", "fixed again", *(args.methods or known)]
    table = summary(measure(names, SimpleNamespace(**vars(args), device="cpu", prompts=16, tokens=48)))
    print(table.round(4).to_string(index=False))
    write_whole(args.out, lambda path: table.round(5).to_csv(path, index=False))


if __name__ == "__main__":
    main()
