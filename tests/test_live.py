"""The live view on real trainings of a few steps: in a terminal, in a pipe, in a notebook; and when it goes wrong."""
import contextlib
import io
import itertools
import sys
import types
import warnings

import pytest
import torch
from transformers import PrinterCallback, ProgressCallback

import mora.live as live
from mora.errors import ConfigError
from mora.live import BARS, LiveView, NotebookScreen, PlainScreen, TerminalScreen, find_screen
from mora.pareto import Objective
from mora.study.policies import load_policy
from mora.study.tasks import load_task, paper_rewards
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task():
    return load_task("embedded", seed=0, train_size=16, validation_size=8, test_size=8)


@pytest.fixture
def make(task, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PAUSE", 0.0)

    def trainer(view, **changes):
        model, tokenizer = load_policy("embedded")
        settings = dict(
            output_dir=str(tmp_path), max_steps=3, per_device_train_batch_size=8, per_device_eval_batch_size=8,
            num_generations=4,
            max_completion_length=64, learning_rate=1e-3, logging_steps=1, save_strategy="no",
            eval_strategy="steps", eval_steps=1, report_to="none", bf16=False, gradient_checkpointing=False,
            use_cpu=True,
        )
        args = MultiObjectiveConfig(**settings | changes)
        held_out = {"validation": task.validation}
        return MultiObjectiveTrainer(model, paper_rewards(80.0), args, task.train, held_out,
            processing_class=tokenizer, callbacks=[view])

    return trainer


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    return Terminal()


def test_a_terminal_gets_one_table_in_place(make, terminal):
    trainer = make(LiveView(seconds=0.0))
    with contextlib.redirect_stdout(terminal):
        assert isinstance(find_screen(), TerminalScreen)
        trainer.train()
        assert sys.stdout is terminal
    said = terminal.getvalue()
    for words in ("step 1/3", "step 3/3", "accuracy ↑", "length ↓", "clarity ↑", "hypervolume", "gain", "best",
            "weight"):
        assert words in said
    assert any(bar in said for bar in BARS)
    assert said.count("\x1b[2K") > 10, "lines are rewritten"
    assert "'loss'" not in said and not any(isinstance(c, PrinterCallback | ProgressCallback)
        for c in trainer.callback_handler.callbacks)
    assert said.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_a_terminal_is_in_order_after_an_error(make, terminal):
    view = LiveView(seconds=0.0)
    trainer = make(view)

    class Broken(live.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise KeyboardInterrupt

    trainer.add_callback(Broken)
    with contextlib.redirect_stdout(terminal):
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        assert sys.stdout is terminal
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")
    assert view.screen is None and view.trainer is None


def test_a_pipe_gets_a_line_now_and_then(make, capsys):
    assert isinstance(find_screen(), PlainScreen)
    trainer = make(LiveView(lines=2), max_steps=5)
    trainer.train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 2/5", "step 4/5", "step 5/5"]
    last = {k: v for row in trainer.state.log_history for k, v in row.items()}
    assert f"length {last['eval_validation_conciseness']:.1f} (best" in lines[-1]
    assert "weights 1.00 1.00 1.00" in lines[-1] and f"hypervolume {trainer.archive.hypervolume:.3f}" in lines[-1]
    assert "\x1b" not in "".join(lines)


@pytest.fixture
def displayed(monkeypatch):
    import IPython.display

    images = []
    handle = types.SimpleNamespace(update=images.append)

    def display(image, display_id):
        images.append(image)
        return handle

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(live, "find_screen", NotebookScreen)
    return images


def test_a_notebook_gets_one_figure_in_place(make, displayed, monkeypatch):
    import matplotlib.pyplot as plt

    figures = []
    draw = live.live_figure
    monkeypatch.setattr(live, "live_figure", lambda *run, **kwargs: figures.append(draw(*run, **kwargs))
        or figures[-1])
    make(LiveView(pair=("accuracy", "clarity"), seconds=0.0)).train()
    assert len(displayed) == len(figures) >= 2 and all(image.data.startswith(b"\x89PNG") for image in displayed)
    objectives, weights, front = figures[-1].axes
    assert [len(objectives.lines), len(weights.lines)] == [6, 3]
    assert len(objectives.lines[1].get_xdata()) == 4, "validations before and after each of three steps"
    assert front.get_xlabel().startswith("Accuracy") and front.get_ylabel().startswith("Clarity")
    assert plt.get_fignums() == []


def test_it_is_not_drawn_more_often_than_asked(make, displayed):
    make(LiveView(seconds=1000.0)).train()
    assert len(displayed) == 2, "before the first step, and at the end"


def test_without_validation_the_batches_are_shown(make, capsys):
    make(LiveView(lines=1), eval_strategy="no").train()
    last = capsys.readouterr().out.splitlines()[-1]
    assert "length " in last and "weights 1.00" in last and "hypervolume" not in last


def test_a_failing_drawing_stops_nothing_and_warns_once(make, monkeypatch):
    monkeypatch.setattr(live, "live_line", lambda *run: 1 / 0)
    trainer = make(LiveView(lines=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    said = [str(w.message) for w in caught if "live view" in str(w.message)]
    assert said == ["the live view stops, training continues: ZeroDivisionError: division by zero"]
    assert trainer.state.global_step == 3


NAMES = ["_a", "[bold]b[/]", "[/x]c", "$d$", "$e", "{f}", "g\nh", "\u65e5", "<b>", "_", "a.b/c", "%s"]
nan, inf = float("nan"), float("inf")
VALUES = {
    "ordinary": [0.3, 0.5], "none": [None], "nan": [nan], "infinite": [inf, -inf],
    "some": [None, nan, inf, -inf, 0.5], "huge": [1e308, -1e308, 1e30],
    "zero": [0.0], "negative": [-3.0], "whole": [1, 2], "texts": ["NaN", "x"], "lists": [[1, 2]],
    "truths": [True, False],
}  # fmt: skip


def hostile_log(objectives, values, validated):
    "The log of three steps whose values are taken from `values` in turn."
    values = itertools.cycle(values)
    log = []
    for step in range(3):
        names = [f"{part}{o.name}{end}" for o in objectives
            for part, end in (("weights/", ""), ("rewards/", "/mean"))]
        log.append({"step": step, **dict(zip([*names, "multiplier", "completions/mean_length"], values,
            strict=False))})
        if validated:
            log.append({"step": step, **dict(zip([f"eval_validation_{o.name}" for o in objectives], values,
                strict=False))})
    return log


@pytest.mark.parametrize("screen", [NotebookScreen, TerminalScreen, PlainScreen])
@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("values", VALUES)
def test_no_log_and_no_name_ends_the_view(values, count, screen, displayed, monkeypatch, terminal):
    objectives = [Objective(n, "min" if i % 2 else "max", measure="length" if i % 3 == 1 else "reward")
        for i, n in enumerate(NAMES[:count])]
    monkeypatch.setattr(live, "find_screen", screen)
    for validated in (True, False):
        log = hostile_log(objectives, VALUES[values], validated)
        state = types.SimpleNamespace(log_history=log, max_steps=3, global_step=2)
        trainer = types.SimpleNamespace(objectives=objectives, state=state, is_world_process_zero=lambda: True,
            remove_callback=lambda c: None)
        view = LiveView()
        with contextlib.redirect_stdout(terminal), warnings.catch_warnings():
            warnings.simplefilter("error")
            with view.following(trainer):
                view.draw()
                assert view.screen is not None


def test_only_the_main_process_draws(make, capsys, monkeypatch):
    trainer = make(LiveView(lines=1))
    monkeypatch.setattr(trainer, "is_world_process_zero", lambda: False)
    trainer.train()
    assert capsys.readouterr().out == ""


def test_added_later_and_wrong_pairs_refused(make, capsys):
    trainer = make(LiveView(pair=("accuracy", "length")))
    with pytest.raises(ConfigError,
            match="pair: got .'accuracy', 'length'., expected two of accuracy, conciseness, clarity"):
        trainer.train()
    trainer.remove_callback(LiveView)
    trainer.add_callback(LiveView(lines=3))
    trainer.train()
    assert capsys.readouterr().out.startswith("step 3/3: accuracy")
