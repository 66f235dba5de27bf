"""Every weighting trains a policy by its name, and a resumed run equals an uninterrupted one."""
import numpy as np
import pytest
import torch
from test_trainer import policy, rewards, settings

from mora.errors import ConfigError
from mora.pareto import Objective
from mora.study.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.weighting.core import Exact, Sketch, make_weighting, weighting_names


@pytest.fixture(scope="module")
def task():
    return load_task("embedded", seed=0, train_size=64, validation_size=8, test_size=1)


def trainer(task, path, name, **changes):
    "A trainer of the small policy that has not begun."
    model, tokenizer = policy()
    options = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 2, **changes}
    args = MultiObjectiveConfig(**settings(path, **options), weighting=name)
    held_out = {"validation": task.validation}
    return MultiObjectiveTrainer(model, rewards(), args, task.train, held_out, processing_class=tokenizer)


@pytest.mark.parametrize("name", weighting_names())
def test_trains_by_name(task, tmp_path, name):
    run = trainer(task, tmp_path, name)
    before = torch.cat([p.detach().flatten().clone() for p in run.model.parameters()])
    run.train()
    after = torch.cat([p.detach().flatten() for p in run.model.parameters()])
    assert torch.isfinite(after).all() and not torch.equal(before, after)
    assert not run.weighting.simplex or abs(run.weighting.weights.sum() - 1) < 1e-6
    assert np.isfinite(run.weighting.multiplier)


@pytest.mark.parametrize("name", ["ctwa", "pama", "frontier"])
def test_resumes_what_depends_on_log_ratios_or_values(task, tmp_path, name):
    straight = trainer(task, tmp_path / "straight", name, save_strategy="steps", save_steps=2, max_steps=4)
    straight.train()
    resumed = trainer(task, tmp_path / "straight", name, max_steps=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))
    assert resumed.weighting.state_dict() == straight.weighting.state_dict()
    for (n, a), b in zip(straight.model.named_parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b), n


WRONG = [
    ("gradient", "mu", True),
    ("gradient", "refresh", True),
    ("gradient", "rank", 0),
    ("hypervolume", "gain_scale", True),
    ("gramian", "magnitude", "yes"),
    ("dynaopt", "seed", None),
    ("dynaopt", "seed", -1),
    ("dynaopt", "history", True),
    ("ctwa", "eta", True),
    ("rvpo", "risk", True),
    ("frontier", "floor", True),
    ("corr_grpo", "eps", True),
    ("dara", "cap", True),
    ("gd2po", "threshold", True),
    ("sa_mrpo", "gamma", True),
]


@pytest.mark.parametrize("name, option, value", WRONG, ids=str)
def test_an_option_of_another_kind_is_named(name, option, value):
    others = {"gradients": "sketch"} if option == "rank" else {}
    with pytest.raises(ConfigError, match=f"^{option}: got {value!r}"):
        make_weighting(name, **{option: value}, **others).start([Objective("a"), Objective("b")])


SPELLINGS = [
    (dict(gradients="sketch"), Sketch()),
    (dict(layers="proj"), Exact("proj")),
    (dict(gradients="sketch", layers=[2], rank=8, refresh=3), Sketch([2], rank=8, refresh=3)),
    (dict(gradients=Sketch("proj")), Sketch("proj")),
]


@pytest.mark.parametrize("name", ["gradient", "gradnorm", "gramian"])
@pytest.mark.parametrize("options, measured", SPELLINGS, ids=str)
def test_flat_options_of_a_recipe_become_one_object(name, options, measured):
    assert make_weighting(name, **options).gradients == measured
