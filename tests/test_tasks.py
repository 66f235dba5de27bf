"""Data sets as users have them: values that arrive unchanged, and what is refused in one line."""
import json
import os
import socket
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from unittest.mock import patch

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from mora.study import tables
from mora.errors import ConfigError
from mora.rewards import AccuracyReward
from mora.study.tasks import TAKEN, load_dataset_task, load_task, table_task, task_source

ROWS = [dict(prompt=f"q{i}", answer=str(i)) for i in range(10)]
USER = dict(role="user", content="hi")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "A folder of its own, and no network."

    def refuse(*args, **kwargs):
        raise AssertionError("looked at the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(tables, "hub", refuse)
    return tmp_path


def rows_with(**columns):
    return [row | columns for row in ROWS]


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def refused(call):
    "The one line that a call is refused with."
    with pytest.raises(ConfigError) as e:
        call()
    assert len(str(e.value).splitlines()) == 1
    return str(e.value)


def all_of(task, column):
    return [value for split in (task.train, task.validation, task.test) for value in split[column][:]]


# ---------------------------------------------------------------- values
WRITTEN = ["5", "5.0", "0.6", "0.10", "-0.0", "1E5", "1e-7", "1e400", "0.1000000000000000055"]
WRITTEN += ["9007199254740993", "12345678901234567890123", "true"]


@pytest.mark.parametrize("beside", ["null", '"text"', "7", "0.5", "[8]"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_answers_are_as_written_whatever_is_beside_them(name, beside, here):
    lines = [f'{{"prompt": "q{i}", "answer": {text}}}' for i, text in enumerate([*WRITTEN, beside])]
    (here / name).write_text("\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]")
    task = load_dataset_task(name)
    found = dict(zip(all_of(task, "prompt"), all_of(task, "answer"), strict=True))
    assert [found[f"q{i}"] for i in range(len(WRITTEN))] == WRITTEN
    assert found[f"q{len(WRITTEN)}"] == {"null": None}.get(beside, beside.strip('"[]'))


CELLS = ["0042", "5.0", "0.6", "1e400", "12345678901234567890123", "None", "NA", "nan", "true", " 7 ", "2024-01-31"]


@pytest.mark.parametrize("text", [*CELLS, "a\nb", 'say "5"'])
def test_csv_cells_are_texts_as_written(text, here):
    cell = '"' + text.replace('"', '""') + '"'
    (here / "a.csv").write_text("prompt,answer\n" + f"q,{cell}\n" * 5 + "q,\n")
    assert set(all_of(load_dataset_task("a.csv"), "answer")) == {text, None}


ARROW = {
    "whole numbers": (pa.array([5, None]), "5"),
    "unsigned": (pa.array([2**64 - 1, None], pa.uint64()), str(2**64 - 1)),
    "double": (pa.array([0.6, None]), "0.6"),
    "single": (pa.array([0.6, None], pa.float32()), "0.6"),
    "half": (pa.array(np.array([0.6, 0.6], np.float16)), "0.6"),
    "decimal": (pa.array([Decimal("1.50"), None]), "1.50"),
    "long decimal": (pa.array([Decimal("1" * 50), None], pa.decimal256(60, 0)), "1" * 50),
    "date": (pa.array([date(2024, 1, 31), None]), "2024-01-31"),
    "time stamp": (pa.array([datetime(2024, 1, 31, 12), None]), "2024-01-31 12:00:00"),
    "boolean": (pa.array([True, None]), "true"),
    "categories": (pa.array(["a", None]).dictionary_encode(), "a"),
    "large text": (pa.array(["007", None], pa.large_string()), "007"),
    "list of one": (pa.array([[5], None]), "5"),
    "message": (pa.array([[dict(role="assistant", content="42")], None]), "42"),
}


@pytest.mark.parametrize("kind", ARROW)
def test_parquet_answers(kind, here):
    values, text = ARROW[kind]
    pq.write_table(pa.table(dict(prompt=["q"] * 6, answer=pa.concat_arrays([values] * 3))), here / "a.parquet")
    assert set(all_of(load_dataset_task("a.parquet"), "answer")) - {None} == {text}


PANDAS = [([5, None], {"5", None}), ([5.0, 5.5, None], {"5.0", "5.5", None}), ([5.0, 6.0], {"5.0", "6.0"})]


@pytest.mark.parametrize("values, texts", PANDAS)
def test_whole_numbers_that_pandas_made_floats(values, texts, here):
    pd.DataFrame(dict(prompt=["q"] * 12, answer=values * (12 // len(values)))).to_parquet("a.parquet")
    assert set(all_of(load_dataset_task("a.parquet"), "answer")) == texts


def test_a_number_that_is_right_earns_its_reward(here):
    task = load_dataset_task(jsonl(here / "a.jsonl",
        [dict(prompt="q", answer=5)] * 9 + [dict(prompt="q", answer=None)]))
    answers = all_of(task, "answer")
    assert AccuracyReward()([r"\boxed{5}"] * 10, answer=answers).count(1.0) == 9


def test_a_blank_answer_is_none_and_no_free_point(here):
    assert set(all_of(load_dataset_task(jsonl(here / "a.jsonl", rows_with(answer=" "))), "answer")) == {None}


OTHERS = dict(
    number=7, fraction=1 / 3, big=2**70, flag=True, text="7", nothing=None, tags=["a", "b"],
    mixed_list=[1, "1", None, 2.5],
    nested=dict(level=3, source=dict(id=[1, 2])), surrogate="\ud800",
)  # fmt: skip


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_other_columns_keep_their_values(name, here):
    rows = [ROWS[i] | dict(other=value, i=i) for i, value in enumerate(OTHERS.values())]
    (here / name).write_text(json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows)))
    for task in (load_dataset_task(name, seed=3), load_dataset_task(name, seed=3, train_size=6)):
        found = dict(zip(all_of(task, "i"), all_of(task, "other"), strict=True))
        assert all(repr(found[i]) == repr(value) for i, value in enumerate(OTHERS.values()))


def test_parquet_columns_keep_their_types(here):
    others = dict(day=[date(2024, 1, 31)] * 5, small=pa.array([1] * 5, pa.int8()), meta=[dict(a=[1, None])] * 5)
    pq.write_table(pa.table(dict(prompt=["q"] * 5, answer=["1"] * 5) | others), here / "a.parquet")
    row = load_dataset_task("a.parquet").train[0]
    assert (row["day"], row["small"], row["meta"]) == (date(2024, 1, 31), 1, dict(a=[1, None]))


# ---------------------------------------------------------------- messages
TURNS = {
    "one user": [USER],
    "system": [dict(role="system", content="Count."), USER],
    "developer": [dict(role="developer", content="Count."), USER],
    "turns": [USER, dict(role="assistant", content="a"), dict(role="user", content="b")],
    "named": [dict(role="user", content="hi", name="Eva")],
    "tool": [
        USER,
        dict(role="assistant", content="", tool_calls=[dict(function=dict(name="f", arguments=dict(x=1)))]),
        dict(role="tool", content="2", name="f"),
    ],
    "text that is a number": [dict(role="user", content="7")],
}


@pytest.mark.parametrize("beside", TURNS)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet"])
def test_messages_stay_messages(name, beside, here):
    chats = [TURNS["one user"], TURNS[beside], TURNS["system"]]
    rows = [dict(prompt=chats[i % 3], answer=i) for i in range(9)]
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), here / name)
    else:
        (here / name).write_text(json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows)))
    task = load_dataset_task(name)
    assert all(chats[int(a) % 3] == p for p, a in zip(all_of(task, "prompt"), all_of(task, "answer"), strict=True))


def test_messages_of_a_nested_column(here):
    rows = [dict(data=dict(chat=TURNS["turns"], truth=dict(value=i))) for i in range(5)]
    task = load_dataset_task(jsonl(here / "a.jsonl", rows), "data.chat", "data.truth.value")
    assert task.train["prompt"][0] == TURNS["turns"] and set(all_of(task, "answer")) == set("01234")


NO_PROMPTS = {  # a value of the column -> what the line says of its row
    "number": (7, "the number 7"),
    "fraction": (1.5, "the number 1.5"),
    "boolean": (True, "true or false"),
    "null": (None, "no value"),
    "empty": ("", "an empty text"),
    "blank": (" \t\n", "an empty text"),
    "empty list": ([], "an empty list"),
    "texts": (["a", "b"], "a text instead of a message"),
    "nulls": ([None], "no value instead of a message"),
    "message alone": (USER, "a mapping of role, content"),
    "nested": ([[USER]], "a list instead of a message"),
    "no role": ([dict(content="x")], "a message without a role"),
    "no content": ([dict(role="user")], "a message without content"),
    "null content": ([USER, dict(role="user", content=None)], "a message without content"),
    "blank content": ([dict(role="user", content=" ")], "an empty last message"),
    "no parts": ([dict(role="user", content=[])], "an empty last message"),
    "number as content": ([dict(role="user", content=5)], "a message with the number 5 as content"),
    "image": ([dict(role="user", content=[dict(type="image", image="x.png")])],
    "a message with content that is not text"),
    "unknown role": ([dict(role="human", content="x")], "a message of role 'human'"),
    "list as role": ([dict(role=["user"], content="x")], "a message of role ['user']"),
    "from and value": ([{"from": "human", "value": "x"}], "a message without a role"),
    "ends in the answer": ([USER, dict(role="assistant", content="5")], "a last message of the assistant"),
    "Python text": (str([USER]), "messages written out as a text"),
    "JSON text": (json.dumps([USER]), "messages written out as a text"),
    "JSON message": (json.dumps(USER), "messages written out as a text"),
}


@pytest.mark.parametrize("kind", NO_PROMPTS)
def test_what_is_not_a_prompt_is_refused_with_column_and_row(kind, here):
    value, said = NO_PROMPTS[kind]
    good = [USER] if isinstance(value, list) else "q"
    rows = ([dict(question=good, answer="1")] * 3 + [dict(question=value, answer="1")]
        + [dict(question=good, answer="1")] * 3)
    line = refused(lambda: load_dataset_task(jsonl(here / "a.jsonl", rows), "question"))
    assert line.startswith("prompt_column: got 'question', expected ") and f"row 4 has {said}" in line


def test_texts_and_messages_in_one_column(here):
    line = refused(lambda: load_dataset_task(jsonl(here / "a.jsonl", ROWS + [dict(prompt=[USER], answer="1")])))
    assert "only texts or only lists of messages; row 1 has a text, row 11 a list" in line


NO_ANSWERS = {"mapping": dict(a=1), "two": ["a", "b"], "none": [], "nested": [[1]], "user": [USER],
    "mappings": [dict(a=1)]}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_not_an_answer_is_refused(kind, here):
    line = refused(lambda: load_dataset_task(jsonl(here / "a.jsonl",
        [*ROWS, dict(prompt="q", answer=NO_ANSWERS[kind])])))
    assert line.startswith("answer_column: got 'answer', expected a text, a number") and "row 11 has a " in line


# ---------------------------------------------------------------- files
def parquet(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


GOOD = parquet(pa.table(dict(prompt=["q"] * 5, answer=["1"] * 5)))
NO_ROWS = parquet(pa.table(dict(prompt=pa.array([], pa.string()), answer=pa.array([], pa.string()))))
TWICE = parquet(pa.Table.from_arrays([pa.array(["q"])] * 2, ["prompt", "prompt"]))
MAP = parquet(pa.table(dict(prompt=["q"], answer=pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())))))
FILES = {  # name: (content, part of the line)
    "header.csv": (b"prompt,answer\n", "at least 3 rows, to be divided into train, validation and test; it has 0"),
    "two.csv": (b"prompt,answer\nq,1\nr,2\n",
    "at least 3 rows, to be divided into train, validation and test; it has 2"),
    "one.json": (b'[{"prompt": "q", "answer": 1}]', "it has 1"),
    "rows.parquet": (NO_ROWS, "it has 0"),
    "empty.csv": (b"", "a readable csv file (it is empty)"),
    "empty.json": (b"", "a readable json file (it is empty)"),
    "empty.jsonl": (b"", "a readable jsonl file (it is empty)"),
    "empty.parquet": (b"", "a readable parquet file (it is empty)"),
    "blank.csv": (b"\n\n", "it has no header"),
    "blank.jsonl": (b"\n \n", "it has no columns"),
    "blank.json": (b" \n", "line 2, column 1: Expecting value"),
    "no_columns.json": (b"[{}, {}, {}]", "it has no columns"),
    "nothing.json": (b"[]", "it has no columns"),
    "no_columns.parquet": (parquet(pa.table({})), "it has no columns"),
    "binary.csv": (bytes(range(256)), "line 1 is not text: it has a zero byte"),
    "binary.json": (b"\xff\xfe\x00\x01", "line 1 is not UTF-8 text: byte 0xff"),
    "binary.jsonl": (b"{}\n\x80\x81\n", "line 2 is not UTF-8 text: byte 0x80"),
    "binary.parquet": (b"\x80" * 500, "a readable parquet file ("),
    "cut.parquet": (GOOD[:-40], "a readable parquet file ("),
    "zeros.csv": (bytes(500), "line 1 is not text: it has a zero byte"),
    "utf16.csv": ("prompt,answer\nq,1\n".encode("utf-16"), "line 1 is not UTF-8 text"),
    "latin.csv": ("prompt,answer\nq,1\ncafé,2\n".encode("latin-1"), "line 3 is not UTF-8 text: byte 0xe9"),
    "latin.jsonl": ('{"prompt": "q"}\n{"prompt": "café"}'.encode("latin-1"), "line 2 is not UTF-8 text: byte 0xe9"),
    "twice.csv": (b"prompt,answer,answer\nq,1,2\n", "two columns are named 'answer'"),
    "twice.json": (b'[{"prompt": "q", "answer": 1, "answer": 2}]', "the key 'answer' occurs twice"),
    "twice.jsonl": (b'{"prompt": "q"}\n{"prompt": "q", "prompt": "r"}', "line 2: the key 'prompt' occurs twice"),
    "twice.parquet": (TWICE, "two columns are named 'prompt'"),
    "more.csv": (b"prompt,answer\nq,1\nq,2,3\n", "line 3 has 3 values, the header has 2"),
    "fewer.csv": (b"prompt,answer\nq,1\nq\n", "line 3 has 1 values, the header has 2"),
    "quote.csv": (b'prompt,answer\n"q,1\nq,2\n', "line 3: unexpected end of data"),
    "mac.csv": (b"prompt,answer\rq,1\r", "line 1: new-line character"),
    "semicolon.csv": (b"prompt;answer\nq;1\n", "one of the columns prompt;answer"),
    "broken.jsonl": (b'{"prompt": "q"}\n{"prompt": "q"\n', "line 2, column "),
    "comma.json": (b'[{"prompt": "q"},\n]', "line 2, column 1"),
    "python.json": (b"[{'prompt': 'q'}]", "line 1, column 3"),
    "scalar.json": (b"5", "it holds the number 5, not a list of objects"),
    "null.json": (b"null", "it holds no value, not a list of objects"),
    "text.json": (b'"hello"', "it holds a text, not a list of objects"),
    "one_object.json": (b'{"prompt": "q", "answer": 1}', "it holds a mapping of prompt, answer"),
    "uneven.json": (b'{"prompt": ["q", "r"], "answer": [1]}', "it holds a mapping of prompt, answer"),
    "scalars.json": (b'[{"prompt": "q"}, 5]', "row 2 is the number 5, not an object"),
    "scalars.jsonl": (b'{"prompt": "q"}\n[1]', "line 2 is a list, not an object"),
    "deep.json": (b"[" * 100000, "values are nested too deeply"),
    "deep.jsonl": (b'{"a":' * 100000, "line 1: values are nested too deeply"),
    "digits.jsonl": (b'{"prompt": "q", "answer": ' + b"9" * 5000 + b"}", "line 1: Exceeds the limit (4300 digits)"),
    "map.parquet": (MAP, "a readable parquet file ("),
    "table.tsv": (b"prompt\tanswer\n", "a file ending in .csv, .parquet, .json, .jsonl"),
    "table.csv.gz": (b"\x1f\x8b", "a file ending in .csv, .parquet, .json, .jsonl"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used(name, here):
    content, said = FILES[name]
    (here / name).write_bytes(content)
    line = refused(lambda: load_dataset_task(name))
    assert said in line and ("columns" in line or line.startswith(f"task: got '{name}'"))


USABLE = {
    "bom.csv": b"\xef\xbb\xbfprompt,answer\n" + b"q,1\n" * 5,
    "bom.json": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "UPPER.CSV": b"prompt,answer\n" + b"q,1\n" * 5,
    "windows.csv": b"prompt,answer\r\n" + b'"q\r\nr",1\r\n' * 5,
    "long.csv": b"prompt,answer\n" + (b"x" * 300_000 + b",1\n") * 3,
    "lines.json": "\n".join(map(json.dumps, ROWS)).encode(),
    "columns.json": json.dumps(dict(prompt=["q"] * 5, answer=[1] * 5)).encode(),
    "pandas.json": pd.DataFrame(ROWS).to_json().encode(),
    "separators.jsonl": b'{"prompt": "a\xe2\x80\xa8b", "answer": 1}\r\n' * 5,
}


@pytest.mark.parametrize("name", USABLE)
def test_a_file_that_can_be_used(name, here):
    (here / name).write_bytes(USABLE[name])
    task = load_dataset_task(name)
    assert len(task.train) >= 1 and set(task.train.column_names) == {"prompt", "answer"}


def test_what_is_no_regular_file_is_refused_at_once(here):
    os.mkfifo("pipe.csv")
    (here / "folder.csv").mkdir()
    for name, target in dict(dangling="nowhere", loop="loop.csv", zero="/dev/zero", null="/dev/null").items():
        os.symlink(target, f"{name}.csv")
    for name in ("pipe.csv", "zero.csv", "null.csv"):
        assert "it is not a regular file" in refused(lambda name=name: load_dataset_task(name))
    for name in ("dangling.csv", "loop.csv"):
        assert "this is a link to nothing" in refused(lambda name=name: load_dataset_task(name))
    assert "a folder with files ending in" in refused(lambda: load_dataset_task("folder.csv"))
    assert "a file ending in" in refused(lambda: load_dataset_task("/dev/zero"))


def test_a_file_or_folder_that_may_not_be_read(here):
    jsonl(here / "a.jsonl", ROWS)
    with patch("builtins.open", side_effect=PermissionError(13, "Permission denied")):
        assert "a readable jsonl file (Permission denied)" in refused(lambda: load_dataset_task("a.jsonl"))
    with patch("pathlib.Path.iterdir", side_effect=PermissionError(13, "Permission denied")):
        assert "a folder that can be read (Permission denied)" in refused(lambda: load_dataset_task(here))


SPLITS = {  # names of files -> rows; part of the line
    "unknown names": (dict(one=ROWS, two=ROWS), "files named train, validation and test; it has one.jsonl"),
    "a typing error": (dict(train=ROWS, vaildation=ROWS, test=ROWS), "it has vaildation.jsonl"),
    "only validation": (dict(validation=ROWS), "or a single one; it has validation"),
    "no test": (dict(train=ROWS, validation=ROWS), "it has train, validation"),
    "one test row": (dict(train=ROWS, test=ROWS[:1]), "2 or more rows in test, half of which validate; it has 1"),
    "more columns": (dict(train=rows_with(x=1), test=ROWS),
    "the same columns in every split; x is not in validation"),
    "fewer columns": (dict(train=ROWS, test=rows_with(x=1)), "the same columns in every split; x is not in train"),
    "another column": (dict(train=ROWS, test=[dict(question="q")] * 5), "one of the columns question (split test)"),
    "a bad row": (dict(train=ROWS, test=[*ROWS, dict(prompt=5, answer="1")]), "row 11 has the number 5 (split test)"),
    "texts and messages": (dict(train=ROWS, test=rows_with(prompt=[USER])),
    "only texts or only messages as prompts; train"),
    "two files": ({"train-a": ROWS, "train-b": ROWS, "test": ROWS}, "one file per split"),
    "two names": (dict(train=ROWS, val=ROWS, valid=ROWS, test=ROWS), "it has val.jsonl, valid.jsonl"),
    "a part is missing": ({"train-00001-of-00002": ROWS, "test": ROWS}, "all its parts train-00000-of-00002"),
    "parts differ": (
        {"train-00000-of-00002": ROWS, "train-00001-of-00002": rows_with(x=1), "test": ROWS},
        "its parts have different columns",
    ),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_a_folder_that_cannot_be_used(kind, here):
    files, said = SPLITS[kind]
    for name, rows in files.items():
        jsonl(here / "data" / f"{name}.jsonl", rows)
    assert said in refused(lambda: load_dataset_task("data"))


def test_folders(here):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "dev", "test"):
        jsonl(here / "parts" / f"{name}.jsonl", ROWS)
    (here / "parts" / ".train.jsonl.part").write_text("broken")
    (here / "parts" / "README.md").write_text("hello")
    task = load_dataset_task("parts")
    assert [len(s) for s in (task.train, task.validation, task.test)] == [20, 10, 10]
    jsonl(here / "alone" / "test.jsonl", ROWS)  # as MATH-500 has it
    assert len(load_dataset_task("alone").train) == 6
    (here / "embedded").mkdir()  # a folder that is named like a task
    assert task_source("embedded") == "embedded"
    Dataset.from_list(ROWS).save_to_disk("saved")
    assert "save_to_disk wrote this one" in refused(lambda: load_dataset_task("saved"))
    os.mkfifo(here / "parts" / "validation.csv")
    assert "one file per split" in refused(lambda: load_dataset_task("parts"))


# ---------------------------------------------------------------- columns and names
@pytest.mark.parametrize("name", TAKEN)
def test_a_column_that_trl_uses_itself(name, here):
    file = jsonl(here / "a.jsonl", rows_with(**{name: 1}))
    assert f"no column named {name}:" in refused(lambda: load_dataset_task(file))
    renamed = load_dataset_task(jsonl(here / "b.jsonl", [{name: row["prompt"], "answer": "1"} for row in ROWS]), name)
    assert set(renamed.train.column_names) == {"prompt", "answer"}


@pytest.mark.parametrize("name", [None, 5, "", "question", "prompt.text", "meta.level.deep", "meta.", ["prompt"],
    "Prompt"])
def test_a_prompt_column_that_is_not_there(name, here):
    file = jsonl(here / "a.jsonl", rows_with(meta=dict(level=1)))
    assert refused(lambda: load_dataset_task(file, name)).startswith("prompt_column: got ")


SOURCES = {  # a name -> part of the line; none of them may look at the network
    "": "a path, or a name",
    " ": "a path, or a name",
    None: "a path, or a name",
    5: "a path, or a name",
    b"sums.csv": "a path, or a name",
    "smus.csv": "a file or folder that exists; did you mean sums.csv?",
    "./sums.cvs": "a file or folder that exists; did you mean sums.csv?",
    "data/sums.csv": "there is no folder data",
    "data/sums.jsonl": "there is no folder data",
    "owner/name.parquet": "there is no folder owner",
    "./owner/name": "there is no folder owner",
    "../nowhere/name": "there is no folder ../nowhere",
    "/nowhere/name": "there is no folder /nowhere",
    "~/no-such-file": "a file or folder that exists",
    "~nobody-here/data": "a path that can be read",
    "notes.txt": "a file or folder that exists",
    "sums.csv.gz": "a file or folder that exists",
    "gsm8k": "a file, a folder, or a hub id",
    "a/b/c": "a file, a folder, or a hub id",
    "own--er/name": "a file, a folder, or a hub id",
    "https://huggingface.co/owner/name": "a file, a folder, or a hub id",
    "sums\0.csv": "a file or folder that exists",
    "x" * 5000: "a path that can be read (File name too long)",
}


@pytest.mark.parametrize("name", SOURCES, ids=lambda n: repr(n)[:30])
def test_a_name_that_is_nothing(name, here):
    (here / "sums.csv").touch()
    assert SOURCES[name] in refused(lambda: load_dataset_task(name))
    assert SOURCES[name].removeprefix("a file, ") in refused(lambda: task_source(name))


def test_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    jsonl(here / "a.jsonl", ROWS)
    assert len(load_dataset_task("~/a.jsonl").train) == 6
    monkeypatch.setenv("MORA_MATH500", "~/a.jsonl")
    assert "reward_model.ground_truth" in refused(lambda: load_task("math500"))
    monkeypatch.setenv("MORA_MATH500", "~/b.jsonl")
    assert refused(lambda: load_task("math500")).startswith(
        "MORA_MATH500: got '~/b.jsonl', expected a file or folder")
    (here / "b.jsonl").write_text("{")
    assert refused(lambda: load_task("math500")).startswith(
        f"MORA_MATH500: got '{here}/b.jsonl', expected a readable")


# ---------------------------------------------------------------- the hub
@pytest.fixture
def on_hub(monkeypatch):
    "Puts a data set on a hub that always answers."

    @contextmanager
    def answers():
        yield True

    monkeypatch.setattr(tables, "hub", answers)

    def put(**splits):
        monkeypatch.setattr(datasets, "load_dataset", lambda *_: DatasetDict(splits))
        return "owner/name"

    return put


def test_hub_features_are_kept(on_hub):
    kinds = dict(prompt=Value("string"), answer=Value("int32"), topic=ClassLabel(names=["a", "b"]),
        score=Value("float32"))
    features = Features(kinds)
    rows = dict(prompt=["q"] * 6, answer=[5, None] * 3, topic=[0, 1] * 3, score=[0.6] * 6)
    data = Dataset.from_dict(rows, features=features)
    task = load_dataset_task(on_hub(train=data, dev=data, test=data, unsupervised=data.remove_columns("answer")))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [6, 6, 6]
    assert set(task.train["answer"][:]) == {"5", None} and task.train.features["topic"] == features["topic"]
    assert set(load_dataset_task(on_hub(train=data), answer_column="score").train["answer"][:]) == {"0.6"}


@pytest.mark.parametrize("mixed", [None, "use_json"])
def test_hub_messages(mixed, on_hub):
    chats = [TURNS["one user"], TURNS["named"], TURNS["system"]]
    data = Dataset.from_dict(dict(prompt=chats * 3, answer=list(range(9))), on_mixed_types=mixed)
    task = load_dataset_task(on_hub(train=data))
    assert all(chats[int(a) % 3] == p for p, a in zip(all_of(task, "prompt"), all_of(task, "answer"), strict=True))


def test_hub_splits(on_hub):
    data = Dataset.from_list(ROWS)
    assert "it has train_sft, test_sft" in refused(lambda: load_dataset_task(on_hub(train_sft=data, test_sft=data)))
    name = on_hub(train=data, validation=data.select([]), test=data)
    assert "1 or more rows in validation; it has 0" in refused(lambda: load_dataset_task(name))


def test_hub_is_not_asked_when_it_is_switched_off(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with patch("huggingface_hub.get_session", side_effect=AssertionError) as session, tables.hub() as online:
        assert online is False and not session.called


# ---------------------------------------------------------------- sizes and seeds
@pytest.mark.parametrize("size", [0, -1, 2.5, "5", True, float("nan"), float("inf"), [3]])
@pytest.mark.parametrize("name", ["train_size", "validation_size", "test_size"])
def test_sizes(name, size, here):
    file = jsonl(here / "a.jsonl", ROWS)
    said = f"{name}: got {size!r}, expected a whole number "
    assert refused(lambda: load_dataset_task(file, **{name: size})) == said + "of at least 1"
    said += "of at least 1 and at most 10,000,000"
    assert refused(lambda: load_task("embedded", **{name: size})) == said


def test_sizes_beyond_what_is_there(here):
    file = jsonl(here / "a.jsonl", ROWS)
    task = load_dataset_task(file, train_size=10**30, validation_size=10**6, test_size=np.int64(1))
    assert [len(s) for s in (task.train, task.validation, task.test)] == [6, 2, 1]
    assert "train_size: got 1000000" in refused(lambda: load_task("embedded", train_size=10**30))


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 1.5, "a", True])
def test_seeds(seed, here):
    file = jsonl(here / "a.jsonl", ROWS)
    said = f"seed: got {seed!r}, expected a whole number of at least 0 and at most 4,294,967,295"
    assert refused(lambda: load_dataset_task(file, seed=seed)) == refused(
        lambda: load_task("embedded", seed=seed)) == said
    assert refused(lambda: table_task("mine", {}, None, seed=seed)) == said
    assert len(load_dataset_task(file, seed=2**32 - 1).train) == 6
