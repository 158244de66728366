"""The versioned text normaliser shared by training and scoring."""

from __future__ import annotations

import re
import unicodedata

VERSION = 1

_BLANKS_BESIDE_CHINESE = re.compile(r"(?<![\x21-\x7e])\s+|\s+(?![\x21-\x7e])")
_BLANKS = re.compile(r"\s+")


def normalise(text: str) -> str:
    """One spelling for matching: NFKC (full-width to half-width), lower case, blanks only between Latin words.

    Blanks carry nothing in Chinese; without them segmented and raw text are the same string.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    return _BLANKS.sub(" ", _BLANKS_BESIDE_CHINESE.sub("", folded)).strip()
