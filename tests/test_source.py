"""What must stand nowhere in the source: SECURITY is not left to a linter's settings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for room in ("server", "replication", "benchmarks") for path in (ROOT / room).rglob("*.py")
)
DANGEROUS_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "yaml"}
"""They run what they read, or may."""
DANGEROUS_CALLS = {"eval", "exec", "compile", "__import__"}


def dangers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (n.name for n in names if n.name.split(".")[0] in DANGEROUS_MODULES)
            case ast.ImportFrom(module=str(module)):
                if module.split(".")[0] in DANGEROUS_MODULES:
                    yield module
            case ast.Call(func=ast.Name(id=name)) if name in DANGEROUS_CALLS:
                yield name


def test_dangers_are_seen() -> None:
    text = "import pickle\nfrom yaml import load\neval('1')\nre.compile('x')\n"
    assert list(dangers(ast.parse(text))) == ["pickle", "yaml", "eval"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_input_is_ever_run(path: Path) -> None:
    assert not list(dangers(ast.parse(path.read_bytes())))


def test_hashes_of_keys_stay_secret() -> None:
    """With a known seed, anybody could send keys that all fall into one slot."""
    started_by = [ROOT / "Makefile", ROOT / "Dockerfile", *sorted((ROOT / "packaging").iterdir())]
    for path in (*SOURCES, *started_by):
        assert "PYTHONHASHSEED" not in path.read_text(), path
