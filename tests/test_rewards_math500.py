"All 500 solutions of MATH-500 are right by both rules. MORA_MATH500 names a folder with the data."
import os
import random
from pathlib import Path

import pandas as pd
import pytest

from mora.answers import _formula, _read, _same_meaning, _value, equivalent
from mora.rewards import AccuracyReward, is_clear, last_boxed

EXCEPTIONS = {'paper': set(), 'robust': set()} # unique_id of solutions known to fail: none
# pairs that mean the same
ALIKE = [{r'\frac14', r'\frac{1}{4}'}, {r'2 \sqrt{5}', r'2\sqrt{5}'}, {'-2,1', '1,-2'}]

@pytest.fixture(scope='module')
def math500():
    folder = os.environ.get('MORA_MATH500')
    files = sorted(Path(folder).rglob('*.parquet')) if folder else []
    if not files: pytest.skip('MORA_MATH500 does not name a folder with the MATH-500 parquet files')
    data = pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)
    if 'answer' not in data: # verl's layout
        data['answer'] = [r['ground_truth'] for r in data.reward_model]
    return data

@pytest.fixture(scope='module')
def answers(math500): return sorted(set(math500.answer))

def wrong(data, scores): return set(data.unique_id[[s!=1 for s in scores]])

def test_complete(math500):
    assert len(math500)==500 and math500.unique_id.is_unique

@pytest.mark.parametrize('rule', ['paper', 'robust'])
def test_own_answers(math500, rule):
    scores = AccuracyReward(rule)(list(math500.solution), answer=list(math500.answer))
    assert wrong(math500, scores)==EXCEPTIONS[rule]

def test_every_formula_has_a_value(answers):
    "math-verify's parser reads every formula that it gets, and every formula equals itself by value."
    formulas = [a for a in answers if _formula(_read(a))]
    assert len(formulas)>200 and not [a for a in formulas if _value(_read(a)) is None
        or not _same_meaning(a, f'0+{a}')]

def test_different_answers_are_different(answers):
    "3000 random pairs and all neighbours by spelling, of the answers that are not whole numbers."
    longer = [a for a in answers if not a.lstrip('-').isdigit()]
    pairs = list(zip(longer, longer[1:])) + [random.Random(0).sample(longer, 2) for _ in range(3000)]
    found = [p for p in pairs if equivalent(*p) or equivalent(*p[::-1])]
    assert not [p for p in found if set(p) not in ALIKE]
    assert all(equivalent(*pair) and equivalent(*reversed([*pair])) for pair in ALIKE)

@pytest.mark.parametrize('rule', ['paper', 'robust'])
def test_answers_of_another_problem(math500, rule):
    "The answer of another problem is right only if both problems have the same answer."
    answers = list(math500.answer)
    others = answers[1:] + answers[:1]
    scores = AccuracyReward(rule)(list(math500.solution), answer=others)
    assert [s==1 for s in scores]==[a==b for a,b in zip(answers, others, strict=True)]

def test_clarity_of_human_solutions(math500):
    "All solutions are boxed, and 302 are clear, the same ones as by the authors' code."
    assert all(map(last_boxed, math500.solution))
    assert sum(map(is_clear, math500.solution))==302
