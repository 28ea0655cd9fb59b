"""The harnesses of `bench/` that have no ending to their names, for their tests."""
import importlib.machinery
import importlib.util
import pathlib
import sys
from unittest import mock

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BENCH))


def harness(name):
    """One as a module that was run without words."""
    loader = importlib.machinery.SourceFileLoader(name, str(BENCH / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    with mock.patch.object(sys, "argv", [name]):
        loader.exec_module(module)
    return module
