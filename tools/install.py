"""Install mora with the tested versions and show one progress bar. pip itself prints hundreds of lines, or none
for minutes.

    .venv/bin/python tools/install.py
"""
import re
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

root = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-c",
    "constraints.txt", "-e", ".[dev]"]


def packages_in(site):
    "How many packages a site-packages folder has."
    return len(list(Path(site).glob("*.dist-info")))


def words(seconds):
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


def progress(fetched, installed, total, seconds, now):
    "One line: how far it is, what is being done, about how long it still takes."
    # pip installs when it has all; it does not name all that it fetches
    fetched = total if installed else min(fetched, total)
    done = fetched + min(installed, total)
    left = words(seconds / done * (2 * total - done)) if done else "?"
    return (f"{50 * done // total:3}%  {fetched} of {total} packages fetched, {installed} "
        f"installed  [{words(seconds)}, about {left} left]  {now}")


def install(command, total, site, out=sys.stderr, every=0.5):
    "Run pip and show how far it is; its exit code, after its last lines if that is not 0."
    pip = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, before, begun = [], packages_in(site), time.monotonic()
    reader = threading.Thread(target=lambda: lines.extend(pip.stdout))
    reader.start()
    while reader.is_alive():
        reader.join(every)
        names = [m[1] for line in list(lines) if (m := re.match(r"(?:Collecting|Obtaining) ([\w.-]+)", line))]
        line = progress(len(set(names)), packages_in(site) - before, total, time.monotonic() - begun,
            names[-1] if names else "")
        print(f"\r{line[:100]:100}", end="", file=out, flush=True)
    print(file=out)
    if pip.wait():
        print(*lines[-15:], sep="", file=out)
    return pip.returncode


if __name__ == "__main__":
    pins = [line for line in (root / "constraints.txt").read_text().splitlines() if "==" in line]
    sys.exit(install(PIP, len(pins), sysconfig.get_paths()["purelib"]))
