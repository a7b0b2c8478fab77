# SPDX-License-Identifier: BSD-3-Clause
"""The examples in the manual pages, to be tried."""

import pathlib
import re

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def examples(page: str) -> list[str]:
    """The displays of a page in docs/, as a reader sees them."""
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$",
                       (DOCS / page).read_text(), re.M | re.S)
    return [text.replace("\\-", "-").replace("\\e", "\\") for text in found]


def session(example: str) -> tuple[str, str]:
    """(command, output) of an example that begins with a shell's prompt."""
    return re.fullmatch(r"\$ ((?:[^\n]*\\\n)*[^\n]*\n)(.*)", example,
                        re.S).groups()
