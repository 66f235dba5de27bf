"""The claims notebook on small synthetic studies: every claim with a verdict, and few seeds decide nothing."""
from pathlib import Path
import papermill
import pytest
from mora.study.claims import SEEDS, VERDICTS, claim_pairs, claims_table, demo_grid

ROOT = Path(__file__).parents[1]

@pytest.fixture
def drawn(tmp_path):
    "Outputs of the notebook for some results, as text."
    def draw(results, **parameters):
        results.save(tmp_path/'results')
        nb = papermill.execute_notebook(ROOT/'nbs'/'experiments'/'claims.ipynb', tmp_path/'out.ipynb',
            progress_bar=False, cwd=ROOT,
            parameters=dict(results=str(tmp_path/'results'), figures=str(tmp_path)) | parameters)
        return [str(t) for c in nb.cells for o in c.get('outputs', []) for k,t in o.get('data', {}).items()
            if k.startswith('text/')]
    return draw

def test_three_seeds_decide_nothing(drawn, tmp_path):
    search = demo_grid(1, ('grpo',)).where("weighting=='fixed'")
    search.runs['seed'] = 100
    search.save(tmp_path/'search')
    shown = '\n'.join(drawn(demo_grid(3, ('grpo',)), search=str(tmp_path/'search')))
    assert '<b>undecided</b>' in shown
    assert '<b>holds</b>' not in shown and '<b>does not hold</b>' not in shown
    assert 'better than the best fixed weights' in shown and '0.832 to 0.850' in shown
    for name in ('dominance', 'presets', 'best', 'speed', 'null', 'attainment_grpo'):
        assert list(tmp_path.glob(f'*_claims_{name}.png')), name

def test_one_method_one_seed_and_no_search(drawn):
    shown = '\n'.join(drawn(demo_grid(1, ('rloo',)).where("weighting!='gradient' and label.isna()"),
        search='no such file'))
    assert '<b>undecided</b>' in shown and 'best fixed weights of the simplex' not in shown

def test_every_row_has_what_a_reader_needs():
    table = claims_table(claim_pairs(demo_grid(SEEDS, ('grpo',)), best='accuracy-focused'))
    assert table.id.is_unique and set(table.verdict)<=set(VERDICTS) and (table.seeds==SEEDS).all()
    assert table[['effect', 'low', 'high', 'better', 'p',
        'p_adjusted']].notna().all().all() and (table.low<=table.high).all()
    assert set(table.question)=={'dominance', 'presets', 'best', 'speed', 'order', 'rates', 'counter'}
    both = table[table.question.eq('dominance') & table.measure.eq('archive')
        & table.method.eq('gradient')].set_index('algorithm').verdict
    # in the formulas the archive of gradient-based runs is larger
    assert both.to_dict()==dict.fromkeys(['grpo', 'all'], 'holds')
