"""Folders of runs: what was there before stays, what a kill left is cleared, and what cannot work is refused in
one line."""
import errno
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import mora.study.run
import mora.study.folders
from mora.errors import ConfigError
from mora.study.run import as_messages, load_run, run_experiment
from mora.study.folders import checkpoints, run_lock, is_finished, is_whole, last_checkpoint, write_whole
from mora.study.recipes import dry_run
from mora.study.settings import make_config
from mora.study.settings import ExperimentConfig
from mora.study.grid import find_grid, make_jobs, read_grid
from mora.study.tables import as_dataset

TINY = dict(max_steps=3, num_generations=4, per_device_train_batch_size=8, validation_size=4, test_size=4,
    test_steps=3, save_steps=1, max_completion_length=40)
CONFIG = ExperimentConfig(**TINY)
FOREIGN = "expected a new folder or one of this run's; it holds {} that no run of mora wrote"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "Folder of an uninterrupted run."
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run_experiment(CONFIG, folder)
    return folder


@pytest.fixture
def run(whole, tmp_path):
    "A copy of it, without what is written last."
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "metrics.parquet").unlink()
    return tmp_path / "run"


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*"))


def assert_same(folder, whole):
    "The same files as the uninterrupted run, the same metrics and the same policy, bit for bit."
    assert names(folder) == names(whole)
    numbers = [load_run(f).metrics.drop(columns="seconds") for f in (folder, whole)]
    pd.testing.assert_frame_equal(*numbers, check_exact=True)
    assert (folder / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()


def refused(folder, config=CONFIG, dry=True):
    "The line with which a run in `folder` is refused; nothing in it changes."
    before = files(folder) if folder.is_dir() else None
    with pytest.raises(ConfigError) as error:
        run_experiment(config, folder)
    if dry:
        with pytest.raises(ConfigError) as too:
            dry_run(config.validate(), folder)
        assert str(too.value) == str(error.value)
    assert "\n" not in str(error.value)
    assert before is None or files(folder) == before
    return str(error.value)


def put(path, text="mine"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# What is somebody else's


@pytest.mark.parametrize("name", ["model/weights", "model", "checkpoint-7/x", "checkpoint-final/x",
    "checkpoint-2-best/x", "metrics.parquet", "metrics.parquet/x",
                                  "progress", ".lock", ".lock/x", ".incomplete/x", "config.json", "model.safetensors",
                                  "completions/x", "runs.parquet", "results.parquet"])
def test_a_folder_with_files_of_others_is_refused(name, tmp_path):
    put(tmp_path / "out" / name)
    assert FOREIGN.format(name.split("/")[0]) in refused(tmp_path / "out")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_a_checkpoint_of_trl_is_refused(whole, tmp_path):
    shutil.copytree(whole / "checkpoint-3", tmp_path / "out" / "checkpoint-3",
        ignore=shutil.ignore_patterns("mora_*"))
    assert FOREIGN.format("checkpoint-3") in refused(tmp_path / "out")
    assert FOREIGN.format("config.json, model.safetensors, trainer_state.json") in refused(
        tmp_path / "out" / "checkpoint-3")


def test_metrics_of_others_are_refused_though_they_can_be_read(run, tmp_path):
    pd.DataFrame(dict(a=[1])).to_parquet(run / "metrics.parquet")
    shutil.rmtree(run / "model")
    assert FOREIGN.format("metrics.parquet") in refused(run)


@pytest.mark.parametrize("name", ["model/mine.txt", "model", "checkpoint-9/x", "checkpoint-2-copy/x", "progress",
    "metrics.parquet/x", "README.md/x"])
def test_what_is_put_into_a_run_under_its_names_is_refused_and_kept(name, run):
    for part in ("model", "progress", "README.md"):
        mora.study.folders.remove(run / part)
    put(run / name)
    assert FOREIGN.format(name.split("/")[0]) in refused(run)


def test_notes_and_a_readme_stay(whole, tmp_path):
    out = tmp_path / "out"
    put(out / "README.md", "read me")
    put(out / "notes.txt")
    run_experiment(CONFIG, out)
    put(out / "later" / "notes.txt")
    put(out / "checkpoint-final" / "x")
    (out / "metrics.parquet").unlink()
    run_experiment(CONFIG, out)
    assert (out / "README.md").read_text() == "read me" and (out / "MODEL_CARD.md").is_file()
    added = {"MODEL_CARD.md", "notes.txt", "later", "later/notes.txt", "checkpoint-final", "checkpoint-final/x"}
    assert set(names(out)) == set(names(whole)) | added


def test_a_run_is_not_put_among_the_runs_of_a_study(whole):
    assert "expected the folder of one run; whole in it is that of another" in refused(whole.parent)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "lr: 3", "seed: many\nalgorithm: grpo\nweighting: fixed",
    "\0", None], ids=repr)
def test_a_config_that_cannot_be_read_is_one_line(content, tmp_path):
    if content is None:
        tmp_path.joinpath("config.yaml").symlink_to("nowhere")
    else:
        put(tmp_path / "config.yaml", content)
    assert "a folder whose config.yaml can be read" in refused(tmp_path)


def test_paths_that_are_no_folders(tmp_path):
    put(tmp_path / "file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert f"the path of a folder; {tmp_path / 'file'} is a file" in refused(tmp_path / "file")
    assert f"the path of a folder; {tmp_path / 'file'} is a file" in refused(tmp_path / "file" / "run")
    assert "the path of a folder; it is a link to" in refused(tmp_path / "dangling")
    assert "the path of a folder" in refused(tmp_path / "loop")
    assert "the path of a folder" in refused(tmp_path / "\0")
    assert not (tmp_path / "nowhere").exists()


def test_a_moved_run_goes_on_and_links_and_spaces_are_fine(run, whole, tmp_path):
    shutil.rmtree(run / "checkpoint-3")
    shutil.rmtree(run / "model")
    shutil.move(run, tmp_path / "moved away")
    (tmp_path / "link").symlink_to("moved away")
    run_experiment(CONFIG, tmp_path / "link")
    assert_same(tmp_path / "moved away", whole)


# What a kill or a disk left


CUTS = {
    "trainer_state.json": (b"", b"{}", b"[]", b'{"global_step": 3, "log_history": [',
    b'{"global_step": 2, "log_history": []}'),
    "mora_state.json": (b"", b"{}", b"[]", b'{"num_processes": "1"}', None), "optimizer.pt": (b"", None),
    "scheduler.pt": (None,), "rng_state.pth": (b"x", None),
    "mora_process_0.pt": (b"", None), "model.safetensors": (b"", b"\0" * 8, b"x" * 100, None)}


def test_a_checkpoint_counts_only_if_it_is_whole(run):
    last = run / "checkpoint-3"
    for name, contents in CUTS.items():
        kept = (last / name).read_bytes()
        for content in (*contents, kept[: len(kept) // 2], kept[:-2]):
            (last / name).unlink(missing_ok=True)
            if content is not None:
                (last / name).write_bytes(content)
            assert not is_whole(last) and last_checkpoint(run).name == "checkpoint-2", (name, content)
        (last / name).write_bytes(kept)
    assert last_checkpoint(run) == last
    (last / "model.safetensors.index.json").write_text(
        json.dumps(dict(weight_map=dict(a="model-00002-of-00002.safetensors"))))
    assert not is_whole(last)


def test_checkpoints_of_sharded_runs_count(run):
    last = run / "checkpoint-3"
    (last / "mora_state.json").write_text('{"num_processes": 2}')
    for rank in (0, 1):
        shutil.copy(last / "rng_state.pth", last / f"rng_state_{rank}.pth")
        shutil.copy(last / "mora_process_0.pt", last / f"mora_process_{rank}.pt") if rank else None
    assert is_whole(last)  # DDP
    (last / "optimizer.pt").unlink()
    (last / "optimizer_0").mkdir()
    assert is_whole(last)  # FSDP
    (last / "optimizer_0").rmdir()
    assert not is_whole(last)
    (last / "scheduler.pt").unlink()
    put(last / "latest", "global_step3")
    assert is_whole(last)  # DeepSpeed


@pytest.mark.parametrize("name", ["model.safetensors", "mora_state.json", "scheduler.pt"])
def test_the_checkpoint_before_is_used(name, run, whole):
    (run / "checkpoint-3" / name).write_bytes(b"")
    run_experiment(CONFIG, run)
    assert_same(run, whole)


def test_training_starts_anew_if_no_checkpoint_is_whole(run, whole):
    for c in checkpoints(run):
        (c / "optimizer.pt").unlink()
    run_experiment(CONFIG, run)
    assert_same(run, whole)


def test_another_number_of_processes_is_one_line(run):
    state = run / "checkpoint-3" / "mora_state.json"
    shutil.rmtree(run / "checkpoint-3")
    state = run / "checkpoint-2" / "mora_state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | dict(num_processes=2)))
    for rank in (0, 1):
        shutil.copy(run / "checkpoint-2" / "rng_state.pth", run / "checkpoint-2" / f"rng_state_{rank}.pth")
    shutil.copy(run / "checkpoint-2" / "mora_process_0.pt", run / "checkpoint-2" / "mora_process_1.pt")
    with pytest.raises(ConfigError, match="number of processes: got 1, expected 2, with which"):
        run_experiment(CONFIG, run)
    assert (run / "checkpoint-2").is_dir()


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_metrics_that_are_cut_off_are_made_again(cut, run, whole):
    (run / "metrics.parquet").write_bytes((whole / "metrics.parquet").read_bytes()[:cut])
    assert not is_finished(run)
    before = {p: p.stat().st_mtime_ns for p in run.glob("checkpoint-*/*")}
    run_experiment(CONFIG, run)
    assert_same(run, whole)
    assert before == {p: p.stat().st_mtime_ns for p in run.glob("checkpoint-*/*")}  # not a step trained again


def test_a_final_policy_that_is_cut_off_or_missing_is_made_again(run, whole):
    shutil.copy(whole / "metrics.parquet", run)
    for content in (b"", (whole / "model/model.safetensors").read_bytes()[:-1], None):
        (run / "model/model.safetensors").unlink()
        if content is not None:
            (run / "model/model.safetensors").write_bytes(content)
        assert not is_finished(run)
        run_experiment(CONFIG, run)
        assert_same(run, whole)
    shutil.rmtree(run / "model")
    assert not is_finished(run)
    for c in checkpoints(run):
        shutil.rmtree(c)
    assert is_finished(run)  # nothing to make it from: what somebody keeps for a report


def test_metrics_damaged_inside_are_one_line(run, whole):
    content = bytearray((whole / "metrics.parquet").read_bytes())
    content[-200:-100] = b"x" * 100
    (run / "metrics.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match="a metrics.parquet that can be read"):
        run_experiment(CONFIG, run)


class Killed(BaseException):
    "As if the process ended."


@pytest.mark.parametrize("moment", ["an old checkpoint is half removed", "a checkpoint is half written",
    "the policy is half copied", "metrics are half written"])
def test_after_a_kill_the_files_are_those_of_an_uninterrupted_run(moment, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        if moment.startswith("an old"):
            rmtree = shutil.rmtree

            def half(path, *args, **kwargs):
                if "old-checkpoint" not in str(path):
                    return rmtree(path, *args, **kwargs)
                next(Path(path).iterdir()).unlink()
                raise Killed

            patch.setattr(shutil, "rmtree", half)
        elif moment.startswith("a checkpoint"):

            def save_scheduler(trainer, *args, **kwargs):
                patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # nobody clears up
                raise Killed

            patch.setattr("transformers.Trainer._save_rng_state", save_scheduler)
        elif moment.startswith("the policy"):

            def copy(source, target, **kwargs):
                target.mkdir()
                (target / "config.json").touch()
                raise Killed

            patch.setattr(shutil, "copytree", copy)
            patch.setattr(mora.study.folders, "remove", lambda path: None)
        else:

            def to_parquet(table, path, *args, **kwargs):
                Path(path).write_bytes(b"PAR1")
                raise Killed

            patch.setattr(pd.DataFrame, "to_parquet", to_parquet)
            patch.setattr(mora.study.folders, "remove", lambda path: None)
        with pytest.raises(Killed):
            run_experiment(CONFIG, out)
    left = names(out)
    assert any(n.startswith(".incomplete") or n.endswith(".part") for n in left), left
    (out / ".progress.99999.part").touch()
    run_experiment(CONFIG, out)
    assert_same(out, whole)


def test_writers_do_not_share_a_part_and_leave_none(tmp_path, monkeypatch):
    parts = []
    for pid in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        write_whole(tmp_path / "a", lambda path: (parts.append(path), path.write_text("x")))
    assert len(set(parts)) == 2

    def fails(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError):
        write_whole(tmp_path / "a", fails)
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "x"


# Disks


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.parametrize("what", ["torch.save", "safetensors.torch.save_file", "shutil.copytree",
    "pandas.DataFrame.to_parquet", "pathlib.Path.write_text"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(what, run, whole, monkeypatch):
    shutil.rmtree(run / "checkpoint-3")
    with monkeypatch.context() as patch:
        patch.setattr(what, full)
        if what.startswith("safetensors"):
            patch.setattr("transformers.modeling_utils.safe_save_file", full)
        with pytest.raises(ConfigError,
                match=r"out: .* expected a folder that can be written \(No space left on device") as error:
            run_experiment(CONFIG, run)
    assert "\n" not in str(error.value) and last_checkpoint(run)
    run_experiment(CONFIG, run)
    assert_same(run, whole)


def test_torch_and_copytree_say_it_in_their_own_words(tmp_path):
    said = [RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 578624 vs 578516"),
            shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])]
    for error in said:
        with pytest.raises(ConfigError,
                match="a folder that can be written"), mora.study.folders.disk_errors(tmp_path):
            raise error
    for error in (RuntimeError("step 3: parameter w is not finite"),
            FileNotFoundError(2, "No such file", "/data/of/a/reward"), KeyError("a")):
        with pytest.raises(type(error)), mora.study.folders.disk_errors(tmp_path):
            raise error


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def denied(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", denied)
    assert "expected a folder that can be written (Permission denied" in refused(tmp_path / "a" / "run", dry=False)


def test_a_lock_that_is_a_folder_is_one_line(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ConfigError, match="a folder that can be written"), run_lock(tmp_path):
        pass


# What fails early leaves nothing


@pytest.fixture
def sums(tmp_path):
    put(tmp_path / "sums.csv", "prompt,answer\n" + "\n".join(f"{a} and 1?,{a + 1}" for a in range(20)))
    return dict(task=str(tmp_path / "sums.csv"), model="embedded")


WRONG = [
    (dict(per_device_train_batch_size=13 * 4),
    "per_device_train_batch_size: got 52, expected a batch of at most 12 prompts, all training prompts of"),
    (dict(prompt_column="question"), "prompt_column: got 'question'"),
    (dict(max_completion_length=255), "max_completion_length: got 255, expected at most"),
    (dict(lora=dict(target_modules=["query"])),
    "lora: got {'target_modules': ['query']}, expected modules that embedded has"),
    (dict(chat=True), "chat: got True, expected false: embedded has no chat template"),
    (dict(save_strategy="no"), "save_strategy: got 'no', expected "),
    (dict(save_strategy="epoch"), "save_strategy: got 'epoch', expected "),
    (dict(save_only_model=True), "save_only_model: got True, expected "),
    (dict(logging_steps=5), "logging_steps: got 5, expected "),
    (dict(eval_delay=2), "eval_delay: got 2, expected "),
    (dict(ignore_data_skip=True), "ignore_data_skip: got True, expected "),
    (dict(generation_batch_size=7), "expected arguments that go together"),
]


@pytest.mark.parametrize("change,line", WRONG, ids=[str(w[0]) for w in WRONG])
def test_what_cannot_work_is_refused_before_anything_is_written(change, line, sums, tmp_path):
    try:
        config = make_config(TINY | sums | change).validate()
    except ConfigError as error:  # refused even earlier
        assert next(iter(change)) in str(error)
        return
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "new" / "run", tmp_path / "there"):
        assert line in refused(out, config)
    assert not (tmp_path / "new").exists() and names(tmp_path / "there") == []


def test_the_folder_of_an_adapter_is_no_policy_to_train(tmp_path):
    lora = dict(r=2, target_modules="all-linear")
    run_experiment(ExperimentConfig(**TINY | dict(max_steps=1), lora=lora), tmp_path / "lora")
    config = ExperimentConfig(**TINY, model=str(tmp_path / "lora" / "model"))
    with pytest.raises(ConfigError, match="expected a model with parameters to train"):
        run_experiment(config, tmp_path / "out")
    assert names(tmp_path) == [n for n in names(tmp_path) if n.startswith("lora")]


def test_a_study_refuses_folders_of_others_before_it_begins(tmp_path):
    put(tmp_path / "grpo-fixed-balanced-s0" / "model" / "mine")
    with pytest.raises(ConfigError, match="it holds model that no run of mora wrote"):
        make_jobs(read_grid(find_grid("quick")), [CONFIG], tmp_path)


def test_an_error_takes_back_only_what_the_run_wrote(tmp_path, monkeypatch):
    def fails(config, task, folder, progress):
        put(folder / "mine.txt")
        raise ValueError("late")

    monkeypatch.setattr(mora.study.run, "train", fails)
    with pytest.raises(ValueError, match="late"):
        run_experiment(CONFIG, tmp_path / "a" / "run")
    assert names(tmp_path) == ["a", "a/run", "a/run/mine.txt"]


def test_a_dry_run_writes_nothing_and_needs_no_network(tmp_path, monkeypatch):
    import huggingface_hub

    def no_network(*args, **kwargs):
        raise AssertionError("a dry run of an embedded task looked at the hub")

    monkeypatch.setattr(huggingface_hub, "get_session", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    monkeypatch.chdir(tmp_path)
    assert "Nothing was trained." in dry_run(CONFIG.validate(), Path("runs/mine"))
    for name in ("embeded", "embedded.csv", "./embedded"):
        with pytest.raises(ConfigError):
            dry_run(ExperimentConfig(**TINY, task=name, model="embedded").validate(), Path("runs/mine"))
    assert names(tmp_path) == []


def test_prompts_that_are_messages_stay():
    messages = [[dict(role="system", content="Be short."), dict(role="user", content="1+1?")]] * 3
    data = as_dataset(dict(prompt=messages, answer=["2"] * 3))
    assert as_messages(data)["prompt"][:] == messages
    assert as_messages(as_dataset(dict(prompt=["1+1?"], answer=["2"])))["prompt"][:] == [
        [dict(role="user", content="1+1?")]]


# Values that are not there


def silent(completions, **columns):
    return [None] * len(completions)


def test_a_reward_without_values_is_nan_to_the_end(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    config = ExperimentConfig(**TINY, rewards=["accuracy", "test_runs:silent"], preset=[.5, .5])
    run = run_experiment(config, tmp_path / "out")
    assert pd.isna(run.final()["silent"]) and "silent nan" in str(run)
    empty = mora.study.run.Run(run.folder, run.config, run.facts, run.metrics[run.metrics.split != "test"])
    assert all(map(pd.isna, empty.final().values()))
