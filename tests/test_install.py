"""An editable install, as a path entry: imported also by a script in the folder that holds the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_editable(sys.argv[1]))"


def test_a_script_beside_the_clone_imports_the_package(tmp_path):
    pytest.importorskip("setuptools", "70.1", reason="builds the editable install, without `wheel` from 70.1")
    clone, site = tmp_path / "graphflow", tmp_path / "site"
    shutil.copytree(ROOT, clone, symlinks=True, ignore=shutil.ignore_patterns(".*", "tests", "__pycache__"))
    site.mkdir()
    built = _run(["-c", _BUILD, str(site)], clone)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(site.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (tmp_path / "script.py").write_text(
        f"import site; site.addsitedir({str(site)!r})\nimport graphflow\nprint(graphflow.__file__)\n")
    done = _run(["script.py"], tmp_path)
    assert done.stdout.strip() == str(clone / "graphflow" / "__init__.py"), done.stderr


def _run(arguments, folder):
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True)
