"""A TRL user changes three lines: what they already wrote trains the same policy, bit for bit, or is refused in
one line."""
import functools
import warnings

import pytest
import torch
from datasets import Dataset
from test_trainer import assert_equal, digit_reward, letter_reward, length_reward, policy, rewards, settings, trained
from transformers import AutoModelForSequenceClassification, LlamaConfig, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from trl.rewards import get_repetition_penalty_reward, get_soft_overlong_punishment

from mora.errors import ConfigError
from mora.study.policies import make_tokenizer
from mora.study.tasks import load_task
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task():
    return load_task("embedded", seed=0, train_size=64, validation_size=16, test_size=16)


@pytest.fixture(scope="module")
def saved_policy(tmp_path_factory):
    "A folder: TRL loads the reference model of a KL term by its path."
    folder = tmp_path_factory.mktemp("policy")
    model, tokenizer = policy()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def uneven_reward(completions, completion_ids, **kwargs):
    return [sum(ids) % 7 / 10 for ids in completion_ids]


def sometimes_reward(completions, completion_ids, **kwargs):
    return [None if len(ids) % 3 == 0 else float(sum(ids) % 2) for ids in completion_ids]


def scored():
    return [length_reward, uneven_reward, sometimes_reward]


def both(task, tmp_path, trl, model=None, ours=None, funcs=scored, data=None, **changes):
    "Stock and our trainer after training; `ours` are changes of our configuration alone."
    config, trainer = trl
    made = []
    for folder, Config, Trainer, more in (("trl", config, trainer, {}),
            ("mora", MultiObjectiveConfig, MultiObjectiveTrainer, ours or {})):
        given, tokenizer = policy()
        run = Trainer(model or given, funcs(), Config(**settings(tmp_path / folder, **(changes | more))),
            data or task.train, processing_class=tokenizer)
        run.remove_callback(PrinterCallback)
        made.append((run, trained(run)))
    return made


def assert_same(made):
    (stock, theirs), (ours, mine) = made
    assert_equal(theirs, mine)
    start, _ = policy()
    moved = dict(start.named_parameters())
    assert all(not torch.equal(moved[n], p) for n, p in mine.items()), "a parameter that never moved proves nothing"
    names = ("loss", "reward", "reward_std", "kl", "entropy", "completions/mean_length", "frac_reward_zero_std",
        "clip_ratio/low_mean", "grad_norm")
    for a, b in zip(stock.state.log_history, ours.state.log_history, strict=True):
        for n in names:
            assert a.get(n) == b.get(n), n


GRPO = GRPOConfig, GRPOTrainer
SAME = {
    "defaults": {},
    "batch-scale": dict(scale_rewards="batch"),
    "no-scale": dict(scale_rewards="none"),
    "two-iterations": dict(num_iterations=2),
    "accumulation": dict(gradient_accumulation_steps=2, per_device_train_batch_size=8),
    "parts": dict(steps_per_generation=4, per_device_train_batch_size=4, gradient_accumulation_steps=2),
    "dr-grpo": dict(loss_type="dr_grpo"),
    "grpo-loss": dict(loss_type="grpo"),
    "cispo": dict(loss_type="cispo", epsilon_high=5.0),
    "entropy": dict(entropy_coef=0.01),
    "weights": dict(reward_weights=[0.5, 0.3, 0.2]),
    "weights-that-sum-to-4": dict(reward_weights=[2.0, 1.0, 1.0]),
    "a-penalty": dict(reward_weights=[1.0, -0.5, 1.0], scale_rewards="none"),
    "zero-weights": dict(reward_weights=[0.0, 1.0, 0.0]),
    "normalised": dict(multi_objective_aggregation="normalize_then_sum"),
    "normalised-weights": dict(multi_objective_aggregation="normalize_then_sum", reward_weights=[2.0, -1.0, 0.5]),
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_three_changed_lines_train_the_same_policy(task, tmp_path, changes):
    assert_same(both(task, tmp_path, GRPO, **changes))


def test_a_kl_term_trains_the_same_policy(task, tmp_path, saved_policy):
    assert_same(both(task, tmp_path, GRPO, model=saved_policy, beta=0.05, num_iterations=2))


RLOO = RLOOConfig, RLOOTrainer
SAME_RLOO = {
    "without-kl": dict(beta=0.0),
    "defaults": {},
    "two-iterations": dict(num_iterations=2),
    "parts": dict(steps_per_generation=4, per_device_train_batch_size=4, gradient_accumulation_steps=2),
    "weights": dict(reward_weights=[2.0, -0.5, 1.0]),
    "strong-kl": dict(beta=1.0, num_iterations=2),
}


@pytest.mark.parametrize("changes", SAME_RLOO.values(), ids=SAME_RLOO)
def test_rloo_trains_the_same_policy(task, tmp_path, saved_policy, changes):
    "Under RLOO's own defaults: two completions of each prompt, beta .05, a ratio for each sequence."
    changes = {"num_generations": None, **changes}
    mine = dict(algorithm="rloo", num_generations=None)
    stock = {k: v for k, v in changes.items() if k != "num_generations"}

    def config(num_generations=None, **rest):
        return RLOOConfig(**rest)

    assert_same(both(task, tmp_path, (config, RLOOTrainer), model=saved_policy, ours=mine, **stock))
    assert MultiObjectiveConfig(**settings(tmp_path) | dict(num_generations=None),
        algorithm="rloo").num_generations == RLOOConfig(**settings(tmp_path)
        | dict(num_generations=2)).num_generations


@pytest.mark.parametrize("name", ["gdpo", "frontier", "rvpo", "dvao", "gradient", "hvo"])
def test_rloos_kl_reaches_every_weighting(task, tmp_path, saved_policy, name):
    "A method that makes its advantages without the estimator still pays for the divergence from the initial policy."

    def distance(beta):
        args = MultiObjectiveConfig(**settings(tmp_path / f"{beta}", beta=beta, max_steps=6, learning_rate=1e-2,
            num_generations=4), algorithm="rloo", weighting=name)
        run = MultiObjectiveTrainer(saved_policy, scored(), args, task.train, processing_class=make_tokenizer())
        params = trained(run)
        start, _ = policy()
        return sum((params[n] - p).norm() ** 2 for n, p in start.named_parameters()).sqrt()

    assert distance(0.0) != distance(5.0)


def stock_evaluation(task, tmp_path, sets, **changes):
    made = []
    for folder, Config, Trainer in (("trl", GRPOConfig, GRPOTrainer),
            ("mora", MultiObjectiveConfig, MultiObjectiveTrainer)):
        model, tokenizer = policy()
        run = Trainer(model, rewards(), Config(**settings(tmp_path / folder, eval_strategy="steps", eval_steps=2,
            max_steps=2, num_generations_eval=1, **changes)), task.train, sets, processing_class=tokenizer)
        run.train()
        made.append(run)
    return made


@pytest.mark.parametrize("form", ["one", "dict", "stream", "dict-of-streams"])
def test_stocks_evaluation_metrics_stand_beside_ours(task, tmp_path, form):
    sets = {"one": task.validation, "dict": dict(validation=task.validation, data1=task.test),
        "stream": task.validation.to_iterable_dataset(),
            "dict-of-streams": dict(data1=task.test.to_iterable_dataset())}[form]
    stock, ours = stock_evaluation(task, tmp_path, sets)
    wanted = {k for row in stock.state.log_history if row["step"] == 2 for k in row if k.startswith("eval_")}
    found = {k for row in ours.state.log_history if row["step"] == 2 for k in row if k.startswith("eval_")}
    assert wanted and wanted <= found, wanted - found
    assert set(stock.evaluate()) <= set(ours.evaluate())


def test_an_evaluation_by_hand_moves_nothing(task, tmp_path):
    class ByHand(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if self.used:
                self.trainer.evaluate(task.test)
                self.trainer.evaluate(dict(validation=task.test))
                self.trainer.evaluate()

    def run(folder, used):
        model, tokenizer = policy()
        args = MultiObjectiveConfig(**settings(folder, eval_strategy="steps", eval_steps=1, scale_rewards="none",
            optim="sgd", learning_rate=0.1), weighting="hypervolume", weighting_options=dict(mode="effective"))
        trainer = MultiObjectiveTrainer(model, rewards(), args, task.train, dict(validation=task.validation),
            processing_class=tokenizer)
        by_hand = ByHand()
        by_hand.trainer, by_hand.used = trainer, used
        trainer.add_callback(by_hand)
        if used:
            trainer.evaluate(task.test)
        return trained(trainer), trainer

    (plain, one), (disturbed, other) = run(tmp_path / "plain", False), run(tmp_path / "disturbed", True)
    assert_equal(plain, disturbed)
    assert one.archive.state_dict() == other.archive.state_dict() and one.weighting.state_dict(
        ) == other.weighting.state_dict()
    assert one.archive.hypervolume > 0


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_the_best_checkpoint_is_loaded_and_kept(task, tmp_path, limit):
    class Peak:
        __name__ = "peak"

        def __call__(self, completions, trainer_state=None, **kwargs):
            return [[0.1, 0.4, 0.9, 0.3, 0.2][trainer_state.global_step]] * len(completions)

    class Keep(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            kept[state.global_step] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}

    kept = {}
    model, tokenizer = policy()
    args = MultiObjectiveConfig(**settings(tmp_path, max_steps=4, eval_strategy="steps", eval_steps=1,
        save_strategy="steps", save_steps=1, save_total_limit=limit,
                                           load_best_model_at_end=True, metric_for_best_model="eval_validation_peak",
                                           greater_is_better=True, test_steps=2))
    trainer = MultiObjectiveTrainer(model, [Peak(), letter_reward], args, task.train,
        dict(validation=task.validation, test=task.test), processing_class=tokenizer)
    trainer.add_callback(Keep())
    final = trained(trainer)
    assert_equal(kept[2], final)
    assert (tmp_path / "checkpoint-2" / "model.safetensors").exists()
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")


def reward_model(path):
    tokenizer = make_tokenizer()
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=16, num_labels=1, pad_token_id=0)
    torch.manual_seed(len(path.name))
    AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("loaded", [False, True])
def test_reward_models_are_named_as_trl_names_them(task, tmp_path, loaded):
    paths = [reward_model(tmp_path / n) for n in ("rm1", "rm22")]
    models = [AutoModelForSequenceClassification.from_pretrained(p) for p in paths] if loaded else paths
    model, tokenizer = policy()
    args = MultiObjectiveConfig(**settings(tmp_path / "run", eval_strategy="steps", eval_steps=1, max_steps=1))
    run = MultiObjectiveTrainer(model, [*models, letter_reward], args, task.train, task.validation,
        processing_class=tokenizer)
    run.train()
    names = {k for row in run.state.log_history for k in row}
    assert {"weights/rm1", "weights/rm22", "eval_rm1", "rewards/rm22/mean", "eval_letter_reward"} <= names


def test_rewards_of_one_name_are_told_apart(task, tmp_path):
    model, tokenizer = policy()
    with pytest.warns(UserWarning, match="letter_reward, letter_reward_2, <lambda>, <lambda>_2"):
        run = MultiObjectiveTrainer(model,
            [letter_reward,
            letter_reward, lambda completions, **k: [0.0] * len(completions), lambda completions, **k: [1.0] * len(
            completions)],
                                    MultiObjectiveConfig(**settings(tmp_path)), task.train,
                                    processing_class=tokenizer)
    run.train()
    assert "weights/letter_reward_2" in run.state.log_history[0]


def test_partials_and_positional_arguments_as_in_stock(task, tmp_path):
    model, tokenizer = policy()
    run = MultiObjectiveTrainer(model, [functools.partial(letter_reward, extra=1), digit_reward],
        MultiObjectiveConfig(**settings(tmp_path)), task.train, None, tokenizer)
    assert run.reward_func_names == ["letter_reward", "digit_reward"]
    run.train()


def test_no_reward_source_gives_stocks_message(task, tmp_path):
    said = []
    for Config, Trainer in ((GRPOConfig, GRPOTrainer), (MultiObjectiveConfig, MultiObjectiveTrainer)):
        model, tokenizer = policy()
        with pytest.raises(ValueError) as error:
            Trainer(model=model, args=Config(**settings(tmp_path)), train_dataset=task.train,
                processing_class=tokenizer)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_the_configuration_may_be_left_out(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, tokenizer = policy()
    run = MultiObjectiveTrainer(model, letter_reward, train_dataset=task.train, processing_class=tokenizer)
    assert isinstance(run.args, MultiObjectiveConfig) and run.args.output_dir.endswith("-GRPO")


def test_an_environment_with_a_reward_of_its_own_adds_an_objective(task, tmp_path, saved_policy):
    class Game:
        def reset(self, **kwargs):
            return None

        def get_reward(self):
            return 1.0

    from small_models import byte_tokenizer, small_model

    tokenizer = byte_tokenizer()
    data = Dataset.from_dict(dict(prompt=[[dict(role="user", content="2+2")]] * 8))
    args = MultiObjectiveConfig(**settings(tmp_path, max_steps=1))
    try:
        run = MultiObjectiveTrainer(small_model("llama", tokenizer), [letter_reward], args, data,
            processing_class=tokenizer, environment_factory=Game)
    except (ValueError, ImportError) as error:
        pytest.skip(f"this tokenizer has no tools: {error}")
    assert [o.name for o in run.objectives][0] == "letter_reward" and len(run.objectives) == 2


def test_trls_penalties_have_volume(task, tmp_path):
    "Their values lie in [-1, 0]: on [0, 1] the hypervolume would be 0 for ever."

    def logit(completions, completion_ids, **kwargs):
        return [sum(ids) % 9 - 3.0 for ids in completion_ids]

    model, tokenizer = policy()
    args = MultiObjectiveConfig(**settings(tmp_path, eval_strategy="steps", eval_steps=1), weighting="hypervolume",
        weighting_options=dict(mode="effective"))
    with pytest.warns(UserWarning, match="reward 'logit': values from .* are outside"):
        run = MultiObjectiveTrainer(model,
            [get_soft_overlong_punishment(10, 5), get_repetition_penalty_reward(), logit], args, task.train,
            task.validation, processing_class=tokenizer)
        run.train()
    assert [o.range for o in run.objectives][:2] == [(-1, 0), (-1, 0)]
    assert run.objectives[2].range[0] <= -1 and run.weighting.objectives == run.objectives
    assert run.archive.hypervolume > 0


def test_no_warning_of_old_names_from_our_trainer(task, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, tokenizer = policy()
        args = MultiObjectiveConfig(**settings(tmp_path, eval_strategy="steps", eval_steps=1,
            gradient_checkpointing=True))
        MultiObjectiveTrainer(model, rewards(), args, task.train, task.validation, processing_class=tokenizer).train()
    assert args.gradient_checkpointing and not [w for w in caught if issubclass(w.category, FutureWarning)
        and "checkpointing" in str(w.message)]


def small_deepseek(tokenizer):
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    config = DeepseekV3Config(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16,
        moe_intermediate_size=8, num_hidden_layers=2, num_attention_heads=2,
                              num_key_value_heads=2, n_shared_experts=1, n_routed_experts=4, num_experts_per_tok=2,
                              n_group=1, topk_group=1, first_k_dense_replace=1, kv_lora_rank=8,
                              q_lora_rank=8, qk_rope_head_dim=4, v_head_dim=8, qk_nope_head_dim=4, pad_token_id=0,
                              eos_token_id=1)
    return DeepseekV3ForCausalLM(config)


def test_a_sketch_of_experts_trains_or_is_refused(task, tmp_path):
    tokenizer = make_tokenizer()
    # 0 is what TRL 1.16 takes for this model; TRL 1.13 and older give every mixture of experts 0.001
    args = MultiObjectiveConfig(**settings(tmp_path), weighting="gradient", router_aux_loss_coef=0.0,
        weighting_options=dict(gradients="sketch"))
    try:
        MultiObjectiveTrainer(small_deepseek(tokenizer), rewards(), args, task.train,
            processing_class=tokenizer).train()
    except ConfigError as error:
        assert "choose other layers" in str(error)


@pytest.mark.parametrize("gradients", ["exact", "sketch"])
def test_an_auxiliary_loss_belongs_to_no_objective(task, tmp_path, gradients):
    from transformers import MixtralConfig, MixtralForCausalLM

    def gramian(coefficient):
        tokenizer = make_tokenizer()
        torch.manual_seed(0)
        config = MixtralConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=2, num_local_experts=2,
                               router_aux_loss_coef=coefficient, pad_token_id=0, eos_token_id=1)
        args = MultiObjectiveConfig(**settings(tmp_path, max_steps=1, router_aux_loss_coef=coefficient),
            weighting="gradient", weighting_options=dict(gradients=gradients))
        run = MultiObjectiveTrainer(MixtralForCausalLM(config), rewards(), args, task.train,
            processing_class=tokenizer)
        run.train()
        return run.weighting.influence

    if gradients == "sketch":
        with pytest.raises(ConfigError, match="router_aux_loss_coef: got 1"):
            gramian(1.0)
    else:
        assert (gramian(0.0) == gramian(1.0)).all()


def test_tokens_of_tools_are_masked_and_all_inputs_are_forwarded(task, tmp_path):
    model, tokenizer = policy()
    run = MultiObjectiveTrainer(model, rewards(), MultiObjectiveConfig(**settings(tmp_path)), task.train,
        processing_class=tokenizer)
    seen = {}

    def stands_in(model, ids, mask, keep, batch_size=None, **others):
        seen.update(others)
        return torch.zeros(ids.shape[0], keep), None, None

    run._get_per_token_logps_and_entropies = stands_in
    ones = torch.ones(2, 3, dtype=torch.long)
    output = dict(prompt_ids=ones, prompt_mask=ones, completion_ids=ones, completion_mask=ones,
        pixel_values=torch.ones(2, 4), num_images=[1, 1], tool_mask=torch.tensor([[1, 0, 1], [1, 1, 0]]), other=1)
    run.log_probs(output)
    assert set(seen) == {"pixel_values", "num_images"}
    ratios, mask = run.log_ratios(torch.full((2, 3), 2.0), torch.zeros(2, 3), output)
    assert mask.tolist() == [[1, 0, 1], [1, 1, 0]] and ratios.tolist() == [[2, 0, 2], [2, 2, 0]]
