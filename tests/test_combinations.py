"""Weightings of every kind with what else a TRL user turns on: each combination is right, or refused in one line."""
import gc
import inspect

import pytest
import torch
from combined import KINDS, PROMPTS, VARIANTS, even, make, short, third, trained
from peft import IA3Config
from trl.generation.vllm_generation import VLLMGeneration

from mora.errors import ConfigError
from mora.gradients import clip_gramian, gramian
from mora.training.evaluation import greedy
from mora.training.evidence import trainable
from mora.weighting.core import Exact, Sketch
from mora.weighting.fixed import FixedWeighting

torch.set_num_threads(1)
# where it does not matter
FAMILY = dict(zip(KINDS, ["qwen3", "llama", "mistral", "qwen3", "mistral", "llama", "qwen3"], strict=True))
WHOLE = ["plain", "lora", "bf16", "checkpointing", "lora-checkpointing", "vllm", "accumulation", "iterations",
    "minibatches"]
# where a layer of its own could matter
ATTENTION = ["plain", "lora", "checkpointing", "lora-checkpointing", "accumulation"]


@pytest.fixture(scope="module", autouse=True)
def old_objects_rest():
    "A trainer that begins collects garbage, two thirds of the time of these tests: not among all that was imported."
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def batches(variant):
    "Optimizer steps on a batch, those of the first pass, and passes forward in all."
    options = VARIANTS[variant]
    parts = options.get("steps_per_generation", 1)
    return parts * options.get("num_iterations", 1), parts


class _Turns(FixedWeighting):
    "Trains on one objective a batch, in turn, and keeps every Gramian."
    needs = frozenset({"gramian"})

    def __init__(self, gradients):
        super().__init__()
        self.gradients = Sketch(rank=10**4) if gradients == "sketch" else Exact()
        self.turn = 0

    def advantages(self, rewards, estimator):
        self.turn += 1
        return estimator(rewards)[:, (self.turn - 1) % 3]


@pytest.mark.parametrize("gradients", ["exact", "sketch"])
@pytest.mark.parametrize("family, variant",
    [*(("qwen3", v) for v in WHOLE), *(("mistral", v) for v in ATTENTION),
    *(("llama", v) for v in ("plain", "lora"))])
def test_a_gramian_is_of_the_gradients_that_train(path, family, variant, gradients):
    "One batch three times with learning rate 0, once per objective: the optimizer gets the rows of the Jacobian."
    steps, parts = batches(variant)
    trainer = make(path, family, _Turns(gradients), different=1, prompts=PROMPTS[:2], shuffle_dataset=False,
        max_steps=3 * steps, learning_rate=0.0, **VARIANTS[variant])
    trainer.train()
    watched = [n for n in trainable(trainer.model) if gradients == "exact"
        or ("lora" in n if "lora" in variant else "proj" in n)]
    rows = [torch.cat([g[n] for n in watched]) for g in trainer.watch.gradients]
    jacobians = [torch.stack(rows[part::steps]) for part in range(parts)]
    if gradients == "exact":
        jacobians = [sum(jacobians) / parts]
    expected = [clip_gramian(gramian(j), j.norm(dim=1)) for j in jacobians]
    seen = [tensors[0] for name, _, tensors in trainer.seen if name == "observe_gramian"]
    assert len(seen) == 3 * len(expected) and all(e.trace() > 0 for e in expected)
    for i, found in enumerate(seen):
        truth = expected[i % len(expected)]
        assert (found - truth).norm() <= (0.03 if variant == "bf16" else 1e-4) * truth.norm()


def same(a, b, atol, rtol):
    torch.testing.assert_close(a.double(), b.double(), atol=atol, rtol=rtol, equal_nan=True)


TOLERANCE = {"accumulation": 1e-5, "checkpointing": 1e-5, "lora-checkpointing": 1e-5, "bf16": 0.03}


@pytest.mark.parametrize("variant", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_it_changes_nothing(path, kind, variant):
    "Neither what a weighting sees, nor the weights, nor the policy: to 1e-5, in bfloat16 to .03."
    family, atol = FAMILY[kind], TOLERANCE[variant]
    one, other = (trained(path, family, kind, v) for v in ("lora" if variant.startswith("lora") else "plain",
        variant))
    assert [s[:2] for s in one.seen] == [s[:2] for s in other.seen]
    for (_, _, a), (_, _, b) in zip(one.seen, other.seen, strict=True):
        for x, y in zip(a, b, strict=True):
            width = min(x.shape[-1], y.shape[-1]) if x.ndim == 2 else None  # of tokens
            same(x[..., :width], y[..., :width], atol, atol)
    same(torch.stack(one.watch.weights), torch.stack(other.watch.weights), atol, 0)
    start, end, ends = one.watch.policies[0], one.watch.policies[-1], other.watch.policies[-1]
    moved, apart = (max((a[n] - b[n]).abs().max() for n in a) for a, b in ((start, end), (end, ends)))
    assert moved > 1e-3 and apart <= atol * max(moved, 1), (moved, apart)


CALLS = {  # what each kind observes besides rewards -> at which steps, with two batches in four optimizer steps
    "hypervolume": dict(observe_validation=[1, 2, 3, 4]),
    "exact": dict(observe_gramian=[0, 2]),
    "sketch": dict(observe_gramian=[0, 2]),
    "ctwa": dict(observe_update=[2, 4]),  # after the last optimizer step on the batch
    "pama": dict(observe_initial_policy=[0, 2]),
}


@pytest.mark.parametrize("variant", ["iterations", "minibatches"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_observed_once(path, kind, variant):
    "Not once a pass; every pass has advantages of that one observation; a sketch hears every part of a batch once."
    trainer = trained(path, FAMILY[kind], kind, variant, steps=4)
    calls = {name: [step for n, step, _ in trainer.seen if n == name] for name, _, _ in trainer.seen}
    expected = dict(observe_values=[0, 2], observe_rewards=[0, 2], advantages=[0, 2]) | CALLS.get(kind, {})
    if (kind, variant) == ("sketch", "minibatches"):
        expected["observe_gramian"] = [0, 1, 2, 3]
    assert calls == expected
    given = [tensors[-1] for name, _, tensors in trainer.seen if name == "advantages"]
    for batch, first, second in zip(given, trainer.handed[::2], trainer.handed[1::2], strict=True):
        for handed in [first, second] if variant == "iterations" else [torch.cat([first, second])]:
            same(handed.sort().values, batch.sort().values, 1e-6, 0)
    rows = [r for r in trainer.state.log_history if any(k.startswith("weights/") for k in r)]
    assert [r["step"] for r in rows] == [1, 3], "the weights of a batch are logged with its first step"


class _Ratios(FixedWeighting):
    needs = frozenset({"initial_policy", "update"})


def log_probs(trainer, policy, batch):
    "Of completions under `policy`, by a plain forward pass."
    now = trainer.watch.policy(trainer.model)
    ids, mask = (torch.cat([batch[f"prompt_{x}"], batch[f"completion_{x}"]], 1) for x in ("ids", "mask"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=trainer.args.bf16):
        trainer.model.load_state_dict(policy, strict=False)
        logits = trainer.model(input_ids=ids, attention_mask=mask).logits[:, -batch["completion_ids"].shape[1] - 1:-1]
        trainer.model.load_state_dict(now, strict=False)
    return logits.float().log_softmax(-1).gather(2,
        batch["completion_ids"][..., None])[..., 0] * batch["completion_mask"]


@pytest.mark.parametrize("family, variant",
    [*(("qwen3", v) for v in WHOLE), *(("mistral", v) for v in ATTENTION[:4]), ("llama", "plain")])
def test_log_ratios_are_of_the_policies_before_and_after(path, family, variant):
    "Those of the second batch, against plain forward passes; the adapter of the LoRA variants is not 0 at the start."
    steps, _ = batches(variant)
    trainer = make(path, family, _Ratios(), max_steps=2 * steps, **VARIANTS[variant])
    trainer.train()
    chunks, (initial, before, after) = trainer._buffered_inputs, trainer.watch.policies[::steps]
    batch = {k: torch.cat([c[k] for c in chunks]) for k in ("prompt_ids", "prompt_mask", "completion_ids",
        "completion_mask")}
    logps = [log_probs(trainer, p, batch) for p in (initial, before, after)]
    seen = {name: tensors for name, _, tensors in trainer.seen}  # the last of each
    for found, truth in ((seen["observe_initial_policy"][0], logps[1] - logps[0]),
            (seen["observe_update"][2], logps[2] - logps[1])):
        assert truth.abs().max() > 0.01
        rows = [x.sum(1).sort().values for x in (found, truth)]  # TRL shuffles what it buffers
        same(*rows, 0.1 if variant == "bf16" else 1e-4, 0)
    first = next(tensors[0] for name, _, tensors in trainer.seen if name == "observe_initial_policy")
    assert first.abs().max() <= 1e-5, "the first batch is the initial policy's own"


@pytest.mark.parametrize("kind", KINDS)
def test_lora_trains_the_adapter_alone(path, kind):
    trainer = trained(path, FAMILY[kind], kind, "lora")
    before, after = trainer.watch.policies[0], trainer.watch.policies[-1]
    for name in before:
        assert torch.equal(before[name], after[name]) == ("lora" not in name), name


@pytest.mark.parametrize("family, variant",
    [("qwen3", "lora"), ("mistral", "plain"), ("mistral", "lora-checkpointing"), ("llama", "checkpointing"),
    ("qwen3", "minibatches")])
def test_validation_is_of_greedy_texts(path, family, variant):
    "Each decoded by itself, without padding."
    trainer = make(path, family, "hypervolume", max_steps=2, **VARIANTS[variant])
    trainer.train()
    vector = next(t for name, _, t in trainer.seen[::-1] if name == "observe_validation")[0]
    trainer.model.eval()
    texts = []
    for prompt in PROMPTS:
        ids = trainer.processing_class(prompt, return_tensors="pt")["input_ids"]
        texts.append(trainer.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
            max_new_tokens=10)[0, ids.shape[1]:].tolist())
    expected = torch.tensor([[reward(texts, texts)[i] for reward in (even, third, short)]
        for i in range(len(texts))]).mean(0)
    same(vector, expected, 1e-6, 0)


@pytest.mark.parametrize("kind, variant", [("pama", "lora"), ("sketch", "minibatches"), ("ctwa", "iterations")])
def test_resumes(tmp_path, kind, variant):
    "At the end of a batch: bit for bit."
    def run(**changes):
        trainer = make(tmp_path, FAMILY[kind], kind, max_steps=4, **VARIANTS[variant] | changes)
        if not changes:
            trainer.batches = 2 // batches(variant)[0]  # that the run before has seen
        trainer.train(resume_from_checkpoint=None if changes else str(tmp_path / "checkpoint-2"))
        return trainer

    whole, resumed = run(save_strategy="steps", save_steps=2), run()
    assert resumed.state.global_step == 4 and whole.weighting.state_dict() == resumed.weighting.state_dict()
    for name, p in whole.watch.policies[-1].items():
        assert torch.equal(p, resumed.watch.policies[-1][name]), name


def test_an_adapter_beside_a_trained_head(path):
    "The head that `modules_to_save` copies is trained, and not listened to: TRL fuses it with the loss."
    head = dict(modules_to_save=["lm_head"])
    exact, sketch = (make(path / g, "qwen3", _Turns(g), max_steps=1, lora=head) for g in ("exact", "sketch"))
    exact.weighting.gradients = Exact("lora")  # what the sketch watches by itself
    for trainer in (exact, sketch):
        trainer.train()
    found, truth = (next(t[0] for name, _, t in trainer.seen if name == "observe_gramian")
        for trainer in (sketch, exact))
    assert any("lm_head" in n for n in trainable(exact.model)) and (found - truth).norm() <= 1e-4 * truth.norm()


@pytest.mark.parametrize("variant, refresh, steps",
    [("plain", 2, [0, 2, 4]), ("minibatches", 2, [0, 2, 4]), ("minibatches", 3, [0, 2]), ("iterations", 4, [0, 4])])
def test_refresh_counts_optimizer_steps(path, variant, refresh, steps):
    "A batch is measured if a step that is due falls on it."
    weighting = _Turns("exact")
    weighting.gradients = Exact(refresh=refresh)
    trainer = make(path, "llama", weighting, max_steps=6, **VARIANTS[variant])
    trainer.train()
    assert [step for name, step, _ in trainer.seen if name == "observe_gramian"] == steps


@pytest.mark.parametrize("kind", KINDS)
def test_vllm_corrects_apart_from_the_advantages(path, kind):
    "With a stand-in for the engine, importance ratios are not 1, and the loss gets the advantages of the weighting."
    trainer = trained(path, "qwen3", kind, "vllm")
    given = [tensors[-1] for name, _, tensors in trainer.seen if name == "advantages"]
    for batch, handed in zip(given, trainer.handed, strict=True):
        same(handed.sort().values, batch.sort().values, 1e-6, 0)
    ratios = trainer._buffered_inputs[0]["importance_sampling_ratio"]
    assert ratios.std() > 0.01 and trainer.vllm_generation.synced >= 2
    training = [temperature for on, temperature, _ in trainer.vllm_generation.called if on]
    assert training == [1.0, 1.0]


def test_vllm_evaluates_greedily(path):
    trainer = make(path, "qwen3", "hypervolume", use_vllm=True, temperature=0.7,
        generation_kwargs=dict(temperature=0.9, seed=3))
    trainer.train()
    engine = trainer.vllm_generation
    assert [(t, k) for on, t, k in engine.called if not on] == [(0.0, dict(seed=3))] * 3
    assert [(t, k) for on, t, k in engine.called if on] == [(0.7, dict(temperature=0.9, seed=3))] * 2
    with pytest.raises(RuntimeError), greedy(trainer):
        raise RuntimeError
    assert (engine.temperature, engine.generation_kwargs, trainer.beta) == (0.7, dict(temperature=0.9, seed=3), 0.0)
    source = inspect.getsource(VLLMGeneration.generate)
    read = ("temperature = self.temperature", "update(self.generation_kwargs)")
    assert all(line in source for line in read), "TRL's engine reads them elsewhere now"


REFUSED = {  # name -> (kinds, settings, the message)
    "reentrant": (("exact", "sketch"), dict(gradient_checkpointing=True,
    gradient_checkpointing_kwargs=dict(use_reentrant=True)),
                  "gradient_checkpointing_kwargs: got {'use_reentrant': True}, expected "
                  "use_reentrant=False: reentrant checkpointing gives no per-objective gradients"),
    "part-of-a-step": (("exact", "sketch", "ctwa"),
    dict(steps_per_generation=1, gradient_accumulation_steps=2, per_device_train_batch_size=4),
                       "steps_per_generation: got 1, expected a multiple of gradient_accumulation_steps (2)"),
    "dropout": (("ctwa", "pama"), dict(lora=dict(lora_dropout=0.1)),
                "disable_dropout: got False, expected true: with dropout 0.1, log-probs before "
                "and after a step differ by chance"),
    "kl": (("sketch",), dict(beta=0.1, lora={}), 'beta: got 0.1, expected 0 with gradients="sketch"'),
    "off-policy-mask": (("sketch",), dict(off_policy_mask_threshold=0.5),
    'off_policy_mask_threshold: got 0.5, expected None with gradients="sketch"'),
    "adaptive-entropy": (("exact", "sketch"), dict(use_adaptive_entropy=True),
    "use_adaptive_entropy: got True, expected false"),
    "no-validation": (("hypervolume",), dict(eval_strategy="no"),
    "eval_strategy: got 'no', expected held-out prompts with eval_strategy=\"steps\""),
    "another-set": (("hypervolume",), dict(held_out="test"),
    "eval_dataset: got ['test'], expected \"validation\" among them"),
}


@pytest.mark.parametrize("kind, case", [(k, c) for c, (kinds, _, _) in REFUSED.items() for k in kinds])
def test_refused(path, kind, case):
    _, changes, message = REFUSED[case]
    with pytest.raises(ConfigError) as error:
        make(path, "llama", kind, **changes)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind, changes",
    [("fixed", dict(steps_per_generation=1, gradient_accumulation_steps=2, per_device_train_batch_size=4)),
                                           ("pama", dict(lora=dict(lora_dropout=0.1), disable_dropout=True))],
                                           ids=["part-of-a-step", "dropout"])
def test_what_is_refused_to_others_is_not_refused_to_all(path, kind, changes):
    make(path, "llama", kind, **changes).train()


def test_an_adapter_without_linear_layers_cannot_be_sketched(path):
    from combined import CHANGES, byte_tokenizer, small_model
    from peft import get_peft_model

    model = get_peft_model(small_model("llama", byte_tokenizer(), **CHANGES["llama"]),
        IA3Config(target_modules=["k_proj", "v_proj"], feedforward_modules=[]))
    with pytest.raises(ConfigError, match="a model with trainable Linear layers"):
        make(path, kind="sketch", model=model)
