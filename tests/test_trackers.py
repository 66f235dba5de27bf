"""What the trainer logs arrives in TensorBoard, trackio and wandb: every name, every step, every value. Nothing
leaves the machine."""
import json
import os
import struct
import subprocess
import sys

import pytest

TRAIN = """
import json, os, sys
from pathlib import Path
import torch
from mora.study.policies import load_policy
from mora.study.tasks import load_task, paper_rewards
from mora.trainer import MultiObjectiveConfig, MultiObjectiveTrainer
tracker, out = sys.argv[1:]
torch.set_num_threads(1)
task = load_task("embedded", seed=0, train_size=64, validation_size=8, test_size=8)
model, tokenizer = load_policy("embedded")
args = MultiObjectiveConfig(output_dir=out + "/run", run_name="tiny", project="mora", report_to=[tracker],
    weighting="gradient", max_steps=2, num_generations=4, per_device_train_batch_size=16,
    per_device_eval_batch_size=8, max_completion_length=64, learning_rate=1e-3, logging_steps=1,
    save_strategy="no", eval_strategy="steps", eval_steps=1, test_steps=2, bf16=False,
    gradient_checkpointing=False, disable_tqdm=True, use_cpu=True)
held_out = {"validation": task.validation, "test": task.test}
trainer = MultiObjectiveTrainer(model, paper_rewards(80.0), args, task.train, held_out, processing_class=tokenizer)
trainer.train()
Path(out, "log.json").write_text(json.dumps(trainer.state.log_history))
"""
AT_THE_END = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"}


def train(tracker, folder):
    "The log of two steps; a process of its own, since trackers read their folders on import."
    offline = dict(TENSORBOARD_LOGGING_DIR=folder / "events", TRACKIO_DIR=folder / "trackio", WANDB_MODE="offline",
        WANDB_DIR=folder)
    environment = os.environ | {k: str(v) for k, v in offline.items()}
    done = subprocess.run([sys.executable, "-c", TRAIN, tracker, str(folder)], env=environment, capture_output=True,
        text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    log = json.loads((folder / "log.json").read_text())
    names = {name for row in log for name in row}
    ours = ("weights/clarity", "multiplier", "pareto/hypervolume", "pareto/gain", "gradients/norm/clarity",
        "gradients/influence/clarity")
    assert {*ours, "conflict/accuracy_clarity", "update/norm", "rewards/clarity/mean", "eval_validation_clarity",
        "eval_test_clarity"} <= names
    return log


def theirs(name):
    "What transformers calls it for a tracker."
    return "eval/" + name.removeprefix("eval_") if name.startswith("eval_") else "train/" + name


def expected(log, left_out=()):
    "(tracker's name, step) -> value."
    return {(theirs(k), row["step"]): v for row in log for k, v in row.items() if k != "step" and v is not None
        and k not in left_out}


def assert_tracked(found, wanted, rel=1e-12):
    assert not wanted.keys() - found.keys()
    assert {k: found[k] for k in wanted} == pytest.approx(wanted, rel=rel)


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    wanted = expected(train("tensorboard", tmp_path))
    events = EventAccumulator(str(tmp_path / "events"), size_guidance={"scalars": 0}).Reload()
    found = {(name, e.step): e.value for name in events.Tags()["scalars"] for e in events.Scalars(name)}
    assert_tracked(found, wanted, rel=1e-6)  # single precision
    assert found.keys() == wanted.keys()


def by_global_step(rows):
    return {(name, row["train/global_step"]): value for row in rows if "train/global_step" in row
        for name, value in row.items()}


def test_trackio(tmp_path):
    pytest.importorskip("trackio",
        reason="trackio is not installed: it asks for an older pillow than the tested set has")
    wanted = expected(train("trackio", tmp_path), AT_THE_END)
    read = ("import json, sys; from trackio.sqlite_storage import SQLiteStorage as s; "
        "json.dump(s.get_logs('mora', 'tiny'), sys.stdout, default=str)")
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")}
    out = subprocess.run([sys.executable, "-c", read], env=environment, capture_output=True, text=True, check=True)
    assert_tracked(by_global_step(json.loads(out.stdout)), wanted)


def wandb_records(path):
    "The protobuf records of a .wandb file: LevelDB's log format, blocks of 32 KiB, behind a header of 7 bytes."
    from wandb.proto import wandb_internal_pb2

    data, at, part = path.read_bytes(), 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record


def items(updates):
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in updates}


def test_wandb(tmp_path):
    pytest.importorskip("wandb",
        reason="wandb is not installed: it is large, and the other trackers get the same names")
    log = train("wandb", tmp_path)
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(path))
    history = [items(r.history.item) for r in records if r.WhichOneof("record_type") == "history"]
    assert_tracked(by_global_step(history), expected(log, AT_THE_END))
    summary = {k: v for r in records if r.WhichOneof("record_type") == "summary"
        for k, v in items(r.summary.update).items()}
    assert {k: summary[k] for k in AT_THE_END} == {k: log[-1][k] for k in AT_THE_END}
