"""What the small policies imitate, by mixture of styles, and the study that starts from them."""
import hashlib
import random

import pytest

from mora import policies
from mora.cli import main as study
from mora.errors import ConfigError
from mora.policies import HABITS, MIXTURES, lesson, lessons, main, make_tokenizer, policy_path, warm_start
from mora.study import find_grid, grid_configs, read_grid
from mora.tasks import NAMES, RANGES

WITHIN = RANGES["embedded"]


def digest(habits, n=200):
    "Of `n` lessons."
    rng = random.Random(0)
    return hashlib.sha256("".join(p.prompt + s for p, s in (lesson(rng, WITHIN, habits) for _ in range(n))).encode()).hexdigest()[:16]


def test_lessons_of_the_policy_that_ships_are_what_they_were():
    assert digest(HABITS) == "ea49c21ff0ef7013" and digest(None) == "15b12ccba5d3d8af"
    rng = random.Random(0)
    ids, labels = lessons(rng, WITHIN, HABITS, make_tokenizer())[0]
    assert ids.shape == labels.shape and MIXTURES["habits"] is HABITS


def test_mixtures_have_habits_for_everybody_and_differ():
    assert list(MIXTURES) == ["habits", "careful", "terse", "even"]
    for habits in MIXTURES.values():
        assert list(habits) == list(NAMES) and all(sum(shares) == 100 for h in habits.values() for shares in (h.steps, h.markers, h.talk))
        assert all(0 < h.box < 100 for h in habits.values())
    assert len({digest(habits, 20) for habits in MIXTURES.values()}) == len(MIXTURES)


def test_unknown_mixture_is_refused_in_one_line(tmp_path, capsys):
    said = "mixture: got 'chatty', expected one of habits, careful, terse, even"
    with pytest.raises(ConfigError, match=said):
        warm_start(mixture="chatty")
    assert main(["embedded", "--mixture", "chatty", "--out", str(tmp_path / "x")]) == 2 and capsys.readouterr().err.strip() == said
    assert not (tmp_path / "x").exists()


def test_mixture_is_what_is_imitated_and_recorded(monkeypatch):
    monkeypatch.setattr(policies, "objective_vector", lambda *_: {})  # where it stands takes longer than the rest
    records = {mixture: warm_start(mixture=mixture, updates=1, bar=False)[-1] for mixture in MIXTURES}
    assert all(r["mixture"] == mixture for mixture, r in records.items())
    assert len({r["loss"][0] for r in records.values()}) == len(MIXTURES)
    assert warm_start(updates=1, bar=False)[-1] == records["habits"]


def test_missing_policy_is_refused_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(ConfigError) as refused:
        policy_path(tmp_path / "careful")
    assert str(refused.value) == f"model: got '{tmp_path}/careful', expected a folder; make it with: python -m mora.policies embedded --mixture careful --out {tmp_path}/careful"


def test_grid_has_every_further_mixture_under_the_presets_and_frontier():
    configs = grid_configs(read_grid(find_grid("warm_start")))
    each = [("fixed", "accuracy-focused"), ("fixed", "balanced"), ("fixed", "efficiency-focused"), ("frontier", "balanced")]
    for mixture in set(MIXTURES) - {"habits"}:  # that of the policy that ships is trained for the leaderboard
        mine = [c for c in configs if c.label.startswith(mixture)]
        assert [(c.weighting, c.preset) for c in mine] == each and all(c.label == f"{mixture}-{c.weighting}" for c in mine)
        assert {c.model for c in mine} == {f"runs/policies/{mixture}"}
    assert len(configs) == len({c.name for c in configs}) == 12


def test_a_study_whose_policies_are_missing_is_refused_before_training(tmp_path, monkeypatch, capsys):
    grid = find_grid("warm_start").resolve()
    monkeypatch.chdir(tmp_path)
    assert study(["study", str(grid), "--out", "out"]) == 2
    assert "make it with: python -m mora.policies embedded --mixture careful --out runs/policies/careful" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
