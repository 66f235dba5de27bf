"""The trainer against stock TRL, on a random policy small enough for seconds."""
import inspect
import json

import numpy as np
import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from mora.errors import ConfigError
from mora.gradients import GradientSketch
from mora.study.policies import load_policy, make_policy, make_tokenizer
from mora.study.tasks import load_task, paper_rewards
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
from mora.training.checkpoints import Checkpoints, missing_parts
from mora.training.evaluation import Evaluation
from mora.training.evidence import Gradients, LogRatios, trainable

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task():
    return load_task("embedded", seed=0, train_size=64, validation_size=16, test_size=16)


def policy():
    tokenizer = make_tokenizer()
    return make_policy(tokenizer, seed=0), tokenizer


def settings(path, **changes):
    base = dict(
        output_dir=str(path), max_steps=3, per_device_train_batch_size=16, per_device_eval_batch_size=16,
        num_generations=4,
        max_completion_length=12, learning_rate=1e-3, logging_steps=1, save_strategy="no", report_to="none",
        bf16=False,
        gradient_checkpointing=False, disable_tqdm=True, seed=0, use_cpu=True,
    )
    return base | changes


def length_reward(completions, completion_ids, **kwargs):
    return [float(len(ids) < 10) for ids in completion_ids]


def letter_reward(completions, **kwargs):
    return [float("e" in text) for text in completions]


def digit_reward(completions, **kwargs):
    return [float(any(c.isdigit() for c in text)) for text in completions]


def rewards():
    return [length_reward, letter_reward, digit_reward]


def trained(trainer):
    trainer.train()
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters()}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    different = [n for n in a if not torch.equal(a[n], b[n])]
    assert not different, f"{len(different)} of {len(a)} parameters differ, first {different[0]}"


@pytest.mark.parametrize("weighting", ["fixed", "hypervolume", "gradient"])
def test_resume_is_bit_for_bit(task, tmp_path, weighting):
    def trainer(folder):
        model, tokenizer = load_policy("embedded")  # one that solves problems: its hypervolume is not 0
        args = MultiObjectiveConfig(**settings(folder, max_steps=4, max_completion_length=64, eval_strategy="steps",
            eval_steps=1, test_steps=2, save_strategy="steps", save_steps=2), weighting=weighting)
        return MultiObjectiveTrainer(model, paper_rewards(80.0), args, task.train,
            {"validation": task.validation, "test": task.test}, processing_class=tokenizer)

    whole = trainer(tmp_path / "whole")
    expected, history = trained(whole), whole.state.log_history
    resumed = trainer(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert_equal(expected, {n: p.detach() for n, p in resumed.model.named_parameters()})

    def timeless(rows):  # the last row is the summary of one call of train()
        return json.dumps([{k: v for k, v in row.items() if not k.endswith(("time", "per_second"))} for row in rows
            if "train_runtime" not in row], sort_keys=True)

    assert timeless(history) == timeless(resumed.state.log_history)
    assert whole.weighting.state_dict() == resumed.weighting.state_dict()
    assert any(row.get("pareto/gain", 0) > 0 for row in history), "a gain that is never above 0 proves nothing"


def test_a_checkpoint_appears_whole_and_one_of_older_code_is_refused(task, tmp_path):
    model, tokenizer = policy()
    args = MultiObjectiveConfig(**settings(tmp_path, max_steps=2, save_strategy="steps", save_steps=1,
        save_total_limit=1))
    trained(MultiObjectiveTrainer(model, paper_rewards(80.0), args, task.train, processing_class=tokenizer))
    assert [p.name for p in tmp_path.glob("*checkpoint*")] == ["checkpoint-2"]
    assert not (tmp_path / ".incomplete").exists()
    state = json.loads((tmp_path / "checkpoint-2" / "mora_state.json").read_text())
    assert {"weighting", "archive", "ranges", "num_processes", "passes_a_batch"} == set(state)
    state["weighting"]["scale"] = state["weighting"].pop("multiplier")  # its name in older code
    (tmp_path / "checkpoint-2" / "mora_state.json").write_text(json.dumps(state))
    again = MultiObjectiveTrainer(policy()[0], paper_rewards(80.0), args, task.train, processing_class=tokenizer)
    refusal = "^state of FixedWeighting: got 'weights, scale', expected weights, multiplier$"
    with pytest.raises(ConfigError, match=refusal):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_validation_does_not_move_training(task, tmp_path):
    def run(folder, **changes):
        model, tokenizer = policy()
        args = MultiObjectiveConfig(**settings(folder, **changes))
        return trained(MultiObjectiveTrainer(model, rewards(), args, task.train, task.validation,
            processing_class=tokenizer))

    assert_equal(run(tmp_path / "a"), run(tmp_path / "b", eval_strategy="steps", eval_steps=1))


def test_nan_rewards_are_masked_and_errors_named(task, tmp_path):
    def sometimes(completions, **kwargs):
        return [None if i % 3 == 0 else 1.0 - i % 2 for i in range(len(completions))]

    def broken(completions, **kwargs):
        return [1 / 0]

    model, tokenizer = policy()
    params = trained(MultiObjectiveTrainer(model, [letter_reward, sometimes],
        MultiObjectiveConfig(**settings(tmp_path)), task.train, processing_class=tokenizer))
    assert all(torch.isfinite(p).all() for p in params.values())
    model, tokenizer = policy()
    with pytest.raises(RuntimeError, match="reward 'broken' raised ZeroDivisionError"):
        MultiObjectiveTrainer(model, [letter_reward, broken], MultiObjectiveConfig(**settings(tmp_path)), task.train,
            processing_class=tokenizer).train()


def test_what_cannot_be_done_right_is_refused_in_one_line(task, tmp_path):
    model, tokenizer = policy()

    def make(args, funcs=None):
        return MultiObjectiveTrainer(model, funcs or rewards(), args, task.train, processing_class=tokenizer)

    with pytest.raises(ConfigError, match="weights: got"):
        make(MultiObjectiveConfig(**settings(tmp_path), weighting="gdpo",
            weighting_options={"weights": [0.5, float("nan"), 0.5]}))
    with pytest.raises(ConfigError, match="weights: got .* sum to 1"):
        make(MultiObjectiveConfig(**settings(tmp_path), weighting="gradient",
            weighting_options={"weights": [0.5, 0.5, 0.5]}))
    with pytest.raises(ConfigError, match="eval_dataset: got None"):
        make(MultiObjectiveConfig(**settings(tmp_path), weighting="hypervolume"))
    with pytest.raises(ConfigError, match="args: got 'GRPOConfig'"):
        make(GRPOConfig(**settings(tmp_path)))


def test_the_override_points_are_where_trl_had_them():
    "With a newer TRL this says which of them moved."
    expected = {
        "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
        "_generate_and_score_completions": ["self", "inputs"],
        "_compute_loss": ["self", "model", "inputs"],
        "prediction_step": ["self", "model", "inputs", "prediction_loss_only", "ignore_keys"],
        "_save_checkpoint": ["self", "model", "trial"],
        "_load_optimizer_and_scheduler": ["self", "checkpoint"],
        "_evaluate": ["self", "trial", "ignore_keys_for_eval", "skip_scheduler"],
        "_get_output_dir": ["self", "trial"],
    }
    for name, parameters in expected.items():
        found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)
        assert found == parameters, f"TRL moved GRPOTrainer.{name}: parameters are {found}, expected {parameters}"
    source = inspect.getsource(GRPOTrainer)
    for text in ("self.reward_weights", 'inputs["advantages"]', "self._metrics[mode]", "self.generation_config"):
        assert text in source, f"TRL's GRPOTrainer no longer mentions {text}"


def test_logged_names(task, tmp_path):
    model, tokenizer = policy()
    args = MultiObjectiveConfig(**settings(tmp_path, eval_strategy="steps", eval_steps=1), weighting="gradient")
    trainer = MultiObjectiveTrainer(model, paper_rewards(80.0), args, task.train, {"validation": task.validation},
        processing_class=tokenizer)
    trained(trainer)
    names = {k for row in trainer.state.log_history for k in row}
    objectives = ["accuracy", "conciseness", "clarity"]
    for o in objectives:
        assert {f"rewards/{o}/mean", f"rewards/{o}/std", f"weights/{o}", f"gradients/norm/{o}",
            f"gradients/influence/{o}", f"eval_validation_{o}"} <= names
    assert {"multiplier", "pareto/hypervolume", "pareto/gain", "conflict/accuracy_conciseness",
        "update/norm"} <= names
    rows = [r for r in trainer.state.log_history if "update/norm" in r]
    assert len(rows) == 3 and all(np.isfinite(r["update/norm"]) and r["update/norm"] > 0 for r in rows)
    assert all(abs(sum(r[f"weights/{o}"] for o in objectives) - 1) < 1e-6 for r in rows)


@pytest.mark.parametrize("mixin", [Evaluation, Gradients, LogRatios, Checkpoints])
def test_a_mixin_works_alone_on_a_plain_trainer(mixin, task, tmp_path):
    "No mixin reads what another one or the trainer sets. It trains like stock TRL."
    parameters = []
    for name, bases in (("plain", (GRPOTrainer,)), ("alone", (mixin, GRPOTrainer))):
        model, tokenizer = policy()
        args = GRPOConfig(**settings(tmp_path / name, max_steps=2, save_strategy="steps", save_steps=1))
        trainer = type(name.title(), bases, {})(model, rewards(), args, task.train, task.test,
            processing_class=tokenizer)
        parameters.append(trained(trainer))
    assert_equal(*parameters)
    if mixin is Checkpoints:
        assert not missing_parts(tmp_path / "alone" / "checkpoint-2") and missing_parts(
            tmp_path / "plain" / "checkpoint-2")
    if mixin is Evaluation:
        assert set(trainer.evaluate()) >= {f"eval_{o.name}" for o in trainer.objectives}
    if mixin is LogRatios:
        trainer.keep_initial_policy()
        with trainer.initial_policy():
            assert all(torch.equal(trainer.initial[n], p) for n, p in trainable(trainer.model).items())
    if mixin is Gradients:
        trainer.listen("proj", 4, 0)
        assert isinstance(trainer.sketch, GradientSketch)
