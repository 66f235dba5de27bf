"""settings.ini, pyproject.toml and both lists of versions agree, and no saved output holds a path of a machine."""
import configparser
import re
import tomllib
from pathlib import Path

import mora

ROOT = Path(__file__).parents[1]


def test_settings_ini_says_what_pyproject_says():
    "nbdev 3 reads pyproject.toml. The same fields in settings.ini have the same values."
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini")
    old = settings["DEFAULT"]
    new = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["nbdev"]
    shared = set(old) & set(new)
    assert {"lib_path", "nbs_path", "doc_path", "tst_flags", "put_version_in_init"} <= shared
    for name in shared:
        value = new[name]
        text = " ".join(value) if isinstance(value, list) else str(value)
        assert old[name] == text, name
    assert old["version"] == mora.__version__


def test_no_saved_output_holds_a_path_of_a_machine():
    for path in (ROOT / "nbs").rglob("*.ipynb"):
        found = re.search(r"(?<![\w.])/(?:home|root|work|Users)/[\w./-]+", path.read_text())
        assert not found, f"{path.name}: {found[0]}"


def test_both_lists_of_versions_agree_and_name_the_public_index_alone():
    text = (ROOT / "uv.lock").read_text()
    assert set(re.findall(r"https?://([^/\"]+)", text)) == {"pypi.org", "files.pythonhosted.org"}
    locked = {}
    for package in tomllib.loads(text)["package"]:
        assert package["source"] in ({"registry": "https://pypi.org/simple"}, {"editable": "."})
        locked.setdefault(package["name"], set()).add(package.get("version"))
    pins = [line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    assert [pin for pin in pins if pin[1] not in locked[re.sub(r"[-_.]+", "-", pin[0]).lower()]] == []
    lock = next(p for p in tomllib.loads(text)["package"] if p["name"] == "mora-rl")
    assert any(d["name"] == "trl" and "1.9.2" in d["specifier"] for d in lock["metadata"]["requires-dist"])


def test_pythons_and_both_ends_of_trl_are_the_ones_that_are_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [c[-4:] for c in project["classifiers"] if ":: 3." in c] == ["3.11", "3.12", "3.13"]
    [trl] = [r for r in project["optional-dependencies"]["trl"] if r.startswith("trl")]
    oldest, newest = re.search(r"^TRL +\?= (\S+) (\S+)$", (ROOT / "Makefile").read_text(), re.M).groups()
    assert f">={oldest}," in trl and f"trl=={newest}" in (ROOT / "constraints.txt").read_text()
