"""README.md from nbs/index.ipynb: markdown, code and its printed output; `--check` only compares.

    python tools/readme.py           write README.md
    python tools/readme.py --check   exit code 1 if README.md is not what the notebook gives
"""
import os
import re
import sys
from pathlib import Path

import nbformat

root = Path(__file__).resolve().parent.parent


def cell_text(cell):
    "Markdown of one cell; nothing for a cell marked `#| hide`."
    source = cell.source.strip()
    if re.search(r"^#\|\s*hide\b", source, re.M):
        return ""
    if cell.cell_type == "markdown":
        return re.sub(r"(\]\(|src=\")\.\./", r"\1", source)  # the notebook lies one folder down
    if re.search(r"^#\|\s*echo:\s*false\b", source, re.M):  # only what it shows
        return "\n\n".join(o["data"]["text/markdown"].strip() for o in cell.outputs
            if "text/markdown" in o.get("data", {}))
    code = re.sub(r"^#\|.*\n", "", source, flags=re.M).strip()
    text = "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs).strip()
    return f"```python\n{code}\n```" + (f"\n\n```\n{text}\n```" if text else "")


def readme():
    "The whole README.md as text."
    nb = nbformat.read(root / "nbs" / "index.ipynb", 4)
    cells = [t for c in nb.cells if c.cell_type in ("markdown", "code") and (t := cell_text(c))]
    return "<!-- made from nbs/index.ipynb by `make readme`: edit there -->\n\n" + "\n\n".join(cells) + "\n"


if __name__ == "__main__":
    target, text = root / "README.md", readme()
    if "--check" in sys.argv:
        same = target.exists() and target.read_text() == text
        print("README.md is what nbs/index.ipynb gives" if same
            else "README.md: got an older text, expected what nbs/index.ipynb gives (make readme)")
        sys.exit(not same)
    tmp = target.with_suffix(".tmp")
    tmp.write_text(text)
    os.replace(tmp, target)
