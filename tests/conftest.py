"""What every test shares: the --slow switch."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--slow``, which lets the tests marked ``slow`` run."""
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests marked ``slow`` out unless ``--slow`` was given (deselected, not skipped)."""
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
