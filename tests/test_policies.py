"""What the small policies imitate, the study that starts from them, and names and folders that are not a model."""
import hashlib
import json
import os
import random
import shutil
import socket

import peft
import pytest
from small_models import byte_tokenizer, small_model

from mora.study import policies
from mora.study.cli import main as study
from mora.errors import ConfigError
from mora.study.policies import (
    HABITS, MIXTURES, POLICIES, check_prompt_lengths, lesson, lessons, load_policy, main, make_tokenizer, needs_hub,
    policy_path, warm_start,
)  # fmt: skip
from mora.study.grid import find_grid, grid_configs, read_grid
from mora.study.tasks import NAMES, RANGES, load_dataset_task

WITHIN = RANGES["embedded"]


def digest(habits, n=200):
    "Of `n` lessons."
    rng = random.Random(0)
    return hashlib.sha256("".join(p.prompt + s
        for p, s in (lesson(rng, WITHIN, habits) for _ in range(n))).encode()).hexdigest()[:16]


def test_lessons_of_the_policy_that_ships_are_what_they_were():
    assert digest(HABITS) == "ea49c21ff0ef7013" and digest(None) == "15b12ccba5d3d8af"
    rng = random.Random(0)
    ids, labels = lessons(rng, WITHIN, HABITS, make_tokenizer())[0]
    assert ids.shape == labels.shape and MIXTURES["habits"] is HABITS


def test_mixtures_have_habits_for_everybody_and_differ():
    assert list(MIXTURES) == ["habits", "careful", "terse", "even"]
    for habits in MIXTURES.values():
        assert list(habits) == list(NAMES) and all(sum(shares) == 100 for h in habits.values()
            for shares in (h.steps, h.markers, h.talk))
        assert all(0 < h.box < 100 for h in habits.values())
    assert len({digest(habits, 20) for habits in MIXTURES.values()}) == len(MIXTURES)


def test_unknown_mixture_is_refused_in_one_line(tmp_path, capsys):
    said = "mixture: got 'chatty', expected one of habits, careful, terse, even"
    with pytest.raises(ConfigError, match=said):
        warm_start(mixture="chatty")
    assert main(["embedded", "--mixture", "chatty", "--out",
        str(tmp_path / "x")]) == 2 and capsys.readouterr().err.strip() == said
    assert not (tmp_path / "x").exists()


def test_mixture_is_what_is_imitated_and_recorded(monkeypatch):
    monkeypatch.setattr(policies, "objective_vector", lambda *_: {})  # where it stands takes longer than the rest
    records = {mixture: warm_start(mixture=mixture, updates=1, bar=False)[-1] for mixture in MIXTURES}
    assert all(r["mixture"] == mixture for mixture, r in records.items())
    assert len({r["loss"][0] for r in records.values()}) == len(MIXTURES)
    assert warm_start(updates=1, bar=False)[-1] == records["habits"]


def test_missing_policy_is_refused_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ConfigError) as refused:
        policy_path(tmp_path / "careful")
    assert str(refused.value) == (f"model: got '{tmp_path}/careful', expected a folder; make it "
        f"with: python -m mora.study.policies embedded --mixture careful --out {tmp_path}/careful")


def test_grid_has_every_further_mixture_under_the_presets_and_frontier():
    configs = grid_configs(read_grid(find_grid("warm_start")))
    each = [("fixed", "accuracy-focused"), ("fixed", "balanced"), ("fixed", "efficiency-focused"),
        ("frontier", "balanced")]
    for mixture in set(MIXTURES) - {"habits"}:  # that of the policy that ships is trained for the leaderboard
        mine = [c for c in configs if c.model == f"runs/policies/{mixture}"]
        assert [(c.weighting, c.preset) for c in mine] == each
    assert len(configs) == len({c.name for c in configs}) == 12


def test_a_study_whose_policies_are_missing_is_refused_before_training(tmp_path, monkeypatch, capsys):
    grid = find_grid("warm_start").resolve()
    monkeypatch.chdir(tmp_path)
    assert study(["study", str(grid), "--out", "out"]) == 2
    assert ("make it with: python -m mora.study.policies embedded --mixture careful --out "
        "runs/policies/careful") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- names and folders that are not a model
@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("looked at the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(policies, "hub", refuse)


def refused(call):
    "The one line that a call is refused with."
    with pytest.raises(ConfigError) as e:
        call()
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)


NAMES_OF_NOTHING = {
    "": "a path, or a name",
    None: "a path, or a name",
    5: "a path, or a name",
    "embeded": "one of embedded, embedded-hard, a folder, or a hub id",
    "a/b/c": "one of embedded, embedded-hard, a folder, or a hub id",
    "a--b/c": "one of embedded, embedded-hard, a folder, or a hub id",
    "./modle": "a file or folder that exists; did you mean model?",
    "../nowhere/model": "there is no folder ../nowhere",
    "/nowhere/model": "there is no folder /nowhere",
    "~/no-such-model": "a file or folder that exists",
    "weights.gguf": "a file or folder that exists",
    "owner/model.safetensors": "there is no folder owner",
    "dangling": "this is a link to nothing",
    "file": "a folder with config.json in it",
    "pipe": "a folder with config.json in it",
    "/dev/zero": "a folder with config.json in it",
    "empty": "a folder with config.json in it",
    "only_gguf": "a folder with config.json in it",
    "x" * 5000: "a path that can be read (File name too long)",
}


@pytest.mark.parametrize("name", NAMES_OF_NOTHING, ids=lambda n: repr(n)[:20])
def test_a_name_that_is_no_model(name, tmp_path, monkeypatch, no_network):
    monkeypatch.chdir(tmp_path)
    for folder in ("model", "empty", "only_gguf"):
        (tmp_path / folder).mkdir()
    (tmp_path / "only_gguf" / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo("pipe")
    assert NAMES_OF_NOTHING[name] in refused(lambda: policy_path(name))
    assert refused(lambda: load_policy(name)).startswith("model: got ")


WEIGHTS = (POLICIES / "embedded" / "model.safetensors").read_bytes()
OWN_CODE = dict(AutoConfig="configuration.Mine", AutoModelForCausalLM="model.Mine")
BROKEN = {  # file, its content (a dict changes settings), part of the line
    "no weights": ("model.safetensors", None, "no file named model.safetensors"),
    "weights cut off": ("model.safetensors", WEIGHTS[:-1000], "SafetensorError"),
    "no bytes": ("model.safetensors", b"", "SafetensorError"),
    "noise": ("model.safetensors", b"\x80" * 1000, "SafetensorError"),
    "no config": ("config.json", None, "a folder with config.json in it"),
    "config cut off": ("config.json", b'{"a":', "not a valid JSON file"),
    "config of bytes": ("config.json", b"\xff\xfe", "not a valid JSON file"),
    "config of nothing": ("config.json", b"{}", "model_type"),
    "config of a number": ("config.json", b"5", "a causal language model"),
    "unknown architecture": ("config.json", dict(model_type="nonsense"), "model type `nonsense`"),
    "no language model": ("config.json", dict(model_type="clip"), "Unrecognized configuration class"),
    "encoder and decoder": ("config.json", dict(model_type="t5"), "Unrecognized configuration class"),
    "code of its own": ("config.json", dict(model_type="mine", auto_map=OWN_CODE), "contains custom code"),
    "another width": ("config.json", dict(hidden_size=32), "of its weights have another shape than config.json says"),
    "more layers": ("config.json", dict(num_hidden_layers=3), "9 of its weights are missing (model.layers.2."),
    "no heads": ("config.json", dict(num_attention_heads=0), "ZeroDivisionError"),
    "width as text": ("config.json", dict(hidden_size="big"), "hidden_size"),
    "no tokenizer": ("tokenizer.json", None, "a causal language model with its tokenizer"),
    "tokenizer cut off": ("tokenizer.json", b'{"a":', "a causal language model with its tokenizer"),
    "nothing ends a text": ("tokenizer_config.json", dict(pad_token=None, eos_token=None),
    "a token that ends a text or pads it"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_folder_that_is_no_model(kind, tmp_path, no_network):
    name, content, said = BROKEN[kind]
    folder = tmp_path / "model"
    shutil.copytree(POLICIES / "embedded", folder)
    if content is None:
        (folder / name).unlink()
    elif isinstance(content, dict):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | content))
    else:
        (folder / name).write_bytes(content)
    line = refused(lambda: load_policy(folder))
    assert line.startswith(f"model: got '{folder}', expected ") and said in line


def test_only_the_adapter_of_a_hub_model_needs_the_hub(tmp_path, no_network):
    model, tokenizer = load_policy("embedded")
    plain = model.num_parameters()
    peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM",
        target_modules="all-linear")).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert not needs_hub(policy_path(tmp_path)) and load_policy(tmp_path)[0].num_parameters() > plain
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(about | dict(base_model_name_or_path="owner/name")))
    assert needs_hub(policy_path(tmp_path)) and needs_hub(policy_path("owner/name"))


def test_home_folder(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(POLICIES / "embedded", tmp_path / "mine")
    assert policy_path("~/mine") == tmp_path / "mine" and load_policy("~/mine")[0].num_parameters() > 0


NO_WARM_START = [dict(seed=s) for s in (-1, 2**32, 1.5)] + [dict(updates=n) for n in (0, 2.5)]
NO_WARM_START += [dict(folder=f) for f in ("file/new", "file", "dangling")]


@pytest.mark.parametrize("settings", NO_WARM_START)
def test_a_warm_start_is_refused_before_the_work(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(policies, "imitate", lambda *_: pytest.fail("it began to work"))
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    name = "out" if "folder" in settings else next(iter(settings))
    assert refused(lambda: warm_start(**settings)).startswith(f"{name}: got ")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["dangling", "file"]


def test_prompts_are_counted_as_the_trainer_counts_them(tmp_path):
    tokenizer = byte_tokenizer()
    model = small_model("qwen3", tokenizer)
    user = dict(role="user", content="y")
    rows = [dict(prompt=[dict(role="system", content="x" * i), user], answer="1") for i in range(1, 9)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    task = load_dataset_task(tmp_path / "a.json")
    longest = len(tokenizer("<system> xxxxxxxx\n<user> y\n<assistant> ")["input_ids"])
    assert check_prompt_lengths(task, tokenizer, model.config, 16) == longest
    model.config.max_position_embeddings = longest
    assert f"fit into the {longest} positions" in refused(lambda: check_prompt_lengths(task, tokenizer, model.config,
        16))
    tokenizer.chat_template = "{{ raise_exception('no system message') }}"
    assert "no system message" in refused(lambda: check_prompt_lengths(task, tokenizer, model.config, 16))
