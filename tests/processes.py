"""Training runs for `test_processes.py`: the same global batch, whatever the number of processes and the way
parameters are kept.

    python -m torch.distributed.run --nproc-per-node 2 tests/processes.py FOLDER '{"exact": {"weighting": "gradient"}}'
"""
import json
import logging
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from accelerate.state import DistributedType, PartialState
from small_models import own_completions
from torch.distributed.tensor import DTensor

from mora.errors import ConfigError
from mora.study.policies import make_policy, make_tokenizer
from mora.study.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.weighting.core import make_weighting

BATCH = 16  # completions over all processes
SHARDED = "ACCELERATE_USE_FSDP" in os.environ or "ACCELERATE_USE_DEEPSPEED" in os.environ


def shard_on_cpu():
    "Make accelerate treat gloo processes like GPUs. Without this it trains with DDP on a CPU."

    def backend(self, *args, **kwargs):
        self.device = torch.device("cpu")
        return "gloo", DistributedType.MULTI_GPU

    PartialState._prepare_backend = backend


def whole(parameter):
    "A parameter as one process would hold it."
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.detach().clone()
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter.detach()


def answers(prompts, trainer):
    "Random completions that depend on the step and the place in the global batch alone; greedy ones in evaluation."
    prompt_ids = trainer._tokenize_prompts(prompts)[0]
    if not trainer.model.training:
        return dict(prompt_ids=prompt_ids, completion_ids=own_completions(trainer, prompt_ids), logprobs=None)
    completions = []
    for i in range(len(prompts)):
        rng = np.random.default_rng([trainer.state.global_step, trainer.accelerator.process_index * len(prompts) + i])
        completions.append(rng.integers(5, 100, rng.integers(3, 12)).tolist()
            + [trainer.processing_class.eos_token_id])
    return dict(prompt_ids=prompt_ids, completion_ids=completions, logprobs=None)


def rewards(missing):
    def even(completions, completion_ids, **kwargs):
        return [float(sum(ids) % 2 == 0) for ids in completion_ids]

    def third(completions, completion_ids, **kwargs):
        return [None if missing and len(ids) % 2 else float(sum(ids) % 3 == 0) for ids in completion_ids]

    def short(completions, completion_ids, **kwargs):
        return [float(len(ids) < 8) for ids in completion_ids]

    return [even, third, short]


def run(folder, options):
    "What this process saw in three steps, or why there were none."
    processes = int(os.environ.get("WORLD_SIZE", 1))
    tokenizer = make_tokenizer()
    task = load_task("embedded", seed=0, train_size=64, validation_size=20, test_size=1)
    weighting = make_weighting(options.pop("weighting"), **options.pop("weighting_options", {}))
    seen = []
    observe = weighting.observe_gramian
    weighting.observe_gramian = lambda gramian, lr=None: (seen.append(np.asarray(gramian).tolist()),
        observe(gramian, lr))
    scored = rewards(options.pop("missing", False))
    accumulation = options.get("gradient_accumulation_steps", 1)
    args = MultiObjectiveConfig(**dict(
        output_dir=str(folder), max_steps=5, per_device_train_batch_size=BATCH // processes // accumulation,
        per_device_eval_batch_size=8,
        num_generations=4, max_completion_length=12, learning_rate=1e-4, lr_scheduler_type="constant",
        logging_steps=1, save_strategy="steps", save_steps=5,
        report_to="none", bf16=False, gradient_checkpointing=False, disable_tqdm=True, use_cpu=not SHARDED,
        eval_strategy="steps", eval_steps=1, **options))
    try:
        trainer = MultiObjectiveTrainer(make_policy(tokenizer, seed=0), scored, args, task.train,
            {"validation": task.validation},
                                        processing_class=tokenizer, weighting=weighting, rollout_func=answers)
    except ConfigError as error:
        return dict(refused=str(error))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return dict(
        gramians=seen, weights=weighting.weights.tolist(), multiplier=weighting.multiplier,
        archive=trainer.archive.state_dict(),
        logged_weights=[[v for k, v in row.items() if k.startswith("weights/")] for row in trainer.state.log_history
        if any(k.startswith("weights/") for k in row)],
        update_norms=[row["update/norm"] for row in trainer.state.log_history if "update/norm" in row],
        sharded=any(isinstance(p, DTensor) or hasattr(p, "ds_id") for p in trainer.model.parameters()),
        parameters=torch.cat([whole(p).flatten() for p in trainer.model.parameters()]).tolist(),
    )


def main(folder, runs):
    torch.set_num_threads(1)
    if SHARDED:
        shard_on_cpu()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    for name, options in runs.items():
        Path(folder, f"{name}.{os.environ.get('RANK', 0)}").write_text(json.dumps(run(Path(folder, name), options)))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
