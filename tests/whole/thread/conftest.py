from tests.cli.commands import mount

__all__ = ["mount"]
