"""The script in the README runs, before and after its three lines are changed."""
import json
import re
from pathlib import Path

import pytest
import torch
import transformers

from mora.study.policies import make_policy, make_tokenizer
from mora.study.tasks import load_task

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
DIFF = re.search(r"```diff\n(.*?)```", README, re.S)[1].splitlines()


def script(side):
    "The lines of one side of the diff."
    return "\n".join(line[1:] for line in DIFF if line[:1] in (" ", side, ""))


def test_three_lines_change():
    assert [line[:1] for line in DIFF].count("+") == 3


@pytest.mark.parametrize("side", ["-", "+"], ids=["stock TRL", "mora"])
def test_the_script_runs(side, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    make_policy(tokenizer, seed=0).save_pretrained("my-model")
    tokenizer.save_pretrained("my-model")
    rows = load_task("embedded", train_size=64, validation_size=2, test_size=2).train
    Path("problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # what a machine without a GPU needs, said outside the script
    small = dict(bf16=False, gradient_checkpointing=False, use_cpu=True, report_to="none", save_strategy="no")
    text = script(side).replace("max_steps=10", "max_steps=1, " + ", ".join(f"{k}={v!r}" for k, v in small.items()))
    names = {}
    exec(compile(text, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 1
    assert isinstance(names["trainer"].model, transformers.PreTrainedModel)


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)
    assert len(links) > 10 and not [link for link in links if not (ROOT / link).exists()]
