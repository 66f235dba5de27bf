"""What users ask TRL for, tried as they would: weights by step, a reward that counts only where another one does."""
import pandas as pd
import pytest

from mora.study.run import ExperimentConfig, run_experiment

TINY = dict(num_generations=4, per_device_train_batch_size=8, validation_size=4, test_size=4, test_steps=6,
    save_steps=6)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_weights_decay_by_step(algorithm, tmp_path):
    decay = dict(points=[[4, [1, 0, 0]]], by="step")
    config = ExperimentConfig(**TINY, max_steps=6, algorithm=algorithm, weighting="scheduled",
        weighting_options=decay, preset=[0.5, 0.25, 0.25])
    run = run_experiment(config, tmp_path / "run")
    assert run.values("train")["weights/clarity"].round(6).tolist() == [0.25, 0.1875, 0.125, 0.0625, 0, 0]


def test_a_gated_reward_of_a_recipe_trains_as_the_class_made_by_hand(tmp_path):
    gated = {"gated": {"reward": "conciseness", "by": "accuracy"}}
    by_hand = {"mora.reward_designs:GatedConciseness": {"range": [0, 80]}}
    runs = [
        run_experiment(ExperimentConfig(**TINY, max_steps=2, rewards=["accuracy", reward, "clarity"]),
            tmp_path / str(i)).metrics.drop(columns="seconds")
        for i, reward in enumerate([gated, by_hand])
    ]
    assert "rewards/conciseness/mean" in set(runs[0].name)
    pd.testing.assert_frame_equal(*runs, check_exact=True)
