"""What `test_combinations.py` trains: tiny steps on completions that are the same in every combination, and a record of all that a weighting saw."""
import functools
from types import SimpleNamespace

import numpy as np
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from small_models import byte_tokenizer, small_model

from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
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
    "accumulation": dict(gradient_accumulation_steps=2, per_device_train_batch_size=4),
    "iterations": dict(num_iterations=2),
    "minibatches": dict(steps_per_generation=2, per_device_train_batch_size=4),
}
CHANGES = {"mistral": dict(sliding_window=6)}  # shorter than the texts
PROMPTS = ["2+2", "1", "17-4", "30+5"]


def even(completions, completion_ids, **kwargs):
    return [0.1 * (sum(ids) % 2 == 0) for ids in completion_ids]


def third(completions, completion_ids, **kwargs):
    return [0.1 * (sum(ids) % 3 == 0) for ids in completion_ids]


def short(completions, completion_ids, **kwargs):
    return [0.1 * (len(ids) < 8) for ids in completion_ids]


def answers(prompts, trainer):
    "Random completions of 4 to 10 tokens that depend on the batch and the place in it alone; greedy ones in evaluation."
    prompt_ids = trainer._tokenize_prompts(prompts)[0]
    if not trainer.model.training:
        return dict(prompt_ids=prompt_ids, completion_ids=trainer._generate_single_turn(prompt_ids, None, {}, 1)[0], logprobs=None)
    rng = np.random.default_rng(trainer.batches % trainer.different)
    trainer.batches += 1
    torch.manual_seed(trainer.batches % trainer.different)  # of the order in which rows are divided among passes
    return dict(prompt_ids=prompt_ids, completion_ids=[rng.integers(5, 200, rng.integers(3, 10)).tolist() + [1] for _ in prompts], logprobs=None)


def lora_config(**changes):
    return LoraConfig(**dict(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False) | changes)


OBSERVED = ("observe_values", "observe_rewards", "observe_gramian", "observe_reference", "observe_update", "observe_validation", "advantages")


def listen(weighting, seen, step):
    "Keep (name, step, tensors) of every call of `weighting`."
    def noted(name, method, *args, **kwargs):
        out = method(*args, **kwargs)
        seen.append((name, step(), [torch.as_tensor(x).clone() for x in args if not callable(x)] + ([out.clone()] if name == "advantages" else [])))
        return out

    for name in OBSERVED:
        setattr(weighting, name, functools.partial(noted, name, getattr(weighting, name)))
    return weighting


class Watch(transformers.TrainerCallback):
    "Keeps gradients before, and weights after every optimizer step."
    def __init__(self, trainer):
        self.trainer, self.gradients, self.weights = trainer, [], []

    def on_pre_optimizer_step(self, *args, **kwargs):
        self.gradients.append({n: p.grad.detach().float().flatten().clone() for n, p in self.trainer._trainable().items() if p.grad is not None})

    def on_step_end(self, *args, **kwargs):
        self.weights.append(torch.as_tensor(self.trainer.weighting.weights).clone())


def make(path, family="qwen3", kind="fixed", different=10**6, **changes):
    "A trainer that has not begun, with `seen` and `watch` to read from."
    weighting = make_weighting(**KINDS[kind]) if isinstance(kind, str) else kind
    tokenizer = byte_tokenizer()
    lora, model = changes.pop("lora", None), changes.pop("model", None) or small_model(family, tokenizer, **CHANGES.get(family, {}))
    torch.manual_seed(1)  # of an adapter
    data = Dataset.from_dict(dict(prompt=PROMPTS))
    options = {k: changes.pop(k) for k in ("reward_funcs", "rollout_func") if k in changes}
    args = MultiObjectiveConfig(**dict(
        output_dir=str(path), max_steps=2, per_device_train_batch_size=8, per_device_eval_batch_size=8, num_generations=4, max_completion_length=10,
        scale_rewards="none", learning_rate=0.5, lr_scheduler_type="constant", optim="sgd", max_grad_norm=0.0, logging_steps=1, save_strategy="no",
        eval_strategy="steps", eval_steps=1, report_to="none", bf16=False, gradient_checkpointing=False, disable_tqdm=True, seed=0, use_cpu=True) | changes)
    trainer = MultiObjectiveTrainer(model, train_dataset=data, eval_dataset={"validation": data}, args=args, processing_class=tokenizer, weighting=weighting,
                                    peft_config=None if lora is None else lora_config(**lora), **dict(reward_funcs=[even, third, short], rollout_func=answers) | options)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.batches, trainer.different, trainer.seen, trainer.watch = 0, different, [], Watch(trainer)
    listen(weighting, trainer.seen, lambda: trainer.state.global_step)
    trainer.add_callback(trainer.watch)
    return trainer


@functools.cache
def trained(path, family, kind, variant, steps=2):
    "What came out of a combination, and what its weighting saw on the way."
    trainer = make(path, family, kind, max_steps=steps, **VARIANTS[variant])
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    handed = []  # the advantages of every pass
    compute = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: (handed.append(inputs["advantages"].clone()), compute(model, inputs))[1]
    trainer.train()
    return SimpleNamespace(seen=trainer.seen, weights=torch.stack(trainer.watch.weights), gradients=trainer.watch.gradients, handed=handed, before=before,
                           after={n: p.detach() for n, p in trainer.model.named_parameters()}, trainable=set(trainer._trainable()), scale=trainer.weighting.scale, args=trainer.args)
