"""What a package index shows: the README, with links that are right there, too.

A command of setuptools that pyproject.toml names; it is used by builds alone.
"""

from __future__ import annotations

import re

from setuptools.command.egg_info import egg_info

LINK = re.compile(r"\[([^\]]*)\]\(([^):\s]+)\)")
"""A link of Markdown to a file of the repository: an address has a colon."""


class EggInfo(egg_info):
    """Writes the metadata of the package, as setuptools does, but for the links of the README."""

    def run(self) -> None:
        """Do so."""
        metadata = self.distribution.metadata
        urls: dict[str, str] = getattr(metadata, "project_urls", None) or {}
        metadata.long_description = elsewhere(metadata.long_description or "", urls.get("Source"))
        super().run()


def elsewhere(text: str, source: str | None) -> str:
    """*text* with absolute links to the files below the address *source* of the repository.

    Without *source* such a link is its words alone.
    """
    return LINK.sub(rf"[\1]({source.rstrip('/')}/\2)" if source else r"\1", text)
