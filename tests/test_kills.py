"""A short version of tests/kills.py: runs that measure gradients, killed inside a batch (four steps make one)."""
import pytest
from kills import WEIGHTINGS, at_step, finish, kill_once, same


@pytest.mark.parametrize("name", ["gradient, exact", "gradient, sketch"])
def test_a_killed_run_resumes_bit_for_bit(name, tmp_path):
    words = WEIGHTINGS[name]
    finish(tmp_path / "whole", words)
    for step in (3, 6):
        assert kill_once(tmp_path / "killed", words, at_step(tmp_path / "killed", step))
    finish(tmp_path / "killed", words)
    assert same(tmp_path / "whole", tmp_path / "killed")
