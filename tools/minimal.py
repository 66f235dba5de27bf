"""Run the notebooks of the library where only the dependencies of `mora` are installed, without any extra.

    make test-minimal                              sets up .venv-minimal and runs all of them there
    .venv-minimal/bin/python tools/minimal.py 11   those whose name begins so

A cell that begins with `#| needs PACKAGE` is skipped.
"""
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

root = Path(__file__).resolve().parent.parent
NOTEBOOKS = root / "nbs"
ABSENT = ("trl", "transformers", "datasets", "accelerate", "pandas", "papermill", "torchjd", "pymoo", "scipy")
TRAINING = ("25", "26", "27", "28", "30", "31", "32", "33", "90", "91", "index")  # they need the extra `trl`


def notebooks():
    "The notebooks of the library but those about the trainer."
    return [p for p in sorted(NOTEBOOKS.glob("*.ipynb")) if not p.name.startswith(TRAINING)]


def passes(path):
    "Whether a notebook runs. Its traceback is printed if it does not."
    from nbdev.test import test_nb as run_notebook

    os.chdir(path.parent)
    return run_notebook(path, skip_flags=["notest", "slow", "needs"], do_print=False, basepath=root)[0]


def main(wanted):
    present = [name for name in ABSENT if find_spec(name)]
    if present:
        sys.exit(f"environment: got {', '.join(present)}, expected only the dependencies of mora: make test-minimal")
    failed = []
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:  # no notebook sees what another one imported
        for path in [p for p in notebooks() if p.name.startswith(wanted)]:
            ok = pool.submit(passes, path).result()
            print(f"{path.name:45} {'passes' if ok else 'FAILS'}", flush=True)
            failed += [] if ok else [path.name]
    sys.exit(f"{len(failed)} failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("",))
