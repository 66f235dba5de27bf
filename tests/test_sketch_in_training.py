"""The sketch of the training backward against the exact Gramian, under everything that changes what a backward
pass is."""
import numpy as np
import pytest
import torch
from peft import LoraConfig
from test_trainer import policy, rewards, settings
from transformers import LlamaForCausalLM

from mora.errors import ConfigError
from mora.gradients import GradientSketch
from mora.study.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.weighting.core import Exact, Sketch
from mora.weighting.fixed import FixedWeighting

EVERYTHING = 10**4  # a rank at which nothing is lost


class _Listening(FixedWeighting):
    "Fixed weights that keep every Gramian of the layers' projections."
    needs = frozenset({"gramian"})

    def __init__(self, gradients):
        super().__init__()
        self.gradients = Sketch("proj|lora", rank=EVERYTHING) if gradients == "sketch" else Exact("proj|lora")
        self.seen = []

    def observe_gramian(self, gramian, lr=None):
        self.seen.append(gramian)


@pytest.fixture(scope="module")
def task():
    return load_task("embedded", seed=0, train_size=64, validation_size=16, test_size=16)


def tenth(reward):
    def scaled(*args, **kwargs):
        return [r / 10 for r in reward(*args, **kwargs)]

    scaled.__name__ = reward.__name__
    return scaled


def listened(task, path, gradients, tied=False, peft_config=None, **changes):
    "Gramians of the first steps."
    model, tokenizer = policy()
    if tied:
        config = model.config
        config.tie_word_embeddings = True
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    weighting = _Listening(gradients)
    # short gradients: the exact way clips by the norm over all parameters, the sketch by that over the watched ones
    args = MultiObjectiveConfig(**settings(path, **{"max_steps": 1, "scale_rewards": "none", **changes}))
    trainer = MultiObjectiveTrainer(model, [tenth(r) for r in rewards()], args, task.train,
        processing_class=tokenizer, weighting=weighting, peft_config=peft_config)
    trainer.train()
    return weighting.seen


def lora():
    return LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False,
        lora_dropout=0.0)


@pytest.mark.parametrize("changes", [
    {},
    dict(gradient_accumulation_steps=2, per_device_train_batch_size=8),
    dict(gradient_checkpointing=True, gradient_checkpointing_kwargs=dict(use_reentrant=False)),
    dict(tied=True),
    dict(peft_config=lora()),
    dict(peft_config=lora(), gradient_checkpointing=True, gradient_checkpointing_kwargs=dict(use_reentrant=False)),
    dict(loss_type="grpo"),
    dict(loss_type="dr_grpo"),
    dict(loss_type="bnpo"),
    dict(num_iterations=2),
    dict(bf16=True),
], ids=lambda c: "-".join(c) or "defaults")
def test_a_sketch_of_full_rank_is_the_exact_gramian(task, tmp_path, changes):
    (exact,), (sketch,) = (listened(task, tmp_path / g, g, **changes) for g in ("exact", "sketch"))
    assert 0 < np.diag(exact).max() < 1
    tolerance = 0.03 if changes.get("bf16") else 1e-4
    assert np.linalg.norm(sketch - exact) <= tolerance * np.linalg.norm(exact)


def test_every_optimizer_step_of_a_generation_batch_is_measured(task, tmp_path):
    changes = dict(steps_per_generation=2, per_device_train_batch_size=8, max_steps=2)
    (exact,), sketches = (listened(task, tmp_path / g, g, **changes) for g in ("exact", "sketch"))
    assert len(sketches) == 2 and exact.shape == sketches[0].shape


def test_padding_does_not_matter():
    "The same answers, with prompts padded further to the left and completions to the right."
    model, _ = policy()
    ids = torch.randint(5, 100, (4, 10), generator=torch.Generator().manual_seed(0))

    def sketches(left, right):
        padded = torch.nn.functional.pad(ids, (left, right))
        mask = torch.nn.functional.pad(torch.ones_like(ids), (left, right))
        places = (mask.cumsum(1) - 1).clamp(min=0)
        sketch = GradientSketch(model, rank=EVERYTHING)
        with sketch:
            logits = model(padded, attention_mask=mask, position_ids=places).logits[:, left:left + 10]
            logp = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])
        (-logp.mean()).backward()
        return torch.cat(sketch.take(), 1)

    torch.testing.assert_close(sketches(3, 5), sketches(0, 0), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("field, value", [("entropy_coef", 0.01), ("loss_type", "sapo"),
    ("gradient_checkpointing_kwargs", dict(use_reentrant=True))])
def test_what_a_sketch_cannot_see_is_refused(task, tmp_path, field, value):
    with pytest.raises(ConfigError, match=f"{field}: got"):
        listened(task, tmp_path, "sketch", **{field: value, "gradient_checkpointing": field.startswith("gradient")})
