"""Setting up shows how far it is, and what pip said where it fails."""
import configparser
import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from install import install, progress  # noqa: E402

PIP = """
import pathlib, sys, time
for name in ("torch", "numpy", "numpy", "mora-extra"):
    print(f"Collecting {name}==1.0 (from somewhere)", flush=True)
    time.sleep(.05)
for name in ("torch", "numpy", "mora_extra"):
    pathlib.Path(sys.argv[1], f"{name}-1.0.dist-info").mkdir()
    time.sleep(.05)
if len(sys.argv) > 2: sys.exit("ERROR: No matching distribution found for torch")
"""


def test_a_line_that_moves_and_says_how_long_it_takes(tmp_path):
    (tmp_path / "old-1.0.dist-info").mkdir()
    out = io.StringIO()
    assert install([sys.executable, "-c", PIP, str(tmp_path)], 3, tmp_path, out, 0.01) == 0
    said = out.getvalue().split("\r")
    assert "100%  3 of 3 packages fetched, 3 installed" in said[-1] and "about 0:00 left" in said[-1]
    assert len({line.split("%")[0] for line in said[1:]}) > 2 and out.getvalue().count("\n") == 1
    assert "50%  4 of 4 packages fetched, 0 installed  [1:00, about 1:00 left]  numpy" in progress(4, 0, 4, 60.0,
        "numpy")


def test_what_pip_said_is_shown_where_it_fails(tmp_path):
    out = io.StringIO()
    assert install([sys.executable, "-c", PIP, str(tmp_path), "fail"], 3, tmp_path, out, 0.01) == 1
    assert "ERROR: No matching distribution found for torch" in out.getvalue()


def test_make_says_what_it_can_do():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0 and "make study" in said.stdout and "make lab" in said.stdout


def test_every_text_names_the_distribution_and_not_another_project():
    texts = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    kinds = (".ipynb", ".md", ".py", ".toml", ".ini", ".yaml", ".html", "Makefile")
    wrong = [name for name in texts if name.endswith(kinds) and name != "tests/test_install.py"
             and re.search(r"pip install\W+mora(?!-rl)\b", (ROOT / name).read_text(encoding="utf-8"))]
    assert wrong == []
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == settings["DEFAULT"]["lib_name"] == "mora-rl"
    assert project["description"] == settings["DEFAULT"]["description"]
    assert project["requires-python"] == f">={settings['DEFAULT']['min_python']}"
    assert project["keywords"] == settings["DEFAULT"]["keywords"].split()


def test_a_wheel_holds_notebooks_grids_recipes_and_policies():
    "Each folder that the wheel maps exists, and its patterns take what an installed `mora study quick` needs."
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(setuptools["package-dir"]) <= set(setuptools["packages"])
    taken = set()
    for package, patterns in setuptools["package-data"].items():
        folder = ROOT / setuptools["package-dir"][package]
        taken |= {file.relative_to(ROOT).as_posix() for pattern in patterns for file in folder.glob(pattern)
            if file.is_file()}
    needed = ["nbs/experiments/train.ipynb", "nbs/experiments/report.ipynb", "nbs/experiments/grids/quick.yaml",
              "data/policies/embedded/model.safetensors", "recipes/accelerate/ddp.yaml", "mora/py.typed"]
    assert set(needed) <= taken
    modules = {p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in (ROOT / "mora").rglob("*.py")}
    assert modules <= set(setuptools["packages"])
