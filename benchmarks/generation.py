"""Decoding by `mora.study.policies.decode` against the loop of transformers, in turn, in one process.

    python benchmarks/generation.py            the committed table: 128 sampled and 300 greedy completions of the
    embedded policy
    python benchmarks/generation.py --repeats 20

Seconds of processor time (other work on the machine counts less that way): minimum and median, and the median of the
pairwise ratios. Greedy completions are compared token by token; sampled ones are other draws from the same
distribution.
"""
import argparse
import functools
import time

import pandas as pd
import torch
from transformers import AutoModelForCausalLM

from mora.study.run import quiet
from mora.study.folders import write_whole
from mora.study.policies import POLICIES, decode, load_policy
from mora.study.tasks import load_task


def run(model, tokenizer, prompts, sampled, own, seed):
    "Completions (n, T), seconds."
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    how = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0) if sampled else dict(do_sample=False)
    generate = functools.partial(model.generate, custom_generate=decode) if own else model.generate
    torch.manual_seed(seed)
    start = time.process_time()
    ids = generate(inputs.input_ids, attention_mask=inputs.attention_mask, max_new_tokens=112,
        pad_token_id=tokenizer.pad_token_id, **how)
    return ids[:, inputs.input_ids.shape[1]:], time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=8, help="times each side is measured, after one warm-up")
    parser.add_argument("--out", default="data/generation.csv")
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(POLICIES / "embedded"), load_policy("embedded")[1]
    task = load_task("embedded", train_size=16, validation_size=300, test_size=1)
    batches = {"sampled": [p for p in task.train["prompt"][:] for _ in range(8)],
        "greedy": task.validation["prompt"][:]}
    rows = []
    for kind, prompts in batches.items():
        sampled, times = kind == "sampled", []
        for repeat in range(args.repeats + 1):
            (ours, t_ours), (theirs, t_theirs) = (run(model, tokenizer, prompts, sampled, own, repeat)
                for own in (True, False))
            assert sampled or torch.equal(ours, theirs)
            times.append((t_ours, t_theirs))
        t = pd.DataFrame(times[1:], columns=["decode", "transformers"])
        lengths = (ours != tokenizer.pad_token_id).sum(1).float()
        rows.append(dict(completions=kind, n=len(prompts), mean_tokens=lengths.mean().item(),
            longest=int(lengths.max()), **{f"{side}_{what}_s": f(t[side]) for side in t
            for what, f in (("min", min), ("median", pd.Series.median))},
                         ratio=(t.decode / t.transformers).median()))
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    write_whole(args.out, lambda path: table.round(4).to_csv(path, index=False))


if __name__ == "__main__":
    main()
