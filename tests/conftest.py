"""Tests of one file run in one process, since they share what is costly to make; notebooks are spread."""
import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem != "test_notebooks":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
