"""Rewards of every form and size train a policy or raise one error that names the reward."""
import functools

import numpy as np
import pytest
import torch
from test_trainer import assert_equal, policy, settings, trained
from transformers import PrinterCallback

from mora.errors import ConfigError
from mora.study.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task():
    return load_task("embedded", seed=0, train_size=64, validation_size=8, test_size=8)


def numbers(completion_ids):
    return [float(sum(ids) % 2) for ids in completion_ids]


def plain(completions, completion_ids, **kwargs):
    return numbers(completion_ids)


def length(completions, completion_ids, **kwargs):
    return [float(len(ids) < 9) for ids in completion_ids]


async def coroutine(completions, completion_ids, **kwargs):
    return numbers(completion_ids)


class Judge:
    async def __call__(self, completions, completion_ids, **kwargs):
        return tuple(numbers(completion_ids))


def generator(completions, completion_ids, **kwargs):
    yield from numbers(completion_ids)


def other_rows(form):
    def reward(completions, completion_ids, **kwargs):
        return form(numbers(completion_ids))

    return reward


FORMS = {
    "coroutine": coroutine,
    "async-object": Judge(),
    "partial": functools.partial(plain, unused=1),
    "partial-of-a-coroutine": functools.partial(coroutine, unused=1),
    "generator": generator,
    "tensor": other_rows(torch.tensor),
    "column": other_rows(lambda x: torch.tensor(x)[:, None]),
    "bfloat16": other_rows(lambda x: torch.tensor(x, dtype=torch.bfloat16)),
    "whole-numbers": other_rows(lambda x: [int(v) for v in x]),
    "booleans": other_rows(lambda x: [bool(v) for v in x]),
    "array": other_rows(np.array),
    "numpy-numbers": other_rows(lambda x: [np.float64(v) for v in x]),
    "single-tensors": other_rows(lambda x: [torch.tensor([v]) for v in x]),
}


def train(task, folder, reward, weighting="fixed", algorithm="grpo", options=None, **changes):
    model, tokenizer = policy()
    needs_validation = weighting in ("hypervolume", "dynaopt")
    held_out = dict(eval_strategy="steps", eval_steps=1) if needs_validation else {}
    args = MultiObjectiveConfig(**settings(folder,
        **(dict(max_steps=2, beta=0.0, eval_loss=False) | held_out | changes)), algorithm=algorithm,
        weighting=weighting, weighting_options=options)
    validation = dict(validation=task.validation) if needs_validation else None
    run = MultiObjectiveTrainer(model, [reward, length], args, task.train, validation,
        processing_class=tokenizer)
    run.remove_callback(PrinterCallback)
    return trained(run)


@pytest.fixture(scope="module")
def expected(task, tmp_path_factory):
    return train(task, tmp_path_factory.mktemp("plain"), plain)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_as_a_list(task, tmp_path, expected, form):
    assert_equal(expected, train(task, tmp_path, FORMS[form]))


WEIGHTINGS = {
    "fixed": {}, "hypervolume": {}, "gradient": {}, "gradient-sketch": dict(gradients="sketch"),
    "frontier": {}, "gdpo": {}, "lagrangian": {}, "gradnorm": {}, "dvao": {}, "hvo": {}, "rvpo": {},
}


def value(name, ids, i):
    x = float(sum(ids) % 3)
    return {
        "negative": -x, "large": 1e6 * x, "huge": 1e30 * x, "tiny": 1e-30 * x,
        "some-none": None if i % 3 == 0 else x,
        "some-nan": float("nan") if i % 3 == 0 else x,
        "one-infinite": float("inf") if i == 5 else x,
        "minus-infinite": float("-inf") if i == 5 else x,
        "a-constant": 0.3, "beyond-float32": 1e39 * x, "text": str(x), "all-none": None,
    }[name]


REFUSED = {
    "one-infinite": "inf", "minus-infinite": "-inf", "beyond-float32": "1e\\+39|2e\\+39", "text": "'",
}


def valued(name):
    def rewarded(completions, completion_ids, **kwargs):
        return [value(name, ids, i) for i, ids in enumerate(completion_ids)]

    return rewarded


def start():
    return dict(policy()[0].named_parameters())


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "reinforce", "reinforce_plus_plus"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_number_is_named(task, tmp_path, name, algorithm):
    with pytest.raises(ConfigError, match=f"values of reward 'rewarded': got ({REFUSED[name]})"):
        train(task, tmp_path, valued(name), algorithm=algorithm)


VALUES = ["negative", "large", "huge", "tiny", "some-none", "some-nan", "a-constant", "all-none"]
FEW = ["huge", "negative", "all-none"]  # all values with all weightings would take minutes
ALGORITHMS = "grpo", "rloo", "reinforce", "reinforce_plus_plus"
CASES = [("fixed", v, a) for v in VALUES for a in ALGORITHMS]
CASES += ([(w, v, "grpo") for w in WEIGHTINGS for v in FEW if w != "fixed"]
    + [("gradient", "huge", "rloo"), ("hvo", "huge", "rloo")])


@pytest.mark.filterwarnings("ignore:reward")
@pytest.mark.parametrize("weighting, name, algorithm", CASES)
def test_values_train_or_are_named(task, tmp_path, weighting, name, algorithm):
    try:
        params = train(task, tmp_path, valued(name), weighting.removesuffix("-sketch"), algorithm,
            WEIGHTINGS[weighting])
    except RuntimeError as error:
        assert name in ("huge", "large")
        assert "advantages of weighting" in str(error) and "scale them" in str(error)
        assert "\n" not in str(error)
        return
    assert all(torch.isfinite(p).all() for p in params.values())
    assert any(not torch.equal(p, params[n]) for n, p in start().items()), "nothing was learned"
