"""settings.ini and pyproject.toml agree, and no saved output holds a path of a machine."""
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
