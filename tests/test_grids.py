"""Grid files as strangers write them: each is one line that names the field, with exit code 2 and nothing left
behind."""
import json
from pathlib import Path

import nbformat
import pytest

from mora.study.cli import main
from mora.errors import ConfigError
from mora.study.run import ExperimentConfig
from mora.study.grid import MOST_RUNS, Grid, grid_configs, make_jobs, read_grid

ROOT = Path(__file__).parents[1]
TRAIN = ROOT / "nbs" / "experiments" / "train.ipynb"


def notebook(*cells, **metadata):
    "Text of a notebook."
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=metadata)
    return nbformat.writes(nb)


FILES = {  # what lies beside the grid
    "empty.ipynb": "{}",
    "list.ipynb": "[1, 2]",
    "text.ipynb": "not JSON",
    "cut.ipynb": TRAIN.read_text()[:500],
    "binary.ipynb": b"\x89PNG\xff\x00",
    "old.ipynb": json.dumps(dict(nbformat=2, nbformat_minor=0, worksheets=[])),
    "nocells.ipynb": json.dumps(dict(nbformat=4, nbformat_minor=5, metadata={})),
    "untagged.ipynb": notebook("seed = 0", "print(seed)"),
    "julia.ipynb": notebook("seed = 0", kernelspec=dict(name="julia-1.10", display_name="Julia", language="julia")),
    "recipe.yaml": "max_steps: 2\n",
    "list.yaml": "- steps\n",
}
GRIDS = {  # grid file -> what its one line must say
    b"a: \xff\xfe\x00": ["grid: got ", "a YAML file"],
    "axes: {label: [caf\u00e9]}".encode("latin-1"): ["grid: got ", "a YAML file"],
    b"\x00\x01\x02": ["grid: got ", "a YAML file"],
    "": ["grid: got None", "a mapping"],
    "just text": ["grid: got 'just text'", "a mapping"],
    "[1, 2]": ["grid: got [1, 2]", "a mapping"],
    "3": ["grid: got 3"],
    "axes: {seed: [0}": ["grid: got "],
    "axes: &a {seed: *a": ["grid: got "],
    "axes: !!python/object/apply:os.getcwd []": ["grid: got "],
    "axes:\n\tseed: [0]": ["grid: got "],
    f"axes: {{seed: [{'9' * 5000}]}}": ["grid: got "],
    "[" * 3000: ["grid: got "],
    "7: {seed: [0]}": ["grid: got ", "'7', not a text"],
    "null: {seed: [0]}": ["grid: got ", "'null', not a text"],
    "true: {seed: [0]}": ["grid: got ", "'true', not a text"],
    "axis: {seed: [0]}": ["axis: got ", "axes"],
    "blocks: []": ["blocks: got []", "at least one"],
    "blocks: null": ["blocks: got None", "a list"],
    "blocks: {weighting: [fixed]}": ["blocks: got ", "a list"],
    "blocks: [1, 2]": ["blocks: got 1", "a mapping"],
    "blocks: [fixed]": ["blocks: got 'fixed'", "a mapping"],
    "blocks: [null]": ["blocks: got None", "a mapping"],
    "blocks: [{3: [1]}]": ["grid: got ", "'3', not a text"],
    "blocks: [{weighting: fixed}]": ["weighting: got 'fixed'", "a list"],
    "blocks: [{weighting: []}]": ["weighting: got []", "at least one value"],
    "blocks: [{weighting: null}]": ["weighting: got None", "a list"],
    "axes: null": ["axes: got None", "a mapping"],
    "axes: [seed]": ["axes: got ['seed']", "a mapping"],
    "axes: text": ["axes: got 'text'", "a mapping"],
    "axes: {seed: null}": ["seed: got None", "a list"],
    "axes: {seed: 3}": ["seed: got 3", "a list"],
    "axes: {seed: []}": ["seed: got []", "at least one value"],
    "axes: {null: [1]}": ["grid: got ", "'null', not a text"],
    "axes: {1: [1]}": ["grid: got ", "'1', not a text"],
    "axes: {seed: [one]}": ["seed: got 'one'", "a whole number"],
    "axes: {seed: [[0, 1]]}": ["seed: got [0, 1]", "a whole number"],
    "axes: {seed: [.nan]}": ["seed: got nan"],
    "axes: {seed: [-1]}": ["seed: got -1", "at least 0"],
    "axes: {seed: [{a: 1}]}": ["seed: got {'a': 1}"],
    "axes: {max_steps: [0]}": ["max_steps: got 0", "at least 1"],
    "axes: {weighting: [fixd]}": ["weighting: got 'fixd'", "fixed"],
    "axes: {weighting: [[fixed]]}": ["weighting: got ['fixed']", "text"],
    "axes: {wieghting: [fixed]}": ["wieghting: got 'fixed'", "weighting"],
    "axes: {learning_rat: [0.001]}": ["learning_rat: got 0.001", "learning_rate"],
    "axes: {seed: [0]}\nblocks: [{seed: [1]}]": ["seed: got [1]", "among the axes"],
    f"axes: {{seed: &n {list(range(1, 101))}, max_steps: *n, num_generations: *n}}": ["grid: got 'g'",
    f"at most {MOST_RUNS} runs, not 1000000"],
    "shared: [1]": ["shared: got [1]", "a mapping"],
    "shared: null": ["shared: got None", "a mapping"],
    "shared: {3: 4}": ["grid: got ", "'3', not a text"],
    "shared: {seed: [0, 1]}": ["seed: got [0, 1]"],
    "shared: {weighting: hypervolume, preset: [.5, .5, .5]}": ["sum to 1"],
    "notebook: 3": ["notebook: got 3", "text"],
    "notebook: null": ["notebook: got None", "text"],
    "notebook: [a]": ["notebook: got ['a']", "text"],
    "notebook: nowhere.ipynb": ["notebook: got ", "nowhere.ipynb"],
    'notebook: "a\\0b"': ["notebook: got "],
    f"notebook: {'x' * 300}": ["notebook: got "],
    "notebook: .": ["notebook: got ", "a notebook"],
    "notebook: g.yaml": ["notebook: got ", "a notebook"],
    "config: 3": ["config: got 3", "text"],
    "config: nowhere.yaml": ["config: got ", "nowhere.yaml"],
    "config: .": ["config: got "],
    "config: list.yaml": ["config: got ", "a mapping"],
    "config: recipe.yaml\nshared: null": ["shared: got None"],
} | {f"notebook: {name}": ["notebook: got ", name] for name in FILES if name.endswith(".ipynb")}


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    "Function of a grid's text: (exit code, what was printed, lines of the error stream, files left)."
    monkeypatch.chdir(tmp_path)

    def run(text, *words):
        for name, content in FILES.items():
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        (tmp_path / "g.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        code = main(["study", "g.yaml", "--out", "runs", *words])
        out, err = capsys.readouterr()
        left = sorted(p.name for p in tmp_path.iterdir() if p.name not in {*FILES, "g.yaml"})
        return code, out, err.strip().splitlines(), left

    return run


@pytest.mark.parametrize("text", GRIDS, ids=lambda text: str(text[:40]))
def test_a_malformed_grid_is_one_line(text, study):
    code, out, err, left = study(text)
    assert code == 2 and len(err) == 1 and out == "" and left == [], (code, out, err, left)
    for part in GRIDS[text]:
        assert part in err[0], err[0]


OUTS = {  # folder of the runs -> what its one line must say
    "g.yaml": ["out: got 'g.yaml'", "is a file"],
    "g.yaml/runs/deep": ["out: got 'g.yaml/runs/deep'", "is a file"],
    "a\0b": ["out: got ", "the path of a folder"],
    "x" * 300: ["out: got ", "the path of a folder"],
    "loop": ["out: got 'loop'"],
    "dangling": ["out: got 'dangling'", "does not exist"],
}


@pytest.mark.parametrize("out", OUTS, ids=lambda out: out[:20].replace("\0", "0"))
def test_a_folder_that_cannot_be_one_is_one_line(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text("axes: {seed: [0]}")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = sorted(p.name for p in tmp_path.iterdir())
    code = main(["study", "g.yaml", "--out", out])
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len(err) == 1 and all(part in err[0] for part in OUTS[out]), err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["nowhere", "nowhere.yaml", ".", "/", "", "..", "a\0b", "x" * 300, "nbs", "{}",
    "%s"], ids=lambda n: repr(n[:10]))
def test_a_grid_that_is_not_there_is_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", name]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1 and err[0].startswith("mora: grid: got "), err
    assert not list(tmp_path.iterdir())


LABELS = ["../../../escaped", "..", ".", "a/../..", "/absolute", "a/b", "{seed}", "a\nb", "~", "-rf", "a b", "\u00e9",
    "CON", "%s", "a\\b"]


@pytest.mark.parametrize("label", LABELS, ids=repr)
def test_no_label_leads_out_of_the_study(label, tmp_path):
    grid = Grid("g", TRAIN, axes=dict(label=[label], seed=[0, 1]))
    out = tmp_path / "deep" / "runs"
    try:
        jobs = make_jobs(grid, grid_configs(grid), out)
    except ConfigError as error:
        assert error.field == "label"
    else:
        assert [job.folder.parent for job in jobs] == [out] * 2 and len({job.folder for job in jobs}) == 2
    assert not (tmp_path / "deep").exists()


def test_two_labels_never_share_a_folder(tmp_path):
    grid = Grid("g", TRAIN, axes=dict(label=["a/b", "a/../a/b", "a-b", "a_b", "a?b", "A-B"]))
    try:
        jobs = make_jobs(grid, grid_configs(grid), tmp_path)
    except ConfigError as error:
        assert error.field == "label"
    else:
        assert len({str(job.folder).lower() for job in jobs}) == 6


def test_what_is_legitimate_stays_so(tmp_path):
    (tmp_path / "recipe.yaml").write_text("max_steps: 2\nweighting_options: {mode: effective}\n")
    (tmp_path / "g.yaml").write_text(
        "config: recipe.yaml\nshared: {learning_rate: 1e-4}\naxes: {seed: [0, 1, 1]}\n"
        "blocks:\n  - {weighting: [hypervolume], preset: &p [balanced, [.5, .25, .25]]}\n  - "
        "{weighting: [hypervolume], label: [again], preset: *p}\n"
    )
    configs = grid_configs(read_grid(tmp_path / "g.yaml"))
    assert len(configs) == 8 and {c.max_steps for c in configs} == {2} and {c.learning_rate
        for c in configs} == {1e-4}
    assert grid_configs(Grid("g", TRAIN)) == [ExperimentConfig()]
    assert len(grid_configs(Grid("g", TRAIN), seeds=3)) == 3
    for wrong in (0, -1, MOST_RUNS + 1, 10**30, 1.5, "two", True):
        with pytest.raises(ConfigError, match="^seeds: got "):
            grid_configs(Grid("g", TRAIN), seeds=wrong)
