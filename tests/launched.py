"""`mora`, each of whose processes tells in FOLDER what it came to: for `test_launch.py`.

    python -m torch.distributed.run --nproc-per-node 2 tests/launched.py FOLDER train --steps 2
"""
import json
import os
import sys
from pathlib import Path

import torch

import mora.study.cli
import mora.study.run as experiment


def main(folder, words):
    trainers, make = [], experiment.make_trainer
    vectors = []

    def kept(*args):
        trainers.append(make(*args))
        observe = trainers[0].observe_validation
        trainers[0].observe_validation = lambda vector: (vectors.append(vector.tolist()), observe(vector))
        return trainers[0]

    experiment.make_trainer = kept
    code = mora.study.cli.main(words)
    trainer, rank = trainers[0], os.environ["RANK"]
    told = dict(vectors=vectors, state={k: v.state_dict() for k, v in trainer.stateful.items()},
        mine=len(trainer.get_eval_dataloader("validation")),
                parameters=torch.cat([p.detach().flatten() for p in trainer.model.parameters()]).tolist())
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
