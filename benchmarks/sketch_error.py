"""Gramians of one real training run, measured exactly and by sketches of several ranks in the same steps.

    python benchmarks/sketch_error.py                         the committed table: seeds 0 1 2, ranks 2 to 64
    python benchmarks/sketch_error.py --seeds 0 --steps 10 --out /tmp/errors.parquet

The run is the study's own: embedded policy, GRPO, balanced start, gradient-based weights from the exact Gramian. Every
sketch listens to the same training backward, so that nothing but the projections differs. Rows: seed, step, how
("exact": all parameters, as `gradients="exact"` has it; "linear": exact, over the layers that a sketch watches;
"sketch"), rank, draw, and the K (K+1) / 2 entries of the Gramian after each objective's gradient was clipped to norm 1.
"""
import argparse
import contextlib
import logging
import os
import tempfile
import warnings

import pandas as pd
import torch
import transformers
from tqdm import tqdm
from trl.trainer.utils import split_tensor_dict

from mora.study.run import ExperimentConfig, make_trainer, run_task
from mora.gradients import GradientSketch, clip_gramian, gramian, objective_jacobian, sketched_gradients
from mora.gradients import watched_modules, without_zeros
from mora.trainer import MultiObjectiveTrainer
from mora.training.evidence import trainable


class ListeningTrainer(MultiObjectiveTrainer):
    "Trains by the exact Gramian while sketches of every rank and draw listen."

    def listen(self, ranks, draws):
        self.listeners = {(rank, draw): GradientSketch(self.model, rank=rank, seed=draw) for rank in ranks
            for draw in range(draws)}
        self.watched = {f"{name}.weight" for name in watched_modules(self.model)}
        self.rows = []

    def keep(self, how, matrix, rank=0, draw=0):
        entries = {f"{a}_{b}": matrix[i, j].item() for i, a in enumerate(self.reward_func_names)
            for j, b in enumerate(self.reward_func_names) if i <= j}
        self.rows.append(dict(step=self.state.global_step, how=how, rank=rank, draw=draw, **entries))

    def exact_gramian(self, output, advantages, layers):
        self.each = advantages
        matrix = super().exact_gramian(output, advantages, layers)
        self.keep("exact", matrix)
        self.keep("linear", self.linear_gramian(output, advantages))
        return matrix

    def linear_gramian(self, output, advantages):
        (chunk,) = split_tensor_dict({**output, "advantages": advantages}, 1)
        watched = [p for n, p in trainable(self.model).items() if n in self.watched]
        jacobian = objective_jacobian(self.objective_losses(chunk), watched)
        return clip_gramian(gramian(jacobian), jacobian.norm(dim=1))

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.model.training:
            output["advantages"] = without_zeros(output["advantages"], self.each)
            output["each"] = self.each
        return output

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.used = inputs["advantages"], inputs["each"]
        with contextlib.ExitStack() as stack:
            for sketch in self.listeners.values():
                stack.enter_context(sketch)
            return super().compute_loss(model, inputs, *args, **kwargs)

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        for (rank, draw), sketch in self.listeners.items():
            gradients = sketched_gradients(sketch.take(), *self.used)
            self.keep("sketch", clip_gramian(gramian(gradients), gradients.norm(dim=1)), rank, draw)
        return loss


def run(seed, args):
    "Rows of one run."
    config = ExperimentConfig(weighting="gradient", seed=seed, max_steps=args.steps, test_steps=args.steps,
        test_size=20, validation_size=20)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(config, run_task(config), folder)
        trainer.__class__ = ListeningTrainer
        trainer.listen(args.ranks, args.draws)
        trainer.train()
    return pd.DataFrame(trainer.rows).assign(seed=seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--draws", type=int, default=1, help="draws of the projections at every rank")
    parser.add_argument("--out", default="data/sketch_error.parquet")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    table = pd.concat(run(seed, args) for seed in tqdm(args.seeds, unit="run"))
    table.to_parquet(args.out + ".tmp", index=False)
    os.replace(args.out + ".tmp", args.out)


if __name__ == "__main__":
    main()
