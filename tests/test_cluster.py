"""Two nodes of Ray on this machine: one is killed while it trains, and nothing is lost or done twice."""
import json
import shutil
import socket
import tempfile
import time
from pathlib import Path
import pandas as pd
import psutil
import pytest
import yaml
from test_study import ROOT, TINY, interrupted, numbers, start
from mora.study.cli import main
from mora.study.run import checkpoint_history, last_checkpoint, load_run, read_progress, run_experiment, tidy
from mora.study.grid import grid_configs, read_grid
from mora.study.results import gather

pytest.importorskip('ray', reason="needs ray: pip install 'mora-rl[cluster]'")

def free_ports(n): # asked for together, so that no two are the same
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets: s.bind(('', 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets: s.close()
    return ports

def node(): # as small as a node can be
    agents = dict(zip(['metrics_agent_port', 'metrics_export_port', 'dashboard_agent_listen_port',
        'runtime_env_agent_port'], free_ports(4)))
    return agents | dict(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False,
        include_log_monitor=False, no_monitor=True)

@pytest.fixture(scope='module')
def cluster():
    from ray.cluster_utils import Cluster
    home = Path(tempfile.mkdtemp(prefix='ray')) # a short path, as sockets lie in it
    (home/'ray').mkdir() # where the address of the cluster is written; on a clean machine there is none
    # jsonschema's grammar of URIs: a second in each of Ray's processes
    (home/'rfc3987_syntax.py').write_text('raise ImportError')
    with pytest.MonkeyPatch.context() as patch:
        said = dict(RAY_USAGE_STATS_ENABLED='0', RAY_AUTH_MODE='disabled', RAY_health_check_period_ms='1000',
            OMP_NUM_THREADS='1', PYTHONPATH=str(home), RAY_TMPDIR=str(home))
        for name,value in said.items(): patch.setenv(name, value)
        nodes = Cluster(initialize_head=True, head_node_args=node() | dict(temp_dir=str(home)))
        try:
            nodes.add_node(**node())
            patch.setenv('RAY_ADDRESS', nodes.address)
            yield nodes
        finally: nodes.shutdown()
    shutil.rmtree(home, ignore_errors=True)

def raylet(node): return psutil.Process(node.all_processes['raylet'][0].process.pid)

def trains_on(folder): # the raylet under whose worker a run's kernel is, None if there is none
    try: return psutil.Process(int((folder/'.lock').read_text().split()[1])).parent().parent()
    except (OSError, IndexError, AttributeError, psutil.Error): return None

def until(reached, study, limit=600):
    end = time.time()+limit
    while not (found := reached()):
        assert study.poll() is None and time.time()<end, study.communicate()[0]
        time.sleep(.05)
    return found

@pytest.fixture
def grid(tmp_path):
    nb = json.loads((ROOT/'nbs'/'experiments'/'train.ipynb').read_text())
    # up to the run, without its figures
    (tmp_path/'train.ipynb').write_text(json.dumps(nb | dict(cells=nb['cells'][:7])))
    shared = TINY | dict(max_steps=6, save_steps=1, max_completion_length=24)
    axes,blocks = dict(seed=[0, 1]),[dict(weighting=['hypervolume', 'fixed'])]
    (tmp_path/'tiny.yaml').write_text(yaml.safe_dump(dict(notebook='train.ipynb', shared=shared, axes=axes,
        blocks=blocks)))
    return tmp_path/'tiny.yaml'

def test_ctrl_c_ends_the_kernels_of_all_nodes(cluster, tmp_path):
    code, said, pids = interrupted(tmp_path, '--engine', 'ray')
    assert code==130 and 'Traceback' not in said and said.endswith(
        'stopped; the same command resumes it\n') and said.count(': stopped')==3, said
    end = time.time()+120
    while any(map(psutil.pid_exists, pids)) and time.time()<end:
        time.sleep(.1) # a kernel looks once a second whether its worker is there
    assert len(pids)==2 and not any(map(psutil.pid_exists, pids))
    assert not list((tmp_path/'runs').glob('.notebook*'))

def test_every_run_is_finished_once_though_a_node_dies(cluster, tmp_path, grid, capsys):
    runs,names = tmp_path/'runs',[c.name for c in grid_configs(read_grid(grid))]
    study = start('study', grid, '--engine', 'ray', '--out', runs)
    doomed = raylet(cluster.worker_nodes.copy().pop())
    def half_way(): return [n for n in names if (read_progress(runs/n) or 0)>=2 and trains_on(runs/n)==doomed]
    hit = until(half_way, study)[0]
    for process in [doomed, *doomed.children()]: process.kill()
    kept = tidy(checkpoint_history(last_checkpoint(runs/hit)))
    said = study.communicate(timeout=900)[0]
    assert study.returncode==0 and 'Traceback' not in said and 'one on each CPU of the cluster' in said, said
    assert [said.count(f'] {n}: accuracy') for n in names]==[1]*4, said
    # with the times of the steps before it died: they were not trained again
    assert len(kept.merge(load_run(runs/hit).metrics))==len(kept)>0
    assert {p.name for p in runs.iterdir()}=={*names, 'runs.parquet', 'metrics.parquet'}
    for config in grid_configs(read_grid(grid)):
        whole = run_experiment(config, tmp_path/'whole'/config.name)
        pd.testing.assert_frame_equal(numbers(runs/config.name), whole.metrics.drop(columns='seconds'),
            check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet(runs/'metrics.parquet'), gather(runs).metrics)
    assert main(['study', str(grid), '--engine', 'ray', '--out',
        str(runs)])==0 and '4 finished before' in capsys.readouterr().out
