"""Types, style and the package, with the programs that look at them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import db_pool_status
from conftest import HERE

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="tools are in one environment only")
PROJECT = HERE.parent


def tool(*words, cwd=PROJECT, **variables):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=cwd, env=dict(os.environ, **variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_types_are_strict_and_the_stubs_are_those_of_the_module(tmp_path):
    cache = ["--cache-dir", tmp_path]
    tool("mypy", "--config-file", "pyproject.toml", *cache, "db_pool_status.py")
    tool("mypy.stubtest", "db_pool_status", MYPYPATH=str(PROJECT), MYPY_CACHE_DIR=str(tmp_path))


def test_the_style_is_ruffs():
    tool("ruff", "check", "--no-cache", ".")


def test_the_version_is_in_one_place_twice():
    declared = re.search(r'^version = "(.+)"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared.group(1) == db_pool_status.__version__


def test_the_package_installs_and_is_typed(tmp_path):
    # A copy, because setuptools leaves files in the source.
    source = tmp_path / "source"
    shutil.copytree(PROJECT, source, ignore=shutil.ignore_patterns("tests", "__pycache__", ".*"))
    tool("pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert files == {"db_pool_status.py", "db_pool_status-stubs/__init__.pyi"}
    target = tmp_path / "installed"
    tool("pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel)
    first = "from db_pool_status import watch\n"
    (tmp_path / "good.py").write_text(first + "path: str | None = watch(1, name='a').socket_path\n")
    (tmp_path / "bad.py").write_text(first + "watch(1, nam='a')\n")
    arguments = ["mypy", "--strict", "--cache-dir", tmp_path / "cache"]
    tool(*arguments, "good.py", cwd=tmp_path, MYPYPATH=str(target))
    with pytest.raises(AssertionError, match="nam"):
        tool(*arguments, "bad.py", cwd=tmp_path, MYPYPATH=str(target))
