"""The versioned text normaliser shared by training, serving and scoring.

`normalise` is the spelling that tickets are matched in; a `TextPolicy` says how transcripts are written, `present`
writes an answer as a site wants it, and `SCORED` is the policy under which a transcript is compared with a reference.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from hotline import digests

VERSION = 1
"""Of `normalise`; models made of its n-grams name it."""
RULES_VERSION = 1
"""Of everything that a TextPolicy does."""
DATA_FILE = Path(__file__).parent / "text.yaml"
FORMS_FILE = Path(__file__).parent / "spoken_forms.yaml"

_BLANKS_BESIDE_CHINESE = re.compile(r"(?<![\x21-\x7e])\s+|\s+(?![\x21-\x7e])")
_BLANKS = re.compile(r"\s+")
_MARKS_OF_NUMBERS = re.compile(r"(?<=\d)([./:~])(?=\d)|(?<=\d)([%‰])")
_OPENCC = {"simplified": "t2s", "traditional": "s2hk"}


def normalise(text: str) -> str:
    """One spelling for matching: NFKC (full-width to half-width), lower case, blanks only between Latin words.

    Blanks carry nothing in Chinese; without them segmented and raw text are the same string.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    return _BLANKS.sub(" ", _BLANKS_BESIDE_CHINESE.sub("", folded)).strip()


class TextPolicy(BaseModel):
    """How a transcript is written. The default changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    script: Literal["as is", "simplified", "traditional"] = "as is"
    """Traditional is that of Hong Kong."""
    digits: Literal["as is", "spoken", "written"] = "as is"
    """Spoken: 二零二六年, 百分之三十. Written: 2026年, 30%."""
    lone_numbers: bool = True
    """With written digits: a number that counts or measures nothing is written in digits too (五十五 → 55)."""
    lone_digits: bool = False
    """With written digits: so are the numbers zero to nine (三个 → 3个)."""
    fillers: Literal["kept", "dropped"] = "kept"
    """嗯, 呃 and the like, which are listed in text.yaml."""
    spelling: Literal["as is", "half width", "folded"] = "as is"
    """Half width: marks, letters and digits of ASCII. Folded: NFKC, lower case, one way to write 一 in numbers."""
    punctuation: Literal["kept", "dropped"] = "kept"
    """Dropped: apostrophes too, but not the marks inside numbers (3.5, 30%)."""
    blanks: Literal["kept", "dropped"] = "kept"
    erhua: Literal["kept", "dropped"] = "kept"
    """Dropped: 花儿 → 花, 一会儿 → 一会; 女儿 and other words for children stay (spoken_forms.yaml)."""
    cantonese: Literal["as is", "written"] = "as is"
    """Written: spoken Cantonese in the words of standard Chinese (嘅 → 的, 冇 → 沒有), listed in spoken_forms.yaml."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A rule that came later and is not asked for is left out, so that it changes no digest."""
        fields: dict[str, Any] = dump(self)
        return {name: value for name, value in fields.items() if _LATER.get(name) != value}

    @property
    def digest(self) -> str:
        """Of the policy, the rules, their data and the libraries: texts under one digest were written alike."""
        libraries = {"OpenCC": self.script != "as is", "wetext": self.digits != "as is"}
        forms = {self.erhua, self.cantonese} != set(_LATER.values())
        return digests.of_value(
            {
                "rules": RULES_VERSION,
                "policy": self.model_dump(mode="json"),
                "data": digests.of_file(DATA_FILE),
                "unicode": unicodedata.unidata_version,
                "libraries": {name: library_version(name) for name, used in libraries.items() if used},
            }
            | ({"forms": digests.of_file(FORMS_FILE)} if forms else {})
        )


_LATER = {"erhua": "kept", "cantonese": "as is"}
"""Rules that policies of version 1 did not have yet, with what they do unasked."""
AS_IS = TextPolicy()
SCORED = TextPolicy(script="simplified", digits="spoken", spelling="folded", punctuation="dropped", blanks="dropped")
"""What character errors are counted in. Only texts with Arabic digits are read out, so this costs the others nothing:
references that write 30% and those that write 百分之三十 are the same."""
SCORED_WORDS = SCORED.model_copy(update={"blanks": "kept"})
"""The same with words kept apart, for word errors."""


def present(text: str, policy: TextPolicy) -> str:
    """The text as the policy wants it written; characters that no rule concerns stay as they are."""
    if policy == AS_IS or not text:
        return text
    text = _spelt(text, policy)
    if policy.fillers == "dropped":
        text = _fillers().sub("", text)
    if policy.cantonese == "written":
        text = _in_written_chinese(text)
    text = _with_digits(text, policy)
    if policy.erhua == "dropped":
        text = _erhua().sub(lambda found: found["kept"] or "", text)
    if policy.script != "as is":
        text = converter(_OPENCC[policy.script]).convert(text)
    if policy.spelling == "folded":
        text = text.lower().replace("幺", "一")  # numbers are read out with PM and OK
    if policy.punctuation == "dropped":
        text = without_punctuation(text)
    if policy.blanks == "dropped":
        return _BLANKS.sub("", text)
    return text if policy.punctuation == "kept" else _BLANKS.sub(" ", text).strip()


def _spelt(text: str, policy: TextPolicy) -> str:
    if policy.spelling == "folded":
        return unicodedata.normalize("NFKC", text).lower()
    if policy.spelling == "half width":
        from wetext import postprocess

        return re.sub(r"\S+", lambda word: str(postprocess(word[0], full_to_half=True)) or word[0], text)
    return text


@lru_cache(maxsize=1 << 15)
def scored_words(text: str) -> str:
    """The text as word errors are counted in it: as `scored`, with one blank where blanks or marks were."""
    return present(text, SCORED_WORDS)


def scored(text: str) -> str:
    """The text as character errors are counted in it: script-neutral, lower case, no punctuation, no blanks."""
    return scored_words(text).replace(" ", "")


@cache
def converter(name: str) -> Any:
    """OpenCC's converter of that name, loaded once."""
    import opencc

    return opencc.OpenCC(name)


@cache
def data() -> dict[str, list[str]]:
    """The word lists of the rules, by name: `fillers`, `not_numbers`."""
    content: dict[str, list[str]] = yaml.safe_load(DATA_FILE.read_text(encoding="utf-8"))
    return content


def _with_digits(text: str, policy: TextPolicy) -> str:
    if policy.digits == "as is":
        return text
    from hotline import numerals

    if policy.digits == "spoken":
        return numerals.spoken(text)
    return numerals.written(text, lone_numbers=policy.lone_numbers, lone_digits=policy.lone_digits)


@cache
def _forms() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FORMS_FILE.read_text(encoding="utf-8"))
    return content


@cache
def _erhua() -> re.Pattern[str]:
    forms = _forms()
    return re.compile(f"(?P<kept>{'|'.join(forms['not_erhua'])})|{'|'.join(forms['erhua'])}")


@cache
def _cantonese() -> tuple[re.Pattern[str], list[str]]:
    forms: dict[str, str] = _forms()["cantonese"]
    return re.compile("|".join(f"({spoken})" for spoken in forms)), list(forms.values())


def _in_written_chinese(text: str) -> str:
    pattern, written = _cantonese()
    return pattern.sub(lambda found: written[(found.lastindex or 1) - 1], text)


@cache
def _fillers() -> re.Pattern[str]:
    return re.compile("|".join(data()["fillers"]), re.IGNORECASE)


class _Punctuation(dict[int, int | None]):
    """For str.translate: marks become blanks, everything else stays; filled as characters are met."""

    def __missing__(self, code: int) -> int | None:
        kind = unicodedata.category(chr(code))
        if chr(code) in "'’" or (kind in ("Cc", "Cf") and not chr(code).isspace()):
            found: int | None = None
        else:
            found = ord(" ") if kind[0] == "P" or kind == "Sk" or chr(code) == "~" else code
        self[code] = found
        return found


_PUNCTUATION = _Punctuation()


def without_punctuation(text: str) -> str:
    """The text with marks as blanks, but for those inside numbers; apostrophes and control characters go."""
    parts = _MARKS_OF_NUMBERS.split(text)
    return "".join(
        part if number % 3 else part.translate(_PUNCTUATION) for number, part in enumerate(parts) if part is not None
    )
