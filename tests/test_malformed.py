"""No malformed setting ends in a traceback, a hang or a run: one line with field, value and what is allowed, exit
code 2, nothing left on disk."""
import os
import json
from pathlib import Path

import pytest
import yaml

from mora.study.cli import main
from mora.study.run import load_run, read_config

ROOT = Path(__file__).parents[1]
LAUGHS = ("a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)))

DOCUMENTS = {  # no mapping of settings, whatever the file is for -> a part of its one line
    "binary": (b"\xff\xd8\xff\xe0", "line 1 is not UTF-8 text: byte 0xff"),
    "latin-1": ("max_steps: 4\nlabel: café".encode("latin-1"), "line 2 is not UTF-8 text: byte 0xe9"),
    "utf-16": ("max_steps: 4".encode("utf-16"), "UTF-8"),
    "null bytes": (b"max_steps: 4\0", "special characters"),
    "empty": (b"", "mine.yaml is empty"),
    "only a comment": (b"# nothing\n", "mine.yaml is empty"),
    "a list": (b"- max_steps: 4", "a mapping of settings in "),
    "a text": (b"steps 4", "a mapping of settings in "),
    "int key": (b"max_steps: 4\n5: 4", "line 2: a key is '5', not a text"),
    "null key": (b"null: 4", "a key is 'null'"),
    "missing key": (b"? \n: 4", "a key is missing"),
    "boolean key": (b"on: 4", "a key is 'on'"),
    "list key": (b"? [a, b]\n: 4", "a key is a list or a mapping"),
    "nested int key": (b"shared: {weighting_options: {1: 2}}", "a key is '1'"),
    "repeated key": (b"max_steps: 4\nseed: 0\nmax_steps: 5", "line 3: the key 'max_steps' occurs twice"),
    "repeated nested key": (b"shared: {mu: 1, mu: 2}", "the key 'mu' occurs twice"),
    "open list": (b"max_steps: [4", "line 1: "),
    "tab": (b"shared:\n\tsteps: 4", "line 2: "),
    "two documents": (b"max_steps: 4\n---\nmax_steps: 5", "line 2: "),
    "unknown alias": (b"max_steps: *four", "undefined alias"),
    "python object": (b"max_steps: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "wrong tag": (b"max_steps: !!bool perhaps", "perhaps"),
    "very deep": (b"a: " + b"[" * 5000, "more than 20 levels"),
    "deep by aliases": ("\n".join(["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60)]).encode(),
    "more than 20 levels"),
    "billion laughs": (LAUGHS.encode(), "once its aliases are followed"),
    "merged laughs": (("a: &a {p: 1}\n" + "\n".join(f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True))).encode(), "aliases"),
    "part of itself": (b"shared: &s {max_steps: [*s]}", "that contains it"),
    "number of 5000 digits": (b"steps: " + b"9" * 5000, "digits"),
    "large": (b"# " + b"x" * 400_000, "more than 300,000 bytes"),
}

SETTINGS = {  # as a recipe -> (field, a part of the line)
    "unknown": (dict(max_step=4), "max_step", "such as max_steps"),
    "steps huge": (dict(max_steps=10**30), "max_steps", "at most 10,000,000"),
    "steps hexadecimal and huge": ("max_steps: 0x" + "f" * 6000, "max_steps", "at most"),
    "steps infinite": ("max_steps: .inf", "max_steps", "a whole number"),
    "steps nan": ("max_steps: .nan", "max_steps", "a whole number"),
    "steps null": ("max_steps:", "max_steps", "a whole number"),
    "steps a list": (dict(max_steps=[4]), "max_steps", "a whole number"),
    "steps true": (dict(max_steps=True), "max_steps", "a whole number"),
    "more problems than memory": (dict(max_steps=10**6), "max_steps", "625,000"),
    "seed 2**64": (dict(seed=2**64), "seed", "4,294,967,295"),
    "seed 2**32": (dict(seed=2**32), "seed", "4,294,967,295"),
    "seed negative": (dict(seed=-1), "seed", "at least 0"),
    "temperature tiny": ("temperature: 1e-30", "temperature", "at least 0.001"),
    "temperature huge": ("temperature: 1e30", "temperature", "at most 1,000"),
    "temperature nan": ("temperature: .nan", "temperature", "at least"),
    "learning rate huge": ("learning_rate: 1e30", "learning_rate", "at most 10"),
    "beta infinite": ("beta: .inf", "beta", "at least 0"),
    "threads huge": (dict(threads=10**20), "threads", "at most 256"),
    "completions of a billion tokens": (dict(max_completion_length=10**9), "max_completion_length", "at most"),
    "completions longer than the model": (dict(max_completion_length=5000), "max_completion_length", "positions"),
    "batch of a process huge": (dict(per_device_train_batch_size=10**9), "per_device_train_batch_size", "at most"),
    "batch huge": (dict(per_device_train_batch_size=10**5, steps_per_generation=10**3, max_steps=1),
    "per_device_train_batch_size", "at most 1,000,000"),
    "test size huge": (dict(test_size=10**12), "test_size", "at most"),
    "chat a text": (dict(chat="perhaps"), "chat", "true or false"),
    "label a number": (dict(label=7), "label", "text"),
    "label empty": (dict(label=""), "label", "not empty"),
    "label a lone surrogate": ('label: "\\uD800"', "", ""),
    "task empty": (dict(task=""), "task", ""),
    "task a number": (dict(task=5), "task", "text"),
    "task with a null byte": ('task: "a\\0b"', "task", ""),
    "task very long": (dict(task="x" * 5000), "task", ""),
    "task misspelt": (dict(task="embeded"), "task", "embedded"),
    "model missing": (dict(model="runs/no/where"), "model", "hub id"),
    "model empty": (dict(model=""), "model", ""),
    "model not a model": (dict(model="."), "model", "config.json"),
    "weighting options a list": (dict(weighting_options=[1]), "weighting_options", "a mapping"),
    "preset of texts": (dict(preset=["a", "b", "c"]), "preset", "a number"),
    "preset empty": (dict(preset=[]), "preset", ""),
    "preset infinite": ("preset: [.inf, 0, 0]", "preset", ""),
    "rewards empty": (dict(rewards=[]), "rewards", "at least one"),
    "rewards a text": (dict(rewards="accuracy"), "rewards", "a list"),
    "rewards numbers": (dict(rewards=[1, 2]), "rewards", "one of accuracy"),
    "rewards twice": (dict(rewards=["accuracy", "accuracy"]), "rewards", "2 are called accuracy"),
    "rewards not callable": (dict(rewards=["mora.rewards:REWARDS"]), "rewards", "cannot be called"),
    "rewards a model path": (dict(rewards=["/"]), "rewards", "module:function"),
    "rewards relative": (dict(rewards=["..:x"]), "rewards", "imported"),
    "rewards without a module": (dict(rewards=[":x"]), "rewards", "imported"),
    "rewards without a function": (dict(rewards=["mora.rewards:"]), "rewards", "imported"),
    "rewards syntax error": (dict(rewards=["broken:x"]), "rewards", "SyntaxError"),
    "rewards exit on import": (dict(rewards=["leaving:x"]), "rewards", "SystemExit"),
    "rewards raise on import": (dict(rewards=["raising:x"]), "rewards", "two lines"),
    "rewards of the standard library": (dict(rewards=[{"subprocess:Popen": {"args": ["touch", "made"]}}]), "rewards",
    "standard library"),
    "rewards os.system": (dict(rewards=["os:system"]), "rewards", "standard library"),
    "rewards that are no rewards": (dict(rewards=[{"shutil_like:remove": {"path": "made"}}]), "rewards",
    "cannot be called with completions"),
    "rewards with unknown options": (dict(rewards=[{"accuracy": {"speed": 2}}]), "rewards", "options"),
    "lora r 0": (dict(lora=dict(r=0)), "lora", "at least 1"),
    "lora r text": (dict(lora=dict(r="many")), "lora", "a whole number"),
    "lora r huge": (dict(lora=dict(r=10**9)), "lora", "at most"),
    "lora alpha text": (dict(lora=dict(lora_alpha="x")), "lora", "lora_alpha as a number"),
    "lora start": (dict(lora=dict(init_lora_weights="nonsense")), "lora", "one of gaussian"),
    "lora flag": (dict(lora=dict(use_dora="x")), "lora", "true or false"),
    "lora of peft": (dict(lora=dict(peft_type="IA3")), "lora", "set by peft"),
    "lora tokens": (dict(lora=dict(trainable_token_indices=[])), "lora", "not empty"),
    "lora kind of target": (dict(lora=dict(target_modules=[1])), "lora", ""),
    "lora dropout 2": (dict(lora=dict(lora_dropout=2)), "lora", "at most"),
    "lora unknown": (dict(lora=dict(rank=4)), "lora", "LoraConfig"),
    "lora targets missing": (dict(lora=dict(target_modules=["nowhere"])), "lora", "fits the model"),
    "lora targets number": (dict(lora=dict(target_modules=7)), "lora", ""),
    "lora bias": (dict(lora=dict(bias="some")), "lora", ""),
    "lora inference": (dict(lora=dict(r=4, inference_mode=True)), "lora", "inference_mode as"),
    "lora a list": (dict(lora=[4]), "lora", "a mapping"),
    "chat without a template": (dict(chat=True), "chat", "no chat template"),
    "layers missing": (dict(weighting="gradient", weighting_options=dict(layers="nowhere")), "layers",
    "the model has"),
    "weighting option of a wrong kind": (dict(weighting="dynaopt", weighting_options=dict(seed="x")), "seed",
    "a whole number of at least 0"),
    "weighting option unknown": (dict(weighting_options=dict(speed=1)), "option of fixed", "one of"),
    "weights twice": (dict(weighting_options=dict(weights=[1, 0, 0])), "weighting_options", "the preset"),
    "minibatches odd": (dict(gradient_accumulation_steps=2, steps_per_generation=3), "steps_per_generation",
    "a multiple of gradient_accumulation_steps (2)"),
    "an old name": (dict(steps=4), "steps", "max_steps, the new name of this setting"),
}

OPTIONS = {  # trainer options -> a part of the line; the field is the first option
    "wrong type": (dict(max_grad_norm=[1]), "a number"),
    "flag a text": (dict(bf16="perhaps"), "true or false"),
    "flag a number": (dict(use_vllm=1), "true or false"),
    "number true": (dict(top_k=True), "a whole number"),
    "text a number": (dict(optim=5), "text"),
    "list of numbers": (dict(report_to=[1]), "text"),
    "mapping a text": (dict(generation_kwargs="x"), "a mapping"),
    "infinite": (dict(max_grad_norm=float("inf")), "at least 0"),
    "negative": (dict(weight_decay=-1), "at least 0"),
    "unknown": (dict(use_vlm=True), "use_vllm"),
    "loss_type": (dict(loss_type="nonsense"), "one of grpo"),
    "loss_type of rloo": (dict(loss_type="rloo"), "another loss"),
    "scale_rewards": (dict(scale_rewards="much"), "one of group"),
    "importance_sampling_level": (dict(importance_sampling_level="word"), "one of token"),
    "vllm_mode": (dict(vllm_mode="far"), "one of colocate"),
    "log_level": (dict(log_level="loud"), "one of"),
    "optim": (dict(optim="adam_of_mine"), "OptimizerNames"),
    "adam_beta2": (dict(adam_beta2=1), "beta"),
    "num_iterations": (dict(num_iterations=0), "at least 1"),
    "top_p": (dict(top_p=0), "at least"),
    "min_p": (dict(min_p=2), "at most 1"),
    "repetition_penalty": (dict(repetition_penalty=0), "at least"),
    "generation_kwargs": (dict(generation_kwargs=dict(speed=2)), "unlike 'speed'"),
    "generation_kwargs of the study": (dict(generation_kwargs=dict(max_new_tokens=2)), "unlike 'max_new_tokens'"),
    "cache_implementation": (dict(cache_implementation="mine"), "cache_implementation"),
    "save_total_limit": (dict(save_total_limit=0), "at least 1"),
    "per_device_train_batch_size": (dict(per_device_train_batch_size=7), "beside trainer_options"),
    "per_device_eval_batch_size": (dict(per_device_eval_batch_size=0), "at least 1"),
    "half precision without a GPU": (dict(fp16=True), "GPU"),
    "report_to unknown": (dict(report_to="magic"), "one of none"),
    "report_to not installed": (dict(report_to="neptune"), "installed"),
    "package not installed": (dict(use_liger_kernel=True), "not installed"),
    "deepspeed file": (dict(deepspeed="nowhere.json"), ""),
    "eval_on_start": (dict(eval_on_start=True), "no value"),
    "eval_delay": (dict(eval_delay=3), "no value"),
    "seed": (dict(seed=7), "beside trainer_options"),
    "learning_rate": (dict(learning_rate=1e-5), "beside trainer_options"),
    "weighting": (dict(weighting="gdpo"), "beside trainer_options"),
    "steps": (dict(max_steps=7), "beside trainer_options"),
    "output_dir": (dict(output_dir="made"), "the option --out"),
    "reward_weights": (dict(reward_weights=[1, 1, 1]), "the setting preset"),
    "logging_steps": (dict(logging_steps=5), "every step is logged"),
    "logging_strategy": (dict(logging_strategy="no"), "every step is logged"),
    "save_strategy": (dict(save_strategy="no"), "checkpoints"),
    "save_only_model": (dict(save_only_model=True), "checkpoints"),
    "load_best": (dict(load_best_model_at_end=True), "best checkpoint"),
    "metric_for_best_model": (dict(metric_for_best_model="accuracy"), "best checkpoint"),
    "resume": (dict(resume_from_checkpoint="runs"), "the same command"),
    "ignore_data_skip": (dict(ignore_data_skip=True), "differ"),
    "push_to_hub": (dict(push_to_hub=True), "uploads nothing"),
    "hub_token": (dict(hub_token="secret"), "uploads nothing"),
    "remove_unused_columns": (dict(remove_unused_columns=True), "columns"),
    "aggregation": (dict(multi_objective_aggregation="normalize_then_sum"), "gdpo"),
    "auto_find_batch_size": (dict(auto_find_batch_size=True), "batch"),
    "remote code": (dict(trust_remote_code=True), "--trust-remote-code"),
    "adam_epsilon": (dict(adam_epsilon=0), "at least"),
    "torch_compile_mode": (dict(torch_compile_mode="nonsense"), "one of default"),
    "torch_compile_backend": (dict(torch_compile_backend="nonsense"), "DynamoBackend"),
    "noise": (dict(neftune_noise_alpha=5), "noise"),
    "workers that persist": (dict(dataloader_persistent_workers=True), "num_workers"),
    "top_k": (dict(top_k=-1), "at least 0"),
    "report_to null": (dict(report_to=None), "one of none"),
    "report_to empty": (dict(report_to=""), "one of none"),
    "pad 0": (dict(pad_to_multiple_of=0), "at least 1"),
    "pad much": (dict(pad_to_multiple_of=100000), "at most 1,024"),
    "reference model without beta": (dict(sync_ref_model=True), "beta is 0"),
    "rows dropped": (dict(dataloader_drop_last=True), "prompts out"),
    "file missing": (dict(fsdp_config="nonsense"), "a file that exists"),
    "debug": (dict(debug=["x"]), "one of"),
    "tokens seen": (dict(include_num_input_tokens_seen="nonsense"), "one of"),
    "checkpointing": (dict(gradient_checkpointing_kwargs=dict(x=1)), "one of use_reentrant"),
    "schedule": (dict(lr_scheduler_kwargs=dict(x=1)), "one of"),
    "labels": (dict(label_smoothing_factor=.1), "no labels"),
    "optimizer options": (dict(optim_args="nonsense"), "go together"),
}

WORDS = {  # what is typed -> (field, a part of the line)
    "remote code by a setting": (["--model-init-kwargs", "{trust_remote_code: true}"], "trust_remote_code", "flag"),
    "remote code as a text": (["--model-init-kwargs", "{trust_remote_code: 'false'}"], "trust_remote_code", "flag"),
    "remote code in options": (["--trainer-options", "{model_init_kwargs: {trust_remote_code: 1}}"],
    "trust_remote_code", "flag"),
    "out a file": (["--out", "file"], "out", "a file"),
    "out below a file": (["--out", "file/below"], "out", "a file"),
    "out a null byte": (["--out", "a\0b"], "out", "the path of a folder"),
    "out empty": (["--out", ""], "out", "the path of a folder"),
    "out a link to nothing": (["--out", "dangling"], "out", "a link"),
    "out a loop": (["--out", "loop"], "out", "the path of a folder"),
    "out too long": (["--out", "x" * 300], "out", "the path of a folder"),
    "out too long below": (["--out", "a/" + "x" * 300], "out", "the path of a folder"),
    "out unwritable": (["--out", "/proc/mora"], "out", "can be written"),
    "config missing": (["--config", "nowhere.yaml"], "config", "No such file"),
    "config a folder": (["--config", "."], "config", "directory"),
    "config a null byte": (["--config", "a\0b"], "config", "null byte"),
    "config endless": (["--config", "/dev/zero"], "config", "bytes"),
    "mapping cut off": (["--weighting-options", "{mode: effective"], "weighting_options", "line 1"),
    "mapping with a key twice": (["--weighting-options", "{mu: 1, mu: 2}"], "weighting_options", "twice"),
    "option of TRL cut off": (["--generation-kwargs", "{a: 1"], "generation_kwargs", "line 1"),
    "option of TRL without value": (["--use-cpu"], "use-cpu", "a value"),
    "text after another": (["now"], "argument", "--setting value"),
    "lines in a name": (["--st\neps", "4"], "", ""),
    "lines in a value": (["--algorithm", "pp\no"], "algorithm", "one of grpo"),
    "control characters": (["--algorithm", "\x1b[31mppo"], "algorithm", "one of grpo"),
}

GRIDS = {  # grid file -> (field, a part of the line)
    "no runs": ("blocks: []", "blocks", "at least one"),
    "blocks null": ("blocks:", "blocks", "a list"),
    "blocks a mapping": ("blocks: {weighting: [fixed]}", "blocks", "a list"),
    "blocks scalars": ("blocks: [1, 2]", "blocks", "a mapping"),
    "axes null": ("axes:", "axes", "a mapping"),
    "axes a list": ("axes: [seed]", "axes", "a mapping"),
    "axis not a list": ("axes: {seed: 3}", "seed", "a list"),
    "axis empty": ("axes: {seed: []}", "seed", "at least one value"),
    "shared a list": ("shared: [steps]", "shared", "a mapping"),
    "shared value of a wrong kind": ("shared: {max_steps: [4]}", "max_steps", "a whole number"),
    "key misspelt": ("axis: {seed: [0]}", "axis", "axes"),
    "setting misspelt": ("blocks: [{wieghting: [fixed]}]", "wieghting", "weighting"),
    "notebook missing": ("notebook: nowhere.ipynb", "notebook", ""),
    "notebook a number": ("notebook: 5", "notebook", "text"),
    "notebook empty": ("notebook: empty.ipynb", "notebook", "a notebook"),
    "notebook not a notebook": ("notebook: file", "notebook", "a notebook"),
    "config a number": ("config: 5", "config", "text"),
    "config missing": ("config: nowhere.yaml", "config", "No such file"),
    "config empty": ("config: file", "config", ""),
    "remote code": ("shared: {model_init_kwargs: {trust_remote_code: true}}", "trust_remote_code", "flag"),
    "option refused": ("shared: {logging_steps: 5}", "logging_steps", "every step"),
    "two runs of one name": ("axes: {label: [A, a]}", "label", "different label"),
    "too many runs": (f"axes: {{seed: &a {list(range(1, 200))}, max_steps: *a}}", "grid", "at most 10000 runs"),
}

ROWS = [dict(prompt=f"{i} + 1 = ?", answer=str(i + 1)) for i in range(12)]
TABLES = {  # data set -> (name of the file, its text, field)
    "header only": ("t.csv", "prompt,answer\n", "task"),
    "empty file": ("t.csv", "", "task"),
    "two rows": ("t.csv", "prompt,answer\na,1\nb,2\n", "task"),
    "null prompts": ("t.jsonl", "\n".join(json.dumps(r | (dict(prompt=None) if i % 3 else {}))
    for i, r in enumerate(ROWS)), "prompt_column"),
    "empty prompts": ("t.jsonl", "\n".join(json.dumps(r | dict(prompt="")) for r in ROWS), "prompt_column"),
    "number prompts": ("t.jsonl", "\n".join(json.dumps(r | dict(prompt=.5)) for r in ROWS), "prompt_column"),
    "prompts empty lists": ("t.jsonl", "\n".join(json.dumps(r | dict(prompt=[])) for r in ROWS), "prompt_column"),
    "column completions": ("t.jsonl", "\n".join(json.dumps(r | dict(completions="x")) for r in ROWS), "task"),
    "column prompts": ("t.jsonl", "\n".join(json.dumps(r | dict(prompts="x")) for r in ROWS), "task"),
    "no prompt column": ("t.jsonl", "\n".join(json.dumps(dict(question="x")) for _ in ROWS), "prompt_column"),
    "not JSON": ("t.jsonl", "{", "task"),
    "not Parquet": ("t.parquet", "PAR1", "task"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    "A folder of its own, with files and modules that are no settings."
    (tmp_path / "file").write_text("text")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty.ipynb").write_text("{}")
    (tmp_path / "broken.py").write_text("def x(:")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)")
    (tmp_path / "raising.py").write_text("raise ValueError('two lines\\nof text')")
    (tmp_path / "shutil_like.py").write_text("import os\ndef remove(path): os.mkdir(path)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return tmp_path


def refused(capsys, place, words, field, part):
    "Check that the command ends in one line that names the field, and leaves nothing."
    before = sorted(place.rglob("*"))
    try:
        code = main(words)
    except SystemExit as stopped:
        code = stopped.code
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert code == 2 and len(lines) == 1, (code, out, err[-2000:])
    assert f"{field}: got " in lines[0] if field else True, lines
    assert part in lines[0] and lines[0].isprintable() and len(lines[0]) < 2500, lines
    assert sorted(place.rglob("*")) == before
    assert "Traceback" not in out


def written(place, said):
    "A recipe in a file."
    path = place / "mine.yaml"
    path.write_bytes(said if isinstance(said, bytes)
        else (said if isinstance(said, str) else yaml.safe_dump(said)).encode())
    return str(path)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("command", ["train", "study"])
def test_document(command, name, place, capsys):
    said, part = DOCUMENTS[name]
    words = dict(train=["train", "--config"], study=["study"])[command]
    refused(capsys, place, [*words, written(place, said)], dict(train="config", study="grid")[command], part)


@pytest.mark.parametrize("name", SETTINGS)
def test_setting(name, place, capsys):
    said, field, part = SETTINGS[name]
    refused(capsys, place, ["train", "--config", written(place, said)], field, part)


@pytest.mark.parametrize("name", OPTIONS)
def test_option(name, place, capsys):
    options, part = OPTIONS[name]
    refused(capsys, place, ["train", "--config", written(place, dict(trainer_options=options))], next(iter(options)),
        part)


@pytest.mark.parametrize("name", WORDS)
def test_words(name, place, capsys):
    words, field, part = WORDS[name]
    refused(capsys, place, ["train", *words], field, part)


@pytest.mark.parametrize("name", GRIDS)
def test_grid(name, place, capsys):
    said, field, part = GRIDS[name]
    refused(capsys, place, ["study", written(place, said)], field, part)


@pytest.mark.parametrize("words", [["--out", "file"], ["--out", ""], ["--workers", "0"], ["--workers", "9" * 30],
    ["--seeds", ".inf"], ["--set", "max_steps=[4"], ["--set", "max_steps=1e30"]], ids=str)
def test_study_words(words, place, capsys):
    refused(capsys, place, ["study", str(ROOT / "nbs" / "experiments" / "grids" / "quick.yaml"), *words], "",
        words[0].strip("-") if words[0] != "--set" else "max_steps")


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("further", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_table(further, name, place, capsys):
    file, text, field = TABLES[name]
    (place / file).write_text(text)
    refused(capsys, place, ["train", "--task", file, "--model", "embedded", "--per-device-train-batch-size", "16",
        "--max-steps", "1", *further], field, "")


@pytest.mark.parametrize("name", ["rewards of the standard library", "rewards that are no rewards", "lora r 0",
    "label empty"])
def test_dry_run(name, place, capsys):
    said, field, part = SETTINGS[name]
    refused(capsys, place, ["train", "--dry-run", "--config", written(place, said)], field, part)


def test_any_label(place, capsys):
    "A label is data: the run has a safe name, and the label is kept as it was given."
    label = "../../two\nlines {x} " + "é" * 300
    small = dict(label=label, max_steps=1, num_generations=2, per_device_train_batch_size=4, max_completion_length=8,
        validation_size=2, test_size=2)
    assert main(["train", "--config", written(place, small)]) == 0, capsys.readouterr().err
    (folder,) = (place / "runs").iterdir()
    assert folder.name.isascii() and folder.name.startswith("grpo-_.._two_lines_x_") and read_config(
        folder)[0].label == label
    assert load_run(folder).config.name == folder.name


def test_a_pipe_is_not_waited_for(place, capsys):
    os.mkfifo(place / "pipe")
    refused(capsys, place, ["train", "--config", str(place / "pipe")], "config", "a pipe")
