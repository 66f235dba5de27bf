"""Tiny runs through the real trainer: killed, resumed, gathered; and what happens when one goes wrong."""
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
import nbformat
import pandas as pd
import papermill
import psutil
import pytest
import yaml
import mora.study.engines
import mora.weighting
from mora.study.analysis import BASE
from mora.figure_style import in_words
from mora.study.results import demo_results, gather, load_results, pool, study_objectives
from mora.errors import ConfigError
from mora.study.run import ExperimentConfig, last_checkpoint, load_run, read_progress, run_experiment
from mora.study.run import save_config, tidy
from mora.study.engines import Job, end_kernels, prepare, run_job, run_jobs
from mora.study.grid import find_grid, grid_configs, make_jobs, read_grid, run_names
from mora.weighting import core

ROOT = Path(__file__).parents[1]
TINY = dict(num_generations=4, per_device_train_batch_size=8, validation_size=4, test_size=4, test_steps=2,
    save_steps=2)
MORA = [sys.executable, '-c', 'import sys; from mora.study.cli import main; sys.exit(main())']

# a process group of its own receives Ctrl-C even if a shell in the background ignores it
def start(*words, **kwargs):
    return subprocess.Popen([*MORA, *map(str, words)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **kwargs)

def kill_when(process, reached, limit=600):
    "kill -9 as soon as `reached()`; its kernels end by themselves, which is waited for."
    end = time.time()+limit
    while not reached() and process.poll() is None and time.time()<end: time.sleep(.02)
    assert process.poll() is None, process.communicate()[0]
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert not psutil.wait_procs(kernels, timeout=120)[1]

def numbers(folder): # everything but wall time
    return load_run(folder).metrics.drop(columns='seconds')

def options(config): return [w for k,v in config.items() for w in (f'--{k}', str(v))]

def test_killed_run_ends_like_an_uninterrupted_one(tmp_path):
    settings = TINY | dict(max_steps=8, weighting='hypervolume', seed=3)
    whole = run_experiment(ExperimentConfig(**settings), tmp_path/'whole')
    kill_when(start('train', '--out', tmp_path/'killed',
        *options(settings)), lambda: (read_progress(tmp_path/'killed') or 0)>=5)
    assert not (tmp_path/'killed'/'metrics.parquet').exists() and last_checkpoint(tmp_path/'killed')
    again = start('train', '--out', tmp_path/'killed', *options(settings))
    said = again.communicate()[0]
    assert again.returncode==0, said
    pd.testing.assert_frame_equal(numbers(tmp_path/'killed'), whole.metrics.drop(columns='seconds'), check_exact=True)
    same = [(tmp_path/f/'model'/'model.safetensors').read_bytes() for f in ('whole', 'killed')]
    assert same[0]==same[1]

def test_half_written_checkpoint_is_not_used(tmp_path):
    config = ExperimentConfig(**TINY, max_steps=4)
    whole = run_experiment(config, tmp_path/'run')
    (tmp_path/'run'/'metrics.parquet').unlink()
    state = tmp_path/'run'/'checkpoint-4'/'trainer_state.json'
    state.write_text(state.read_text()[:100])
    assert last_checkpoint(tmp_path/'run').name=='checkpoint-2'
    again = run_experiment(config, tmp_path/'run')
    pd.testing.assert_frame_equal(again.metrics.drop(columns='seconds'), whole.metrics.drop(columns='seconds'),
        check_exact=True)

def test_killed_between_training_and_metrics(tmp_path):
    config = ExperimentConfig(**TINY, max_steps=2)
    whole = run_experiment(config, tmp_path/'run')
    (tmp_path/'run'/'metrics.parquet').unlink()
    shutil.rmtree(tmp_path/'run'/'model')
    # not a step trained again
    pd.testing.assert_frame_equal(run_experiment(config, tmp_path/'run').metrics, whole.metrics, check_exact=True)
    assert (tmp_path/'run'/'model'/'model.safetensors').exists()

def test_finished_run_is_left_alone_and_other_settings_refused(tmp_path):
    config = ExperimentConfig(**TINY, max_steps=1)
    run_experiment(config, tmp_path/'run')
    before = {p: p.stat().st_mtime_ns for p in (tmp_path/'run').rglob('*')}
    assert run_experiment(config, tmp_path/'run').final().keys()=={'accuracy', 'conciseness', 'clarity'}
    with pytest.raises(ConfigError, match='seed: got 7, expected 0, with which'):
        run_experiment(ExperimentConfig(**TINY, max_steps=1, seed=7), tmp_path/'run')
    assert before=={p: p.stat().st_mtime_ns for p in (tmp_path/'run').rglob('*')}

def test_reward_of_the_wrong_length(tmp_path, monkeypatch):
    import mora.study.run as experiment
    task = experiment.run_task(ExperimentConfig(**TINY, max_steps=1))
    task.rewards[2].__class__ = type('Short', (type(task.rewards[2]),),
        {'__call__': lambda self, completions, **columns: [1.]*(len(completions)-1)})
    monkeypatch.setattr(experiment, 'run_task', lambda config: task)
    with pytest.raises(ConfigError, match="values of reward 'clarity': got 3, expected 4, one for each completion"):
        run_experiment(ExperimentConfig(**TINY, max_steps=1), tmp_path/'run')
    assert not (tmp_path/'run').exists()

@pytest.fixture
def grid(tmp_path):
    (tmp_path/'tiny.yaml').write_text(yaml.safe_dump(dict(notebook=str(ROOT/'nbs'/'experiments'/'train.ipynb'),
        shared=TINY | dict(max_steps=8),
        blocks=[dict(weighting=['hypervolume', 'fixed'], preset=['balanced'])])))
    return tmp_path/'tiny.yaml'

HELD = """import time, mora.study.run
from pathlib import Path
written = mora.study.run.write_whole
def held(path, write):
    written(path, write)
    while path.name=='progress' and mora.study.run.read_progress(path.parent)>=3 and Path('{hold}').exists():
        time.sleep(.02)
mora.study.run.write_whole = held"""

def test_killed_study_goes_on(tmp_path, grid):
    names = [c.name for c in grid_configs(read_grid(grid))]
    # while it is there both runs wait after their third step: on a busy machine one can be done before the other begins
    hold = tmp_path/'hold'
    hold.touch()
    said = yaml.safe_load(grid.read_text())
    nb = json.loads(Path(said['notebook']).read_text())
    code = next(c for c in nb['cells'] if c['cell_type']=='code')
    nb['cells'].insert(0, code | dict(id='held', metadata={}, source=HELD.format(hold=hold)))
    (tmp_path/'train.ipynb').write_text(json.dumps(nb))
    grid.write_text(yaml.safe_dump(said | dict(notebook='train.ipynb')))
    kill_when(start('study', grid, '--out', tmp_path/'runs'), lambda: all((read_progress(tmp_path/'runs'/n) or 0)>=3
        for n in names))
    hold.unlink()
    again = start('study', grid, '--out', tmp_path/'runs')
    said = again.communicate()[0]
    assert again.returncode==0, said
    assert '2 to resume' in said and '100%|' in said and all(f'] {n}: accuracy' in said for n in names)
    for config in grid_configs(read_grid(grid)):
        whole = run_experiment(config, tmp_path/'whole'/config.name)
        pd.testing.assert_frame_equal(numbers(tmp_path/'runs'/config.name), whole.metrics.drop(columns='seconds'),
            check_exact=True)
        assert (tmp_path/'runs'/config.name/'train.ipynb').exists()
    results = gather(tmp_path/'runs')
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/'runs'/'metrics.parquet'), results.metrics)
    assert set(results.runs.run)==set(names)
    assert [o.name for o in study_objectives(results)]==['accuracy', 'conciseness', 'clarity']
    done = start('study', grid, '--out', tmp_path/'runs')
    assert '2 finished before' in done.communicate()[0] and done.returncode==0

def test_failed_run_is_named_and_the_others_finish(tmp_path, grid):
    said = yaml.safe_load(grid.read_text())
    said['shared']['max_steps'] = 2
    said['blocks'] = [dict(label=['broken'], rewards=[['accuracy', 'conciseness', 'broken_reward:broken']]), {}]
    (tmp_path/'broken_reward.py').write_text('def broken(completions, **columns): return [1/0 for _ in completions]')
    grid.write_text(yaml.safe_dump(said))
    study = start('study', grid, '--out', tmp_path/'runs',
        env=os.environ | dict(PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"))
    text = study.communicate()[0]
    assert study.returncode==1
    bad = tmp_path/'runs'/'grpo-broken-balanced-s0'/'train.failed.ipynb'
    assert str(bad) in text and bad.exists() and '1 of 2 runs failed' in text
    assert (tmp_path/'runs'/'grpo-fixed-balanced-s0'/'metrics.parquet').exists()

def write_run(folder, name='accuracy', **settings):
    "What a finished run leaves, as small as can be; its path."
    folder.mkdir(parents=True)
    save_config(ExperimentConfig(**settings), folder, objectives=[dict(name=name)])
    tidy([{f'eval_test_{name}': .5, 'step': s} for s in (0, 1)]).to_parquet(folder/'metrics.parquet')
    return folder

@pytest.fixture
def little(tmp_path):
    "Jobs of a notebook that trains nothing: name -> what it executes before it leaves what a run leaves."
    source = write_run(tmp_path/'source')
    leave = "import shutil\nfor f in ('metrics.parquet', 'config.yaml'): shutil.copy(f'{source}/{f}', folder)"
    cells = ["folder = ''\nsource = ''\nbefore = ''\nafter = ''", 'exec(before)', leave, 'exec(after)']
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.cells[0].metadata['tags'] = ['parameters']
    nbformat.write(nb, tmp_path/'little.ipynb')
    def make(said):
        folders = {name: tmp_path/'runs'/name for name in said}
        parts = {name: dict(before=how) if isinstance(how, str) else how for name,how in said.items()}
        return [Job(n, tmp_path/'little.ipynb', f, dict(folder=str(f), source=str(source)) | parts[n], 1)
            for n,f in folders.items()]
    yield make
    end_kernels()

def test_a_study_holds_no_more_files_and_threads_with_every_run(little, monkeypatch):
    held = []
    def counted(job):
        outcome = run_job(job)
        gc.collect()
        held.append((len(os.listdir('/proc/self/fd')), threading.active_count(), psutil.Process().num_threads()))
        return outcome
    monkeypatch.setattr(mora.study.engines, 'run_job', counted)
    ended = run_jobs(little({f'run{i}': '1/0' if i==6 else '' for i in range(14)}), 1)
    assert [o.status for o in ended].count('finished')==13 and ended[6].status=='failed'
    for counts in zip(*held, strict=True): # a file may just be open; it was 17 more with each run
        assert max(counts[3:])<=counts[2]+3, held

ENDS = { # how a run ends -> what its outcome says
    'sys.exit(0)': 'FAILED, SystemExit: 0', 'sys.exit()': 'FAILED, SystemExit',
    'sys.exit(3)': 'FAILED, SystemExit: 3', 'raise SystemExit(0)': 'FAILED, SystemExit: 0',
    'os._exit(0)': 'Kernel died', 'os.kill(os.getpid(), 9)': 'Kernel died', 'exit()': '',
    'raise KeyboardInterrupt': 'FAILED, KeyboardInterrupt', 'input()': 'StdinNotImplementedError',
    'raise BaseException("b")': 'BaseException: b',
    'raise ValueError("first\\nsecond")': 'FAILED, ValueError: first;', 'raise ValueError': 'FAILED, ValueError;',
    'folder += "/no/where"': 'FileNotFoundError', 'source = "/no/where"': 'FileNotFoundError',
    'folder = f"{source}/../other"; os.mkdir(folder)': 'without metrics.parquet'}

def test_whatever_ends_a_run_is_one_failed_run_and_the_others_go_on(little, capsys):
    said = {}
    for i,how in enumerate(ENDS): # nobody inherits the folder
        said |= {f'bad{i}': f'import os, sys\n{how}', f'good{i}': 'import os; os.chdir("/")'}
    said['late'] = dict(after='import sys; sys.exit(0)') # after its metrics
    said['where'] = f'import os; assert os.getcwd()=={os.getcwd()!r}'
    ended = {o.name: o for o in run_jobs(little(said), 2)}
    assert ended.keys()==said.keys()
    assert {o.status for n,o in ended.items()
        if n.startswith('good')}=={'finished'} and ended['where'].status=='finished'
    for i,part in enumerate(ENDS.values()):
        assert ended[f'bad{i}'].status=='failed' and part in ended[f'bad{i}'].note, ended[f'bad{i}']
    assert ended['late'].status=='failed' and 'late/little.failed.ipynb' in ended['late'].note
    assert all('\n' not in str(o) for o in ended.values())

def test_names_with_braces_and_their_leftovers(little, tmp_path):
    names = ['a{seed}', '{}', '{{', 'a}b', '{0!r}', '100%', 'a b']
    jobs = little(dict.fromkeys(names, ''))
    jobs[0].folder.mkdir(parents=True)
    (jobs[0].folder/'little.running-99999999.ipynb').touch() # of a study that was killed
    assert [o.status for o in run_jobs([prepare(j) for j in jobs], 1)]==['finished']*len(names)
    assert {p.name for p in (tmp_path/'runs').iterdir()}==set(names)
    for job in jobs: assert {p.name for p in job.folder.iterdir()}=={'config.yaml', 'metrics.parquet', 'little.ipynb'}

def test_a_run_that_cannot_be_kept_fails_alone(little, tmp_path):
    jobs = little(dict(file='', lock='', good=''))
    (tmp_path/'runs').mkdir()
    (tmp_path/'runs'/'file').touch() # where a folder is to be
    ended = {o.name: o for o in run_jobs(jobs, 1)}
    assert ended['file'].status=='failed' and 'FAILED, [Errno' in ended['file'].note
    assert ended['good'].status=='finished'

def test_gathering_names_the_run_that_cannot_be_read(tmp_path):
    write_run(tmp_path/'a', seed=1)
    write_run(tmp_path/'deep'/'b', seed=2)
    (tmp_path/'unfinished').mkdir()
    shutil.copy(tmp_path/'a'/'config.yaml', tmp_path/'unfinished')
    table = gather(tmp_path)
    assert table.runs.seed.tolist()==[1, 2] and table.unfinished==('unfinished',)
    write_run(tmp_path/'c', name='clarity', seed=3)
    declared = [f'[{{"name": "{name}"}}]' for name in ('accuracy', 'clarity', 'accuracy')]
    assert gather(tmp_path).runs.objectives.tolist()==declared
    copied = shutil.copytree(tmp_path/'a', tmp_path/'copy')
    with pytest.raises(ConfigError, match='one study; .*a and .*copy have the same settings'): gather(tmp_path)
    shutil.rmtree(copied)
    copied = shutil.copytree(tmp_path/'a', tmp_path/'deep'/'a')
    with pytest.raises(ConfigError, match='one study; .*a and .*deep/a have the same name'): gather(tmp_path)
    shutil.rmtree(copied)
    whole = (tmp_path/'c'/'metrics.parquet').read_bytes()
    for wrong in (b'', b'PAR1', whole[:-50], whole[:30]+b'x'*20+whole[50:]):
        (tmp_path/'c'/'metrics.parquet').write_bytes(wrong)
        try: assert 'c' in gather(tmp_path).unfinished
        except ConfigError as error: assert str(tmp_path/'c') in str(error)
    (tmp_path/'c'/'metrics.parquet').write_bytes(whole)
    for wrong in ('', 'a: [', '- 1', 'seed: many', 'objectives: 3'):
        (tmp_path/'c'/'config.yaml').write_text(wrong)
        with pytest.raises(ConfigError, match='/c'): gather(tmp_path)

# Ctrl-C while two of three runs train: (exit code, what was said, pids of the kernels)
def interrupted(tmp_path, *words):
    nb = json.loads((ROOT/'nbs'/'experiments'/'train.ipynb').read_text())
    cells = [c for c in nb['cells'] if 'parameters' in c['metadata'].get('tags', [])]
    cells += [dict(cells[0], id='wait', metadata={},
        source="import os, pathlib, time; pathlib.Path(folder, 'pid').write_text(str(os.getpid())); time.sleep(600)")]
    (tmp_path/'wait.ipynb').write_text(json.dumps(nb | dict(cells=cells)))
    (tmp_path/'wait.yaml').write_text(yaml.safe_dump(dict(notebook='wait.ipynb', axes=dict(seed=[0, 1, 2]))))
    study = start('study', tmp_path/'wait.yaml', '--out', tmp_path/'runs', *words)
    pids, end = [], time.time()+600
    while len(pids)<2 and study.poll() is None and time.time()<end:
        time.sleep(.1)
        pids = [int(text) for p in (tmp_path/'runs').glob('*/pid') if (text := p.read_text())]
    study.send_signal(signal.SIGINT)
    said = study.communicate(timeout=300)[0]
    return study.returncode, said, pids

def test_ctrl_c_ends_the_kernels_and_says_how_to_go_on(tmp_path):
    code, said, pids = interrupted(tmp_path)
    assert code==130 and 'Traceback' not in said and 'the same command resumes it' in said, said
    assert len(pids)==2 and not any(map(psutil.pid_exists, pids))

def test_notebook_has_every_setting_with_its_help():
    has = papermill.inspect_notebook(str(ROOT/'nbs'/'experiments'/'train.ipynb'))
    for f in fields(ExperimentConfig):
        assert f.name in has and has[f.name]['help'].split(',')[0].replace('"',
            '')==f.metadata['help'].split(',')[0].replace('"', ''), f.name
    assert set(has)=={f.name for f in fields(ExperimentConfig)} | {'folder'}

def test_grids_are_what_the_study_needs():
    assert [len(grid_configs(read_grid(find_grid(n)), s)) for n,s in (('quick', None), ('quick', 3), ('paper', 1),
        ('paper', 3))]==[7, 21, 44, 132]

@pytest.mark.parametrize('grid', sorted((ROOT/'nbs'/'experiments'/'grids').glob('*.yaml')), ids=lambda p: p.stem)
def test_every_committed_grid_can_be_started(grid, tmp_path):
    # other policies are made first, as the grid says
    configs = grid_configs(read_grid(grid), 2)
    assert len(configs)==len(set(run_names(configs)))
    configs = list({str(c): c for c in (replace(c, model=None) for c in configs)}.values())
    assert len(make_jobs(read_grid(grid), configs, tmp_path))==len(configs)

@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    "A module with a weighting of somebody else, where those of the package are looked for."
    (tmp_path/'newcomer.py').write_text(
        'from mora.weighting.core import Weighting\nclass NewcomerWeighting(Weighting): "As fixed."\n')
    monkeypatch.setattr(mora.weighting, '__path__', [*mora.weighting.__path__, str(tmp_path)])
    monkeypatch.setattr(core, '_registry', dict(core._registry))
    yield 'newcomer'
    sys.modules.pop('mora.weighting.newcomer', None)

def test_newcomer_is_in_the_leaderboard(tmp_path, newcomer):
    configs = grid_configs(read_grid(find_grid('leaderboard')), 2)
    assert [(c.preset, c.seed) for c in configs if c.weighting==newcomer]==[(p, s) for s in (0, 1)
        for p in core.PRESETS]
    assert set(core.weighting_names())<={c.weighting
        for c in configs} and len({c.name for c in configs})==len(configs)
    demo = demo_results(seeds=3).where("weighting=='fixed'")
    def again(results, prefix, **columns):
        "The same runs under other names."
        runs = results.runs.assign(run=prefix+results.runs.run, **columns)
        return replace(results, runs=runs, metrics=results.metrics.assign(run=prefix+results.metrics.run))
    bar = again(demo.where("preset=='balanced'"), BASE, label=BASE)
    pool(demo, again(demo, newcomer, weighting=newcomer), bar).save(tmp_path/'results')
    drawn = papermill.execute_notebook(ROOT/'nbs'/'experiments'/'leaderboard.ipynb', tmp_path/'out.ipynb',
        progress_bar=False, cwd=ROOT,
        parameters=dict(results=str(tmp_path/'results'), search='no such file', figures=str(tmp_path)))
    shown = [t for c in drawn.cells for o in c.get('outputs', []) for t in o.get('data', {}).values()]
    assert any('<td>Newcomer</td>' in t for t in shown) and list(tmp_path.glob('*.png'))

@pytest.mark.parametrize('content', ['', 'a: [', '- 1', 'seed: many', '\0'], ids=repr)
def test_a_folder_with_a_broken_config_is_one_line(content, tmp_path):
    run = tmp_path/'runs'/'grpo-fixed-balanced-s0'
    run.mkdir(parents=True)
    (run/'config.yaml').write_text(content)
    grid = read_grid(find_grid('quick'))
    with pytest.raises(ConfigError) as error: make_jobs(grid, [ExperimentConfig()], tmp_path/'runs')
    assert '\n' not in str(error.value) and [p.name for p in run.iterdir()]==['config.yaml']


def test_any_setting_can_be_an_axis(tmp_path):
    "A grid over learning rates runs, and its report draws each rate as a method, with no edit elsewhere."
    grid = dict(shared=TINY | dict(max_steps=2), axes=dict(learning_rate=[1e-4, 2e-4], seed=[0]))
    (tmp_path/'rates.yaml').write_text(yaml.safe_dump(grid))
    study = start('study', tmp_path/'rates.yaml', '--out', tmp_path/'rates')
    text = study.communicate(timeout=300)[0]
    assert study.returncode==0, text
    names = [f'fixed, learning_rate {rate}' for rate in ('0.0001', '0.0002')]
    runs = load_results(tmp_path/'rates').runs
    assert runs.learning_rate.tolist()==[1e-4, 2e-4] and runs.method.tolist()==names
    report = start('report', tmp_path/'rates', '--figures', tmp_path/'figures')
    text = report.communicate(timeout=300)[0]
    assert report.returncode==0, text
    page = (tmp_path/'figures'/'rates_report.html').read_text()
    assert all(in_words(name) in page for name in names)
    assert (tmp_path/'figures'/'rates_pareto_fronts.png').exists()
