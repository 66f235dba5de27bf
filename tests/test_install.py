"""Setting up shows how far it is, and what pip said where it fails."""
import configparser
import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import install as installer  # noqa: E402
from install import fetched_by_uv, install, progress  # noqa: E402

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
    assert "100%  3 of 3 packages fetched, 3 of 3 installed" in said[-1] and "about 0:00 left" in said[-1]
    assert len({line.split("%")[0] for line in said[1:]}) > 2 and out.getvalue().count("\n") == 1
    line = progress(4, 4, 0, 4, 60.0, "numpy")
    assert " 50%  4 of 4 packages fetched, 0 of 4 installed  [1:00, about 1:00 left]  numpy" in line


UV = """
import pathlib, sys
print("Resolved 2 packages in 1s", flush=True)
print("Downloading torch (3.0GiB)", "Downloading numpy (1.0GiB)", "   Building mora", sep="\\n", flush=True)
print(" Downloaded torch", " Downloaded numpy", sep="\\n", flush=True)
for name in ("torch", "numpy"):
    pathlib.Path(sys.argv[1], f"{name}-1.0.dist-info").mkdir()
"""


def test_uv_is_read_by_the_size_of_its_files(tmp_path):
    out = io.StringIO()
    assert install([sys.executable, "-c", UV, str(tmp_path)], 9, tmp_path, out, 0.01, "uv") == 0
    assert "100%  4096 of 4096 MiB fetched, 2 of 2 installed" in out.getvalue().split("\r")[-1]
    lines = ["Downloading torch (3.0GiB)", "Downloading numpy (1.0GiB)", " Downloaded torch"]
    assert fetched_by_uv(lines, 2) == (3072, 4096, "numpy") and fetched_by_uv([], 2) == (0, 0, "choosing versions")
    line = progress(3072, 4096, 0, 2, 57.0, "numpy", "uv")
    assert line == " 71%  3072 of 4096 MiB fetched, 0 of 2 installed  [0:57, about 0:23 left]  numpy"
    # nothing to fetch: all lies in uv's cache
    assert progress(0, 0, 0, 2, 1.0, "choosing versions", "uv").startswith("  0%")
    assert progress(0, 0, 2, 2, 1.0, "", "uv").startswith("100%")


@pytest.mark.parametrize("uv, works, used", [
    (None, True, ["pip"]),
    ("/bin/uv", True, ["uv"]),
    ("/bin/uv", False, ["uv", "pip"]),
])
def test_uv_is_used_where_it_is_and_pip_otherwise(uv, works, used, monkeypatch, capsys):
    runs = []

    def fake(command, total, site, by="pip", env=None):
        constraints = Path(command[command.index("-c") + 1]).read_text().splitlines()
        assert command[-2:] == ["-e", ".[dev]"] and "torch==2.13.0" in constraints and len(constraints) == total
        assert "trl==1.9.2" in constraints and "trl==1.16.0" not in constraints
        runs.append(by)
        return 0 if works or by == "pip" else 1

    monkeypatch.setattr(installer, "install", fake)
    assert installer.main(["trl==1.9.2"], lambda: uv) == 0 and runs == used
    assert ("going on with pip" in capsys.readouterr().err) == (used == ["uv", "pip"])


def test_uv_comes_from_the_path_or_from_pip_or_not_at_all(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(installer.subprocess, "run", lambda command, **kwargs: asked.append(command[-1]))
    monkeypatch.setattr(installer.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    assert installer.find_uv() is None and asked == ["uv"]
    program = tmp_path / "uv"
    program.write_text("")
    program.chmod(0o755)
    assert installer.find_uv() == str(program) and asked == ["uv", "uv"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installer.find_uv() == str(program) and asked == ["uv", "uv"]


def test_uv_looks_for_packages_where_pip_does(monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    assert installer.uv_environment()["UV_FIND_LINKS"] == "/a,/b"
    monkeypatch.setenv("UV_FIND_LINKS", "/own")
    assert installer.uv_environment()["UV_FIND_LINKS"] == "/own"


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
