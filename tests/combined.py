"""What `test_combinations.py` trains: tiny steps on completions that are the same in every combination, and a
record of all that a weighting saw."""
import functools
import inspect
from unittest import mock

import numpy as np
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from small_models import byte_tokenizer, small_model

from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.training.evidence import trainable
from mora.weighting.core import make_weighting

KINDS = {  # what a weighting observes -> an example of it
    "fixed": dict(weighting="fixed", weights=[0.5, 0.3, 0.2]),
    "gdpo": dict(weighting="gdpo", weights=[0.5, 0.3, 0.2]),
    "hypervolume": dict(weighting="hypervolume", mode="effective"),
    "exact": dict(weighting="gradient", mu=1e-2),
    "sketch": dict(weighting="gradient", mu=1e-2, gradients="sketch", rank=10**4),
    "ctwa": dict(weighting="ctwa"),
    "pama": dict(weighting="pama"),
}
VARIANTS = {
    "plain": {},
    "lora": dict(lora={}),
    "bf16": dict(bf16=True),
    "checkpointing": dict(gradient_checkpointing=True, gradient_checkpointing_kwargs=dict(use_reentrant=False)),
    "lora-checkpointing": dict(lora={}, gradient_checkpointing=True),  # transformers 5 is non-reentrant by default
    "vllm": dict(use_vllm=True, vllm_importance_sampling_mode="token_truncate"),
    "accumulation": dict(gradient_accumulation_steps=2, per_device_train_batch_size=4),
    "iterations": dict(num_iterations=2),
    "minibatches": dict(steps_per_generation=2, per_device_train_batch_size=4),
}
LIVELY = dict(initializer_range=0.15)  # attention that matters
CHANGES = {"qwen3": LIVELY, "llama": LIVELY, "mistral": LIVELY | dict(sliding_window=6)}  # shorter than the texts
PROMPTS = ["2+2", "1", "17-4", "30+5"]


def even(completions, completion_ids, **kwargs):
    return [0.1 * (sum(ids) % 2 == 0) for ids in completion_ids]


def third(completions, completion_ids, **kwargs):
    return [0.1 * (sum(ids) % 3 == 0) for ids in completion_ids]


def short(completions, completion_ids, **kwargs):
    return [0.1 * (len(ids) < 8) for ids in completion_ids]


def completions(source, n):
    "Random completions of 4 to 10 tokens, the same in every combination. `source` has `different` batches."
    batch, source.batches = source.batches % source.different, source.batches + 1
    rng = np.random.default_rng(batch)
    torch.manual_seed(batch)  # of the order in which TRL divides the rows among passes
    return [rng.integers(5, 200, rng.integers(3, 10)).tolist() + [1] for _ in range(n)]


def answers(prompts, trainer):
    "A rollout: those completions; greedy ones in evaluation."
    prompt_ids = trainer._tokenize_prompts(prompts)[0]
    if trainer.model.training:
        return dict(prompt_ids=prompt_ids, completion_ids=completions(trainer, len(prompts)), logprobs=None)
    # TRL 1.9 has no argument `num_generations`
    rest = [1] if "num_generations" in inspect.signature(trainer._generate_single_turn).parameters else []
    completion_ids = trainer._generate_single_turn(prompt_ids, None, {}, *rest)[0]
    return dict(prompt_ids=prompt_ids, completion_ids=completion_ids, logprobs=None)


class Engine:
    "Stand-in for TRL's `VLLMGeneration` with given completions and log-probs that are not the policy's."
    def __init__(self, model, temperature, generation_kwargs, **kwargs):
        self.model, self.temperature, self.generation_kwargs = model, temperature, generation_kwargs or {}
        self.batches, self.different, self.called, self.synced = 0, 10**6, [], 0

    def sync_weights(self):
        self.synced += 1

    def generate(self, prompts, images, num_generations, profiler):
        self.called.append((self.model.training, self.temperature, dict(self.generation_kwargs)))
        if self.model.training:
            ids = completions(self, len(prompts))
        else:
            ids = [[9, 9, 1]] * len(prompts)
        rng = np.random.default_rng(1)
        return prompts, ids, [[[rng.normal(-5.6, 0.3)] for _ in c] for c in ids], None


def lora_config(**changes):
    return LoraConfig(**dict(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
        | changes)


OBSERVED = ("observe_values", "observe_rewards", "observe_gramian", "observe_initial_policy", "observe_update",
    "observe_validation", "advantages")


def listen(weighting, seen, step):
    "Keep (name, step, tensors) of every call of `weighting`."
    def noted(name, method, *args, **kwargs):
        out = method(*args, **kwargs)
        seen.append((name, step(), [torch.as_tensor(x).clone() for x in args if not callable(x)]
            + ([out.clone()] if name == "advantages" else [])))
        return out

    for name in OBSERVED:
        setattr(weighting, name, functools.partial(noted, name, getattr(weighting, name)))
    return weighting


class Watch(transformers.TrainerCallback):
    "Keeps gradients before, and weights and parameters after every optimizer step."
    def __init__(self, trainer):
        self.trainer, self.gradients, self.weights, self.policies = trainer, [], [], [self.policy(trainer.model)]

    def policy(self, model):
        return {n: p.detach().clone() for n, p in model.named_parameters()}

    def on_pre_optimizer_step(self, *args, **kwargs):
        self.gradients.append({n: p.grad.detach().float().flatten().clone()
            for n, p in trainable(self.trainer.model).items() if p.grad is not None})

    def on_step_end(self, *args, **kwargs):
        self.weights.append(torch.as_tensor(self.trainer.weighting.weights).clone())
        self.policies.append(self.policy(self.trainer.model))


def make(path, family="qwen3", kind="fixed", different=10**6, lora=None, prompts=PROMPTS, held_out="validation",
        **changes):
    "A trainer that has not begun, with `seen` and `watch` to read from."
    weighting = make_weighting(**KINDS[kind]) if isinstance(kind, str) else kind
    tokenizer, data = byte_tokenizer(), Dataset.from_dict(dict(prompt=prompts))
    model = changes.pop("model", None) or small_model(family, tokenizer, **CHANGES[family])
    args = MultiObjectiveConfig(**dict(
        output_dir=str(path), max_steps=2, per_device_train_batch_size=8, per_device_eval_batch_size=8,
        num_generations=4, max_completion_length=10,
        scale_rewards="none", learning_rate=0.5, lr_scheduler_type="constant", optim="sgd", max_grad_norm=0.0,
        logging_steps=1, save_strategy="no",
        eval_strategy="steps" if "validation" in weighting.needs else "no", eval_steps=1, report_to="none",
        bf16=False, gradient_checkpointing=False,
        disable_tqdm=True, seed=0, use_cpu=True, eval_loss=False) | changes)
    torch.manual_seed(1)  # of an adapter
    with mock.patch("trl.trainer.grpo_trainer.VLLMGeneration", Engine):
        trainer = MultiObjectiveTrainer(
            model, [even, third, short], args, data, {held_out: data}, processing_class=tokenizer,
            weighting=weighting,
            peft_config=None if lora is None else lora_config(**lora),
            rollout_func=None if args.use_vllm else answers)
    trainer.remove_callback(transformers.PrinterCallback)
    source = trainer.vllm_generation if args.use_vllm else trainer
    source.batches, source.different = 0, different
    trainer.seen, trainer.watch = [], Watch(trainer)
    listen(weighting, trainer.seen, lambda: trainer.state.global_step)
    trainer.add_callback(trainer.watch)
    return trainer


@functools.cache
def trained(path, family, kind, variant, steps=2):
    "A trainer that has gone `steps` steps, with `handed`: the advantages of every pass."
    trainer = make(path, family, kind, max_steps=steps, **VARIANTS[variant])
    trainer.handed, compute_loss = [], trainer.compute_loss
    trainer.compute_loss = lambda model, inputs, *args, **kwargs: (
        trainer.handed.append(inputs["advantages"].clone()), compute_loss(model, inputs, *args, **kwargs))[1]
    trainer.train()
    return trainer
