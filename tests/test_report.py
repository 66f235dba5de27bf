"""Reports of unusual results: a page that says what it leaves out, or one line; names are never HTML."""
import json
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import IPython.display
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import mora.study.plots
from mora.errors import ConfigError
from mora.study.results import METRIC_COLUMNS, demo_results, load_results, pool, study_objectives
from mora.study.claims import claim_pairs, claims_table
from mora.study.claim_tables import detail_table, headline_table, summary_table, table_to_html
from mora.study.cli import main
from mora.study.engines import read_notebook
from mora.study.pages import REPORT, check_study, left_out, make_report, output_html, render_page
from mora.study.run import ExperimentConfig, save_config

DEMO = demo_results(steps=10).where("preset=='balanced'")
ROWS = DEMO.metrics
RUN = "grpo-fixed-balanced-s0"
FIRST = DEMO.where(f"run=='{RUN}'")
REST = DEMO.where(f"run!='{RUN}'")
TESTED = ROWS.split != "train"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&$x$|![a](http://x/y.png)\n\\"


def kept(rows, results=DEMO):
    "The demo with some rows of its metrics."
    return replace(results, metrics=results.metrics[rows])


def changed(rows, value):
    "The demo with another value in some rows of its metrics."
    return replace(DEMO, metrics=ROWS.assign(value=ROWS.value.mask(rows, value)))


def declared(objectives, results=DEMO):
    "The demo with other objectives."
    return replace(results, runs=results.runs.assign(objectives=json.dumps(objectives)))


OBJECTIVES = json.loads(DEMO.runs.objectives.iloc[0])


def without(*names, results=DEMO):
    "The demo without some objectives."
    rows = ~results.metrics.name.map(lambda name: any(n in name for n in names))
    return declared([o for o in OBJECTIVES if o["name"] not in names], kept(rows, results))


def renamed(run, results=FIRST):
    "One run under another name."
    return replace(results, runs=results.runs.assign(run=run), metrics=results.metrics.assign(run=run))


def six():
    "Six objectives: two of the demo twice, one three times."
    more = {"accuracy": "accuracy-again", "clarity": "clarity-again"}
    rows = [ROWS, *(ROWS[ROWS.name == old].assign(name=new) for old, new in more.items()),
        ROWS[ROWS.name == "accuracy"].assign(name="third")]
    all_six = OBJECTIVES + [dict(name=name) for name in (*more.values(), "third")]
    return declared(all_six, replace(DEMO, metrics=pd.concat(rows, ignore_index=True)))


@pytest.fixture
def page(tmp_path):
    "Function of results: the text of their page."

    def draw(results):
        results.save(tmp_path / "r")
        return make_report(tmp_path / "r", tmp_path / "figures").read_text()

    return draw


@pytest.fixture
def undrawn(tmp_path, monkeypatch):
    "Function of results: what the report notebook shows of them, without figures: they take seconds."
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    monkeypatch.setattr(mora.study.plots,
        "study_figures", lambda *args: defaultdict(lambda: lambda: None))

    def draw(results):
        path = tmp_path / "r"
        results.save(path)
        check_study(load_results(path))
        names = {}
        for cell in read_notebook(REPORT).cells:
            if cell.cell_type == "code":
                exec(re.sub("^%.*$", "", cell.source, flags=re.M), names)
            if "parameters" in cell.metadata.get("tags", []):
                names["results"] = str(path)
        data = [{"text/html": o.data} if isinstance(o, IPython.display.HTML)
            else {"text/markdown": o.data} for o in shown]
        return "".join(output_html(dict(data=d)) for d in data)

    return draw


def in_cells(html):
    "The text of HTML, its elements apart."
    return re.sub(r"(\s*<[^>]+>\s*)+", "|", html)


CLARITY = TESTED & (ROWS.name == "clarity")
OTHER = replace(FIRST, runs=FIRST.runs.assign(run="other", label="other"),
    metrics=FIRST.metrics[FIRST.metrics.name != "clarity"].assign(run="other"))
NEVER = "finite value on the test problems: clarity."
SEVEN = "r|GRPO|3|3|1|10|3|"  # study, algorithm, methods, runs, seeds, steps, checkpoints
PAGES = {  # results -> what their page must say
    "never applied": (changed(CLARITY, np.nan), NEVER),
    "infinite everywhere": (changed(CLARITY, -np.inf), NEVER),
    "missing in one run": (
        changed(CLARITY & (ROWS.run == RUN), np.nan),
        f"Runs without a checkpoint that has all objectives: {RUN}.",
    ),
    "missing once": (
        changed(CLARITY & (ROWS.step == 5), np.inf),
        "Checkpoints without all objectives: 3",
    ),
    "one run": (FIRST, "r|GRPO|1|1|1|10|3|"),
    "one step": (kept(ROWS.step <= 5), "r|GRPO|3|3|1|5|2|"),
    "step 0 not measured": (kept(ROWS.step > 0), "r|GRPO|3|3|1|10|2|"),
    "no validation": (kept(ROWS.split != "validation"), SEVEN),
    "no training values": (changed(ROWS.split == "train", np.nan), SEVEN),
    "every row twice": (replace(DEMO, metrics=pd.concat([ROWS, ROWS])), SEVEN),
    "constant": (changed(TESTED, 0.5), SEVEN),
    "beyond its range": (changed(TESTED, 1e300), SEVEN),
    "two objectives": (without("clarity"), "|length (tokens)|less is better|0 to 80|"),
    "one objective": (without("clarity", "conciseness"),
    "|Declared range|accuracy (share)|more is better|0 to 1|"),
    "one length": (without("clarity", "accuracy"),
    "|Declared range|length (tokens)|less is better|0 to 80|"),
    "six objectives": (six(), "|accuracy-again|more is better|0 to 1|clarity-again|"),
    "runs of other objectives": (pool(DEMO, OTHER),
    "Runs without a checkpoint that has all objectives: other."),
}
ERRORS = {  # results -> what the one line must say
    "no rows": (kept(ROWS.step < 0), "a table with rows"),
    "no runs": (DEMO.where(DEMO.runs.seed < 0), "a table with rows"),
    "no objective": (declared([]), "no objective"),
    "nothing tested": (kept(ROWS.split == "train"), "accuracy, conciseness, clarity"),
    "nothing finite": (changed(TESTED, np.nan), "accuracy, conciseness, clarity"),
    "only step 0": (kept((ROWS.step == 0) | (ROWS.split == "train")), "after step 0 with all"),
    "nothing in common": (pool(without("clarity", results=FIRST), without("conciseness", results=REST)),
    f"{RUN} has no clarity"),
    "no preset": (replace(DEMO, runs=DEMO.runs.assign(preset=DEMO.runs.preset.mask(DEMO.runs.run == RUN))),
    f"a preset in every row; run {RUN}"),
    "no seed": (replace(DEMO, runs=DEMO.runs.assign(seed=DEMO.runs.seed.mask(DEMO.runs.run == RUN))),
    f"a seed in every row; run {RUN}"),
    "two runs of one setting": (pool(DEMO, renamed("again")), f"{RUN}, again"),
    "one name for two runs": (replace(DEMO, runs=pd.concat([DEMO.runs, FIRST.runs])), f"{RUN} has several"),
    "metrics without their run": (replace(DEMO, metrics=pd.concat([ROWS, renamed("lost").metrics])), "lost has none"),
    "no value": (replace(DEMO, metrics=ROWS.drop(columns="value")), "the columns value"),
    "texts for values": (replace(DEMO, metrics=ROWS.assign(value="x")), "numbers in the column value"),
    "numbers for names": (replace(DEMO, metrics=ROWS.assign(name=3)), "texts in the column name"),
    "objectives of another kind": (declared([1]), "objectives with name, direction"),
    "objectives as text": (declared("accuracy"), "objectives with name, direction"),
    "objectives with an unknown word": (declared([dict(name="accuracy", way="up")]),
    "objectives with name, direction"),
    "objectives without a range": (declared([dict(name="accuracy", range=[1, 1])]),
    "low < high"),
}


@pytest.mark.parametrize("case", PAGES)
def test_a_page_says_what_it_shows_and_leaves_out(case, undrawn):
    results, said = PAGES[case]
    assert said in in_cells(undrawn(results))


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_shown_is_one_line(case, page, tmp_path):
    results, said = ERRORS[case]
    with pytest.raises(ConfigError) as error:
        page(results)
    assert said in str(error.value) and "\n" not in str(error.value) and not (
        tmp_path / "figures").exists()


@pytest.mark.parametrize("case", ["never applied", "one objective", "six objectives"])
def test_their_figures_are_drawn(case, page, tmp_path):
    text = in_cells(page(PAGES[case][0]))
    names = {p.stem.removeprefix("r_") for p in (tmp_path / "figures").glob("*.png")}
    assert PAGES[case][1] in text and "hypervolume_runs" in names and (
        "pareto_fronts" in names) == (case != "one objective")


class Tags(HTMLParser):
    "The elements of a page with their attributes."

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def is_inert(text):
    "Whether HTML has no script, no picture or link from elsewhere and no event handler."
    tags = Tags(text).found
    sources = [a[n] for _, a in tags for n in ("src", "srcset", "href") if n in a]
    handlers = [name for _, a in tags for name in a if name.startswith("on")]
    foreign = [t for t, _ in tags if t in ("script", "iframe", "object", "link")]
    return not handlers and not foreign and all(s.startswith(("data:image/", "#")) for s in sources)


def hostile(column):
    "The demo with a hostile text in one place."
    if column == "objective":
        out = replace(DEMO, metrics=ROWS.assign(name=ROWS.name.str.replace("clarity", HOSTILE)))
        return declared([*OBJECTIVES[:2], dict(name=HOSTILE, label=HOSTILE)], out)
    if column == "run":
        return replace(DEMO, runs=DEMO.runs.assign(run=HOSTILE + DEMO.runs.run),
            metrics=ROWS.assign(run=HOSTILE + ROWS.run))
    return replace(DEMO, runs=DEMO.runs.assign(**{column: HOSTILE + DEMO.runs[column].fillna(DEMO.runs.weighting)}))


@pytest.mark.parametrize("column",
    ["label", "weighting", "preset", "run", "algorithm", "objective"])
def test_no_name_is_html(column, undrawn):
    text = undrawn(hostile(column))
    assert is_inert(text) and (column == "run" or "&lt;script&gt;" in text)


def test_no_name_spoils_a_page_with_its_figures(page):
    each = hostile("run")
    labels = HOSTILE + each.runs.weighting
    text = page(replace(each, runs=each.runs.assign(label=labels, preset=HOSTILE)))
    assert is_inert(text) and text.count("<figure>") == 9


def test_no_name_of_a_study_or_folder_is_html(tmp_path):
    path = tmp_path / "<script>alert(1)<"
    DEMO.save(path)
    text = make_report(path, tmp_path / "figures").read_text()
    assert is_inert(text) and "&lt;script&gt;" in text and str(tmp_path) not in text


def test_no_name_is_html_among_the_claims():
    table = claims_table(claim_pairs(demo_results(seeds=3, steps=10)))
    for column in ("method", "algorithm", "preset", "paper", "claim"):
        table[column] = HOSTILE + table[column]
    for each in (summary_table(table), summary_table(table, "preset"), detail_table(table)):
        assert is_inert(table_to_html(each))
    text = headline_table(table)
    assert "<" not in text and "![" not in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_nothing_in_a_notebook_is_more_than_text_and_pictures_on_its_page(tmp_path):
    said = [new_output("execute_result", data={kind: f"- **{HOSTILE}** [x](javascript:alert(3))"})
        for kind in ("text/markdown", "text/html", "text/plain", "image/svg+xml",
        "application/javascript")]  # fmt: skip
    drawn = new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    cells = [new_markdown_cell(f"# Seen {HOSTILE}\n\nA caption {HOSTILE}"),
        new_code_cell("", outputs=[*said, drawn])]
    text = render_page(new_notebook(cells=cells), tmp_path / "page.html").read_text()
    assert is_inert(text) and text.count("<img") == 1 and not re.findall("https?://(?!x/y.png)",
        text)


@pytest.mark.parametrize("file", ["runs.parquet", "metrics.parquet"])
@pytest.mark.parametrize("content",
    [b"", b"PAR1", b"not parquet", b"\xff\xfe\x00", b"PAR1" + b"\0" * 100 + b"PAR1"], ids=repr)
def test_a_file_that_is_no_parquet_is_one_line(content, file, tmp_path, capsys):
    DEMO.save(tmp_path / "r")
    (tmp_path / "r" / file).write_bytes(content)
    assert main(["report", str(tmp_path / "r"), "--figures", str(tmp_path / "figures")]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1 and str(tmp_path / "r") in err[0] and not (tmp_path / "figures").exists()


@pytest.mark.parametrize("source",
    ["nowhere", "nowhere.parquet", "empty", "a\0b", "x" * 300, "text.yaml"],
    ids=lambda s: repr(s[:10]))
def test_a_source_that_is_not_there_is_one_line(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.yaml").write_text("a: 1")
    assert main(["report", source]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1 and re.match("mora: (results|folder): got ", err[0]), err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "text.yaml"]


def test_a_folder_for_figures_that_cannot_be_one_is_one_line(tmp_path, capsys):
    DEMO.save(tmp_path / "r")
    assert main(["report", str(tmp_path / "r"), "--figures", str(tmp_path / "r" / "runs.parquet")]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1 and err[0].startswith("mora: figures: got ")


def test_where_it_was_looked_for_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(str(Path(tmp_path).resolve()))):
        make_report("data/quick")


@pytest.fixture
def runs(tmp_path):
    "The demo as the folder of a study."
    objectives = ([dict(name=n) for n in ("accuracy", "clarity")]
        + [dict(name="conciseness", direction="min", range=[0, 80], measure="length")])
    for run, weighting in DEMO.runs[["run", "weighting"]].itertuples(index=False):
        rows = ROWS[ROWS.run == run]
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        save_config(ExperimentConfig(weighting=weighting), folder, objectives=objectives)
        rows[METRIC_COLUMNS].drop(columns="run").to_parquet(folder / "metrics.parquet")
    return tmp_path / "runs"


def test_a_study_with_runs_that_are_not_finished_or_declare_other_ranges(runs):
    shutil.copytree(runs / RUN, runs / "half")
    (runs / "half" / "metrics.parquet").unlink()
    config = runs / RUN / "config.yaml"
    config.write_text(config.read_text().replace("- 80", "- 2048"))
    results = load_results(runs)
    said = " ".join(left_out(results, study_objectives(results)))
    assert "Unfinished runs: half." in said and "the first declaration is used: conciseness." in said
    assert len(results.runs) == 3 and len(load_results(runs / RUN).runs) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1", None], ids=repr)
def test_a_run_that_cannot_be_read_is_named(content, runs):
    file = runs / RUN / "metrics.parquet"
    file.write_bytes(file.read_bytes()[:-30] if content is None else content)
    try:
        results = load_results(runs)
        assert f"Unfinished runs: {RUN}." in left_out(results, study_objectives(results))
    except ConfigError as error:
        assert str(runs / RUN) in str(error) and "\n" not in str(error)
