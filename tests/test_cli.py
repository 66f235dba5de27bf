"""The command line: help at once, a mistake in one line with exit code 2, nothing left half-written."""
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mora
from mora.study.cli import main
from mora.weighting.names import weighting_names

ROOT = Path(__file__).parents[1]


def run(capsys, *words):
    "(exit code, what was printed, lines of the error stream)"
    try:
        code = main(list(map(str, words)))
    except SystemExit as stopped:
        code = stopped.code
    out, err = capsys.readouterr()
    return code, out, err.strip().splitlines()


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["study", "--help"], ["report", "--help"]])
def test_help_has_examples_and_loads_little(words):
    said = subprocess.run([sys.executable, "-X", "importtime", "-c", "from mora.study.cli import main; main()",
        *words], capture_output=True, text=True)
    assert said.returncode == 0 and "examples:\n  mora " in said.stdout
    assert not any(f"| {package}\n" in said.stderr.replace("|  ", "| ")
        for package in ("torch", "pandas", "transformers", "trl"))
    if words[0] == "train":
        assert ", ".join(weighting_names()) in " ".join(said.stdout.split())


@pytest.mark.parametrize("words", [["-m", "mora"], ["-m", "mora.study.cli"],
    ["-c", "import sys; from mora.study.cli import main; sys.exit(main())"]])
def test_version(words):
    said = subprocess.run([sys.executable, *words, "--version"], capture_output=True, text=True)
    assert said.returncode == 0 and said.stdout == f"mora {mora.__version__}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda n: n.name)
def test_signal_stops_a_run(number, tmp_path):
    "The sentence of Ctrl-C, the exit code of the signal, and a folder from which the same command resumes."
    words = ["train", "--max-steps", "10000", "--save-steps", "1", "--per-device-train-batch-size", "16",
        "--test-size", "2", "--validation-size", "2", "--out", "run"]
    unblocked = dict(preexec_fn=lambda: [signal.signal(n, signal.default_int_handler if n == signal.SIGINT
        else signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
    process = subprocess.Popen([sys.executable, "-m", "mora", *words], cwd=tmp_path, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, **unblocked)
    while process.poll() is None and not list(tmp_path.glob("run/checkpoint-*/trainer_state.json")):
        time.sleep(0.1)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 128 + number and "Traceback" not in said, said
    assert "stopped; the same command resumes it from step " in said.splitlines()[-1]
    assert list(tmp_path.glob("run/checkpoint-*"))


MISTAKES = {  # command -> what its one line must say
    "train --wieghting fixed": ["wieghting: got 'fixed'", "weighting"],
    "train --weighting magic": ["weighting: got 'magic'", "expected one of corr_grpo, ctwa, "],
    "train --algorithm ppo": ["algorithm: got 'ppo'", "grpo, rloo, reinforce"],
    "train --task algebra": ["task: got 'algebra'", "embedded, embedded-hard, math500"],
    "train --preset speedy": ["got 'speedy'", "accuracy-focused, balanced, efficiency-focused"],
    "train --weighting hypervolume --preset [1.5,-.25,-.25]": ["got [1.5, -0.25, -0.25]"],
    "train --preset [.nan,.5,.5]": ["got [nan, 0.5, 0.5]"],
    "train --weighting hypervolume --preset [.5,.5,.5]": ["got [0.5, 0.5, 0.5]", "sum to 1"],
    "train --preset [.5,.5]": ["got [0.5, 0.5]", "3 numbers"],
    "train --num-generations 1": ["num_generations: got 1", "2"],
    "train --algorithm rloo --num-generations 1": ["num_generations: got 1", "2"],
    "train --max-steps many": ["max_steps: got 'many'", "a whole number"],
    "train --max-steps 0": ["max_steps: got 0", "at least 1"],
    "train --learning-rate -1": ["learning_rate: got -1.0", "above 0"],
    "train --weighting-options '{speed: 2}'": ["speed"],
    "train --trainer-options '{use_vlm: true}'": ["use_vlm: got"],
    "train --model nowhere": ["model: got 'nowhere'", "a folder, or a hub id"],
    "train --task data.jsonl --model embedded": ["prompt_column: got 'prompt'", "problem, answer"],
    "train --task data.jsonl --model embedded --prompt-column problem --answer-column solution": [
    "answer_column: got 'solution'", "problem, answer"],
    "train --task math500": ["model: got None"],
    "study": ["GRID"],
    "study quik": ["grid: got 'quik'", "paper, quick"],
    "study quick --seeds 0": ["seeds: got 0", "at least 1"],
    "study quick --workers two": ["workers: got 'two'", "a whole number"],
    "study quick --set max_step=4": ["max_step: got '4'", "max_steps"],
    "study quick --set max_steps": ["--set: got 'max_steps'", "field=value"],
    "study quick --set preset=[.5,.5,.5]": ["sum to 1"],
    "study quick --set task=data.jsonl model=embedded": ["prompt_column: got 'prompt'"],
    "study quick --sets max_steps=4": ["sets: got", "set"],
    "report runs/nothing": ["runs/nothing"],
    "trian": ["trian"],
}


@pytest.mark.parametrize("command", MISTAKES)
def test_mistake_is_one_line(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "nbs").symlink_to(ROOT / "nbs")  # a place of its own that has the grids
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(dict(problem=f"1+{i}", answer=str(i + 1)))
        for i in range(10)))
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *shlex.split(command))
    assert code == 2 and len(err) == 1, (code, out, err)
    for part in MISTAKES[command]:
        assert part in err[0], err[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.jsonl", "nbs"]


def test_hub_id_without_network(tmp_path):
    said = subprocess.run([sys.executable, "-c", "from mora.study.cli import main; import sys; sys.exit(main())",
        "train", "--task", "no-such-owner/no-such-data", "--model", "embedded"],
        capture_output=True, text=True, cwd=tmp_path,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PATH": "/usr/bin:/bin"})
    assert said.returncode == 2 and "task: got 'no-such-owner/no-such-data'" in said.stderr and len(
        said.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
