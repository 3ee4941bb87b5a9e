"""How options and arguments say what a shell can complete them to, at no cost."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
"""What click asks, with what is typed of a value."""


def offering(name: str) -> Complete:
    """Give what asks the function *name* of `completed`, which is imported only then."""

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        module: Any = import_module(f"{__package__}.completed")
        items: list[CompletionItem] = getattr(module, name)(ctx, param, incomplete)
        return items

    return complete
