"""Step time of stock TRL and of mora's ways to weigh K objectives, interleaved step by step in one process.

    python benchmarks/step_time.py               the committed table: embedded policy with K = 2, 3, 5, and wider ones
    python benchmarks/step_time.py --widths 64 --objectives 3 --steps 40
    python benchmarks/step_time.py --device cuda --qwen3 0.6B   a Qwen3-shaped model with random weights, bf16

Every variant trains its own copy of the policy; one step of each is taken in turn, so that whatever else the machine
does hits all alike. Completions have a fixed number of tokens, hence every step is the same work. Times are minimum
and median over the steps, ratios are to `fixed`, from medians of the paired steps. Peak memory is that of a process of
its own for each variant (on a GPU: allocated memory).
"""
import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pandas as pd
import torch
import transformers
from datasets import Dataset
from transformers import PrinterCallback, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from mora.study.folders import write_whole
from mora.gradients import gramian, objective_jacobian
from mora.study.policies import make_policy, make_tokenizer
from mora.study.grid import WORKER_ENVIRONMENT
from mora.study.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.training.evidence import trainable
from mora.weighting.fixed import FixedWeighting
from mora.weighting.gradient import GradientWeighting

VARIANTS = ["trl", "fixed", "sketch", "exact", "k-pass"]
QWEN3 = {"0.6B": (1024, 28, 16, 8, 3072), "1.7B": (2048, 28, 16, 8, 6144), "4B": (2560, 36, 32, 8, 9728)}


class KPassTrainer(MultiObjectiveTrainer):
    "The reference's way, for this benchmark only: a forward and a backward pass for every objective."

    def exact_gramian(self, output, advantages, layers):
        rows = []
        for a in advantages.unbind(1):
            with self.compute_loss_context_manager():
                loss = self._compute_loss(self.model, {**output, "advantages": a})
            rows.append(objective_jacobian([loss], trainable(self.model).values())[0])
        return gramian(torch.stack(rows))


class Turns:
    "Lets one thread at a time go on, in a fixed order."

    def __init__(self, n):
        self.n, self.turn, self.alive, self.changed = n, 0, set(range(n)), threading.Condition()

    def wait(self, i):
        with self.changed:
            self.changed.wait_for(lambda: self.turn == i)

    def pass_on(self, i, leave=False):
        with self.changed:
            if leave:
                self.alive.discard(i)
            if self.alive:
                self.turn = next(j % self.n for j in range(i + 1, i + 1 + self.n) if j % self.n in self.alive)
            self.changed.notify_all()


class Stopwatch(TrainerCallback):
    "Whole step, and the step without generation."

    def __init__(self, i, turns, device):
        self.i, self.turns, self.device, self.generating, self.rows = i, turns, device, 0.0, []

    def now(self):
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_step_begin(self, *args, **kwargs):
        self.turns.wait(self.i)
        self.start, self.generating = self.now(), 0.0

    def on_step_end(self, *args, **kwargs):
        whole = self.now() - self.start
        self.rows.append((whole, whole - self.generating))
        self.turns.pass_on(self.i)

    def around(self, generate):
        def timed(*args, **kwargs):
            start = self.now()
            out = generate(*args, **kwargs)
            self.generating += self.now() - start
            return out

        return timed


def rewards(k):
    "K cheap rewards that differ."

    def make(i):
        def reward(completions, completion_ids, **kwargs):
            return [float(sum(ids) % (i + 2) == 0) for ids in completion_ids]

        reward.__name__ = f"objective{i}"
        return reward

    return [make(i) for i in range(k)]


def policy(size, device):
    "Embedded policy of a width, or a Qwen3-shaped one; random weights: time does not need trained ones."
    tokenizer = make_tokenizer()
    if size in QWEN3:
        d, layers, heads, kv, ff = QWEN3[size]
        config = Qwen3Config(vocab_size=151936, hidden_size=d, num_hidden_layers=layers, num_attention_heads=heads,
            num_key_value_heads=kv, head_dim=128,
                             intermediate_size=ff, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
                             pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
        with torch.device(device):
            return Qwen3ForCausalLM(config).to(torch.bfloat16), tokenizer
    return make_policy(tokenizer, seed=0, width=int(size), ff=int(int(size) * 2.625)), tokenizer


def settings_of(size, k, args):
    "A fresh policy, its rewards, and what trainers of all kinds are told."
    model, tokenizer = policy(size, args.device)
    gpu = args.device == "cuda"
    settings = dict(
        output_dir=tempfile.mkdtemp(), max_steps=args.steps + args.warmup,
        per_device_train_batch_size=args.prompts * 8, num_generations=8, learning_rate=1e-6,
        max_completion_length=args.tokens, generation_kwargs={"min_new_tokens": args.tokens}, logging_steps=10**6,
        report_to="none", save_strategy="no",
        disable_tqdm=True, bf16=gpu, gradient_checkpointing=False, use_cpu=not gpu,
    )
    prompts = load_task("embedded", train_size=args.prompts * 4, validation_size=1, test_size=1).train["prompt"]
    return model, rewards(k), settings, dict(train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
        processing_class=tokenizer)


def make_trainer(variant, size, k, args):
    "A trainer of a fresh policy."
    model, reward_funcs, settings, common = settings_of(size, k, args)
    if variant == "trl":
        return GRPOTrainer(model, reward_funcs, GRPOConfig(**settings, reward_weights=[1 / k] * k), **common)
    weighting = (FixedWeighting() if variant == "fixed"
        else GradientWeighting(gradients="sketch" if variant == "sketch" else "exact"))
    kind = KPassTrainer if variant == "k-pass" else MultiObjectiveTrainer
    return kind(model, reward_funcs, MultiObjectiveConfig(**settings), weighting=weighting, **common)


def take_turns(trainers, turns):
    "Train all of them, one step of each in turn."

    def run(i, trainer):
        turns.wait(i)
        try:
            trainer.train()
        finally:
            turns.pass_on(i, leave=True)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(trainers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def measure(variants, size, k, args):
    "Rows (variant, whole-step seconds, training-part seconds) of the timed steps."
    turns = Turns(len(variants))
    watches, trainers = [], []
    for i, variant in enumerate(variants):
        trainer, watch = make_trainer(variant, size, k, args), Stopwatch(i, turns, args.device)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watch)
        trainer._generate = watch.around(trainer._generate)
        watches.append(watch)
        trainers.append(trainer)
    take_turns(trainers, turns)
    return pd.concat(pd.DataFrame(w.rows[args.warmup:], columns=["whole", "training"]).assign(variant=v,
        step=range(len(w.rows) - args.warmup)) for v, w in zip(variants, watches, strict=True))


def silence():
    "No warnings and bars."
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()


def peak_memory(variant, size, k, args):
    "Peak memory in MiB of a process that takes three steps of one variant."
    command = [sys.executable, __file__, "--memory-of", variant, "--widths", str(size), "--objectives", str(k),
        "--device", args.device, "--prompts", str(args.prompts), "--tokens", str(args.tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_resident():
    "Peak resident memory of this process in MiB; `ru_maxrss` would count the parent's from before exec."
    return int(next(line for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")).split()[1]) / 2**10


def memory_of(args):
    "Print the peak of this process."
    args.steps, args.warmup = 3, 0
    trainer = make_trainer(args.memory_of, args.widths[0], args.objectives[0], args)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    peak = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else peak_resident()
    print(json.dumps(peak))


def summary(rows):
    "One line a variant: minimum, median, ratio to `fixed` step by step."
    out = []
    fixed = rows[rows.variant == "fixed"].set_index("step")
    for variant, r in rows.groupby("variant", sort=False):
        r = r.set_index("step")
        out.append(dict(variant=variant, **{f"{part}_{what}": f(r[part]) for part in ("whole", "training")
            for what, f in (("min_s", min), ("median_s", lambda x: x.median()))},
                        **{f"{part}_ratio": (r[part] / fixed[part]).median() for part in ("whole", "training")}))
    return pd.DataFrame(out)


def draw(table, path):
    "Training-part ratios against K at the first size, and against the size at the first K."
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    size, k = table["size"].iloc[0], table.objectives.iloc[0]
    panels = [(table[table["size"] == size], "objectives", f"objectives K (width {size})"),
        (table[table.objectives == k], "size", f"width of the policy (K = {k})")]
    fig, axes = plt.subplots(1, 2, figsize=(6.2, 2.6), sharey=True)
    for ax, (part, x, label) in zip(axes, panels, strict=True):
        for variant, mark in {"trl": "k.:", "sketch": "o-", "exact": "s--", "k-pass": "^-."}.items():
            t = part[part.variant == variant].astype({x: int}).sort_values(x)
            ax.plot(t[x], t.training_ratio, mark, label=variant, ms=4)
        ax.axhline(1, c="0.7", lw=0.8, zorder=0)
        ax.set(xlabel=label, xticks=sorted(set(part[x].astype(int))))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("training part of a step,\nratio to fixed weights")
    axes[0].legend(frameon=False, fontsize=7)
    fig.tight_layout()
    fig.savefig(path, dpi=200, metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", default=["64", "128"], help="widths of the embedded policy")
    parser.add_argument("--qwen3", nargs="+", choices=QWEN3, default=[], help="Qwen3-shaped models instead")
    parser.add_argument("--objectives", nargs="+", type=int, default=[3, 2, 5],
        help="numbers of objectives K; all of them at the first size, the first at the others")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each variant")
    parser.add_argument("--warmup", type=int, default=2, help="steps before")
    parser.add_argument("--prompts", type=int, default=16, help="prompts a step, 8 completions each")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of every completion")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", default="data/step_time.csv",
        help="table; the picture goes to figures/step_time.png if this is the default")
    parser.add_argument("--memory-of", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    # as a study runs its workers; malloc reads it when a process starts
    if not WORKER_ENVIRONMENT.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], WORKER_ENVIRONMENT | os.environ)
    torch.set_num_threads(args.threads)
    silence()
    if args.memory_of:
        return memory_of(args)
    tables = []
    for size in (sizes := args.qwen3 or args.widths):
        for k in args.objectives if size == sizes[0] else args.objectives[:1]:
            table = summary(measure(args.variants, size, k, args))
            table["peak_MiB"] = [peak_memory(v, size, k, args) for v in table.variant]
            table.insert(0, "objectives", k)
            table.insert(0, "size", size)
            tables.append(table)
            print(table.round(4).to_string(index=False), flush=True)
    table = pd.concat(tables)
    write_whole(args.out, lambda path: table.round(5).to_csv(path, index=False))
    if args.out == parser.get_default("out"):
        draw(table, Path(__file__).resolve().parent.parent / "figures" / "step_time.png")


if __name__ == "__main__":
    main()
