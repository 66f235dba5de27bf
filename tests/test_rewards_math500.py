"All 500 MATH-500 reference solutions are right by both rules (where MORA_MATH500 names a folder with the data)."
import os
import random
from pathlib import Path

import pandas as pd
import pytest

from mora.answers import _formula, _read, _same_meaning, _value, equivalent
from mora.rewards import AccuracyReward, is_clear, last_boxed

EXCEPTIONS = {'paper': set(), 'robust': set()} # unique_id of solutions known to fail: none
ALIKE = [{r'\frac14', r'\frac{1}{4}'}, {r'2 \sqrt{5}', r'2\sqrt{5}'}, {'-2,1', '1,-2'}] # that mean the same

@pytest.fixture(scope='module')
def math500():
    folder = os.environ.get('MORA_MATH500')
    files = sorted(Path(folder).rglob('*.parquet')) if folder else []
    if not files: pytest.skip('MORA_MATH500 does not name a folder with the MATH-500 parquet files')
    data = pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)
    if 'answer' not in data: data['answer'] = [r['ground_truth'] for r in data.reward_model] # verl's layout
    return data

@pytest.fixture(scope='module')
def answers(math500): return sorted(set(math500.answer))

def wrong(data, scores): return set(data.unique_id[[s!=1 for s in scores]])

def test_complete(math500):
    assert len(math500)==500 and math500.unique_id.is_unique

@pytest.mark.parametrize('rule', ['paper', 'robust'])
def test_own_answers(math500, rule):
    assert wrong(math500, AccuracyReward(rule)(list(math500.solution), answer=list(math500.answer)))==EXCEPTIONS[rule]

def test_every_formula_has_a_value(answers):
    "What is given to math-verify's parser is read by it, and equal to itself by value."
    formulas = [a for a in answers if _formula(_read(a))]
    assert len(formulas)>200 and not [a for a in formulas if _value(_read(a)) is None
        or not _same_meaning(a, f'0+{a}')]

def test_different_answers_are_different(answers):
    "3000 pairs of the answers that are not whole numbers, and of their neighbours by spelling."
    longer = [a for a in answers if not a.lstrip('-').isdigit()]
    pairs = list(zip(longer, longer[1:])) + [random.Random(0).sample(longer, 2) for _ in range(3000)]
    assert not [p for p in pairs if set(p) not in ALIKE and (equivalent(*p) or equivalent(*p[::-1]))]
    assert all(equivalent(*pair) and equivalent(*reversed([*pair])) for pair in ALIKE)

@pytest.mark.parametrize('rule', ['paper', 'robust'])
def test_answers_of_another_problem(math500, rule):
    "Right only where the next problem happens to have the same answer."
    answers = list(math500.answer)
    others = answers[1:] + answers[:1]
    scores = AccuracyReward(rule)(list(math500.solution), answer=others)
    assert [s==1 for s in scores]==[a==b for a,b in zip(answers, others, strict=True)]

def test_clarity_of_human_solutions(math500):
    "All are boxed; 302 also pass as clear, the same ones as by the reference's own code."
    assert all(map(last_boxed, math500.solution))
    assert sum(map(is_clear, math500.solution))==302
