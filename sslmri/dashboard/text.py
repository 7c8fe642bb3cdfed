"""Numbers and names as the pages write them, and text that Markdown leaves as it is."""

import re

from sslmri.text import count, in_order, interval, percent, proportion

__all__ = ["count", "escape_markdown", "in_order", "interval", "percent", "proportion"]

_JOINER = "\u2060"  # invisible and without width: parts what Markdown would read as one sign
_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_TURNING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # turn the direction of all that follows
_SEAMS = re.compile(rf"(?<={_PUNCTUATION})(?={_PUNCTUATION})|(?<=:)(?=\S)|(?=@)|(?<=www)(?=\.)", re.IGNORECASE)


def escape_markdown(text: str) -> str:
    """Returns text that Markdown shows sign by sign: no markup, link, emoji or arrow comes out of a file name."""
    flat = _TURNING.sub("\ufffd", " ".join(text.split()))
    return re.sub(f"({_PUNCTUATION})", r"\\\1", _SEAMS.sub(_JOINER, flat))
