"""Install mora with the tested versions and show one progress bar: by uv where it can be had, else by pip.

    .venv/bin/python tools/install.py             # everything, in the versions of constraints.txt
    .venv/bin/python tools/install.py trl==1.9.2  # another version of one package
    .venv/bin/python tools/install.py nbdev       # mora without its extras, and nbdev
"""
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
SIZES = {"KiB": 2**-10, "MiB": 1, "GiB": 2**10}
# pip's settings that uv does not read, and uv's names of them
UV_NAMES = {"find-links": "UV_FIND_LINKS", "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX"}


def packages_in(site):
    "How many packages a site-packages folder has."
    return len(list(Path(site).glob("*.dist-info")))


def words(seconds):
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


def fetched_by_pip(lines, total):
    "Packages that pip has fetched, their number, and the one that it fetches now."
    # pip does not name all that it fetches
    names = [m[1] for line in lines if (m := re.match(r"(?:Collecting|Obtaining) ([\w.-]+)", line))]
    return min(len(set(names)), total), total, names[-1] if names else ""


def fetched_by_uv(lines, total):
    "MiB that uv has fetched, MiB that it has begun to fetch, and one file that it waits for. It names files of 1 MiB."
    begun, done = {}, set()
    for line in lines:
        if m := re.match(r"\s*Downloading (\S+) \(([\d.]+)([KMG]iB)\)", line):
            begun[m[1]] = float(m[2]) * SIZES[m[3]]
        elif m := re.match(r"\s*Downloaded (\S+)", line):
            done.add(m[1])
    waiting = [name for name in begun if name not in done] or ["" if begun else "choosing versions"]
    return sum(begun[name] for name in done & set(begun)), sum(begun.values()), waiting[-1]


# how to read what an installer says, the unit of what it fetches, and the share of the time that fetching takes
READERS = {"pip": (fetched_by_pip, "packages", 0.5), "uv": (fetched_by_uv, "MiB", 0.95)}


def progress(fetched, of, installed, total, seconds, now, by="pip"):
    "One line: how far it is, what is being done, about how long it still takes."
    _, unit, share = READERS[by]
    fetched = of if installed else fetched  # packages are installed when all are there
    done = share * bool(installed) if not of else share * fetched / of
    done += (1 - share) * min(installed, total) / total
    left = words(seconds / done * (1 - done)) if done else "?"
    return (f"{100 * done:3.0f}%  {fetched:.0f} of {of:.0f} {unit} fetched, {installed} of {total} installed  "
        f"[{words(seconds)}, about {left} left]  {now}")


def install(command, total, site, out=sys.stderr, every=0.5, by="pip", env=None):
    "Run pip or uv and show how far it is; its exit code, after its last lines if that is not 0."
    run = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, before, begun = [], packages_in(site), time.monotonic()
    reader = threading.Thread(target=lambda: lines.extend(run.stdout))
    reader.start()
    while reader.is_alive():
        reader.join(every)
        said = list(lines)
        total = next((int(m[1]) for line in said if (m := re.match(r"Resolved (\d+) packages", line))), total)
        fetched, of, now = READERS[by][0](said, total)
        line = progress(fetched, of, packages_in(site) - before, total, time.monotonic() - begun, now, by)
        print(f"\r{line[:100]:100}", end="", file=out, flush=True)
    print(file=out)
    if run.wait():
        print(*lines[-15:], sep="", file=out)
    return run.returncode


def find_uv():
    "Path of uv: the one on PATH, or one that pip installs beside this Python. None where neither can be had."
    found = shutil.which("uv")
    if found is None:
        subprocess.run([*PIP, "--quiet", "uv"], capture_output=True)
        found = shutil.which("uv", path=Path(sys.executable).parent)
    return found


def uv_environment():
    "The environment with pip's own settings in uv's names, so that both look for packages in the same places."
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    env = {"UV_SYSTEM_CERTS": "1", "UV_HTTP_TIMEOUT": "180", "UV_INDEX_STRATEGY": "unsafe-best-match"}
    for name, value in re.findall(r"^\S+\.([\w-]+)='(.*)'$", said, re.M):
        if name in UV_NAMES:
            # pip names its environment first, and lets it win
            env.setdefault(UV_NAMES[name], value.replace(" ", "," if name == "find-links" else " "))
    return env | os.environ


def main(words=(), find=find_uv):
    "Install by uv, and by pip where there is no uv or it fails; the exit code."
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    changed = [word for word in words if "==" in word]
    names = [pin.split("==")[0] for pin in changed]
    packages = [word for word in words if word not in changed]
    pins = [pin for pin in pins if pin.split("==")[0] not in names] + list(changed)
    site = sysconfig.get_paths()["purelib"]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(pins))
        wanted = ["-c", str(constraints), "-e", *([".", *packages] if packages else [".[dev]"])]
        if uv := find():
            command = [uv, "pip", "install", "--python", sys.executable, *wanted]
            if install(command, len(pins), site, by="uv", env=uv_environment()) == 0:
                return 0
            print("uv could not install these packages: going on with pip", file=sys.stderr)
        return install([*PIP, *wanted], len(pins), site)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
