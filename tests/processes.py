"""Training runs for `test_processes.py`: the same global batch, whatever the number of processes.

    python -m torch.distributed.run --nproc-per-node 2 tests/processes.py FOLDER '{"exact": {"weighting": "gradient"}}'
"""
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers

from mora.policies import make_policy, make_tokenizer
from mora.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.weighting.core import make_weighting

BATCH = 16  # completions over all processes


def answers(prompts, trainer):
    "Random completions that depend on the step and the place in the global batch alone; greedy ones in evaluation."
    prompt_ids = trainer._tokenize_prompts(prompts)[0]
    if not trainer.model.training:
        return dict(prompt_ids=prompt_ids, completion_ids=trainer._generate_single_turn(prompt_ids, None, {}, 1)[0], logprobs=None)
    completions = []
    for i in range(len(prompts)):
        rng = np.random.default_rng([trainer.state.global_step, trainer.accelerator.process_index * len(prompts) + i])
        completions.append(rng.integers(5, 100, rng.integers(3, 12)).tolist() + [trainer.processing_class.eos_token_id])
    return dict(prompt_ids=prompt_ids, completion_ids=completions, logprobs=None)


def rewards():
    def even(completions, completion_ids, **kwargs):
        return [float(sum(ids) % 2 == 0) for ids in completion_ids]

    def third(completions, completion_ids, **kwargs):
        return [float(sum(ids) % 3 == 0) for ids in completion_ids]

    def short(completions, completion_ids, **kwargs):
        return [float(len(ids) < 8) for ids in completion_ids]

    return [even, third, short]


def run(options):
    "What this process saw in five steps."
    processes = int(os.environ.get("WORLD_SIZE", 1))
    tokenizer = make_tokenizer()
    task = load_task("embedded", seed=0, train_size=64, validation_size=20, test_size=1)
    weighting = make_weighting(options.pop("weighting"), **options.pop("weighting_options", {}))
    seen = []
    observe = weighting.observe_gramian
    weighting.observe_gramian = lambda gramian, lr=None: (seen.append(np.asarray(gramian).tolist()), observe(gramian, lr))
    accumulation = options.get("gradient_accumulation_steps", 1)
    args = MultiObjectiveConfig(**dict(
        output_dir=tempfile.mkdtemp(), max_steps=5, per_device_train_batch_size=BATCH // processes // accumulation, per_device_eval_batch_size=8,
        num_generations=4, max_completion_length=12, learning_rate=1e-4, lr_scheduler_type="constant", logging_steps=1, save_strategy="no",
        report_to="none", bf16=False, gradient_checkpointing=False, disable_tqdm=True, use_cpu=True, eval_strategy="steps", eval_steps=1, **options))
    trainer = MultiObjectiveTrainer(make_policy(tokenizer, seed=0), rewards(), args, task.train, {"validation": task.validation},
                                    processing_class=tokenizer, weighting=weighting, rollout_func=answers)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return dict(
        gramians=seen, weights=weighting.weights.tolist(), scale=weighting.scale, archive=trainer.archive.state_dict(),
        logged_weights=[[v for k, v in row.items() if k.startswith("weights/")] for row in trainer.state.log_history if any(k.startswith("weights/") for k in row)],
        parameters=torch.cat([p.detach().flatten() for p in trainer.model.parameters()]).tolist(),
    )


def main(folder, runs):
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    for name, options in runs.items():
        Path(folder, f"{name}.{os.environ.get('RANK', 0)}").write_text(json.dumps(run(options)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
