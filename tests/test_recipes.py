"""Every recipe: a dry run offline, and three steps of training, with a small random-weight model of its
architecture in place."""
import os
from pathlib import Path

import pytest
import yaml
from small_models import byte_tokenizer, small_model

from mora.study.cli import main, read_recipe
from mora.study.run import load_run

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
FAMILIES = {"Qwen/Qwen3": "qwen3", "deepseek-ai/": "llama", "mistralai/": "mistral"}  # DeepSeek LLM is a Llama
HERE = dict(max_steps=3, num_generations=4, per_device_train_batch_size=4, gradient_accumulation_steps=2,
    steps_per_generation=4, max_completion_length=24, validation_size=3, test_size=3, eval_steps=3,
            test_steps=3, save_steps=3, use_cpu=True, bf16=False, use_vllm=False,
            model_init_kwargs={"dtype": "float32"})


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    "Folder of a small random-weight model of a recipe's architecture."
    made = {}

    def folder(model):
        family = next(f for f in FAMILIES if model.startswith(f))
        if family not in made:
            tokenizer = byte_tokenizer()
            made[family] = tmp_path_factory.mktemp("models") / FAMILIES[family]
            small_model(FAMILIES[family], tokenizer).save_pretrained(made[family])
            tokenizer.save_pretrained(made[family])
        return made[family]

    return folder


@pytest.fixture
def math_data(tmp_path, monkeypatch):
    "Where both MATH tasks find rows: MATH-500 where the user has it, else made-up ones."
    data = os.environ.get("MORA_MATH500")
    if not data:
        data = tmp_path / "sums.csv"
        data.write_text("problem,answer\n" + "\n".join(f"What is {a} plus {b}?,{a + b}" for a in range(1, 13)
            for b in range(1, 13)))
    for name in ("MORA_MATH500", "MORA_MATH_ALGEBRA"):
        monkeypatch.setenv(name, str(data))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def words(settings):
    return [w for k, v in settings.items()
        for w in (f"--{k.replace('_', '-')}",
        yaml.safe_dump(v, default_flow_style=True).strip().removesuffix("\n..."))]


def test_there_are_recipes():
    assert len(RECIPES) >= 8 and {f for f in FAMILIES for r in RECIPES
        if read_recipe(r)["model"].startswith(f)} == set(FAMILIES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_dry_run(recipe, stand_in, math_data, capsys):
    model = stand_in(read_recipe(recipe)["model"])
    assert main(["train", "--config", str(recipe), "--model", str(model), "--dry-run"]) == 0
    said = capsys.readouterr().out
    for part in ("# Settings", "# Work", "# Rewards of sample completions", "<user> ", "# Memory of a process",
            "Nothing was trained."):
        assert part in said
    assert said.count("Step 1: read.") == 2 and f"{read_recipe(recipe)['max_steps']:,} optimizer steps" in said


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_three_steps(recipe, stand_in, math_data, tmp_path, capsys):
    model = stand_in(read_recipe(recipe)["model"])
    assert main(["train", "--config", str(recipe), "--model", str(model), "--out", str(tmp_path / "run"),
        *words(HERE)]) == 0, capsys.readouterr().err
    values = load_run(tmp_path / "run").values("train")
    assert values.index.tolist() == [1, 2, 3]
    # logged where completions are written: every second step with two minibatches
    rewards = values[[f"rewards/{o}/mean" for o in ("accuracy", "conciseness", "clarity")]].dropna()
    # random text is never right, but some of it is short
    assert len(rewards) >= 2 and rewards.stack().between(0, 1).all() and rewards["rewards/conciseness/mean"].max() > 0
    assert values["update/norm"].max() > 0


def test_paper_values():
    "What the recipes of the paper's runs must say, whatever else changes."
    for name in ("qwen3-8b-math500", "deepseek-llm-7b-chat-math500", "ministral-8b-math500", "qwen3-8b-algebra"):
        said = read_recipe(ROOT / "recipes" / f"{name}.yaml")
        kept = {k: said[k] for k in ("num_generations", "learning_rate", "beta", "max_completion_length")}
        assert kept == dict(num_generations=8, learning_rate=1e-6, beta=0.001, max_completion_length=2048)
        batch = 8 * said["per_device_train_batch_size"] * said["steps_per_generation"]  # on eight GPUs
        assert batch == 64 * 8 and said["steps_per_generation"] == 2 * said["gradient_accumulation_steps"]
