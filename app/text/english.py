"""The English stemmer: words that differ in their endings only become one.

Martin Porter's second algorithm, written from its published definition ("The English (Porter2)
stemming algorithm", snowballstem.org/algorithms/english/stemmer.html, as of 2002). Its names stay:
R1 is what follows the first consonant after a vowel, R2 the same within R1; both are kept as the
places where they begin. Step 0 treats apostrophes, which words here have none of.
"""

from __future__ import annotations

import re

_SPECIAL = {
    "skis": "ski",
    "skies": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "idly": "idl",
    "gently": "gentl",
    "ugly": "ugli",
    "early": "earli",
    "only": "onli",
    "singly": "singl",
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}
_DONE_AFTER_1A = frozenset(
    ("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed")
)
_R1_AFTER = re.compile(r"gener|commun|arsen")

_VOWELS = "aeiouy"  # a Y that is a consonant is written in upper case
_REGION = re.compile(r"[aeiouy][^aeiouy]")
_VOWEL = re.compile(r"[aeiouy]")
_SHORT_END = re.compile(r"(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$")
_DOUBLE = re.compile(r"(?:bb|dd|ff|gg|mm|nn|pp|rr|tt)$")
_CONSONANT_Y = re.compile(r"^y|(?<=[aeiouy])y")

_STEP_2 = {
    "tional": "tion",
    "enci": "ence",
    "anci": "ance",
    "abli": "able",
    "entli": "ent",
    "izer": "ize",
    "ization": "ize",
    "ational": "ate",
    "ation": "ate",
    "ator": "ate",
    "alism": "al",
    "aliti": "al",
    "alli": "al",
    "fulness": "ful",
    "ousli": "ous",
    "ousness": "ous",
    "iveness": "ive",
    "iviti": "ive",
    "biliti": "ble",
    "bli": "ble",
    "ogi": "og",
    "fulli": "ful",
    "lessli": "less",
    "li": "",
}
_STEP_3 = {
    "tional": "tion",
    "ational": "ate",
    "alize": "al",
    "icate": "ic",
    "iciti": "ic",
    "ical": "ic",
    "ful": "",
    "ness": "",
    "ative": "",
}
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ism", "ate",
    "iti", "ous", "ive", "ize", "ion",
)  # fmt: skip


def _longest(suffixes: object) -> re.Pattern[str]:
    """Match the longest of some suffixes: the first alternative that reaches the end is it."""
    ordered = sorted(suffixes, key=len, reverse=True)  # type: ignore[call-overload]  # any iterable
    return re.compile(f"(?:{'|'.join(ordered)})$")


_SUFFIX_2, _SUFFIX_3, _SUFFIX_4 = map(_longest, (_STEP_2, _STEP_3, _STEP_4))


def stem(word: str) -> str:
    """Reduce a word, in lower case, to its stem."""
    if len(word) <= 2:
        return word
    special = _SPECIAL.get(word)
    if special is not None:
        return special
    word = _CONSONANT_Y.sub("Y", word)
    r1, r2 = _regions(word)
    word = _without_plural(word)
    if word in _DONE_AFTER_1A:
        return word
    word = _without_past(word, r1)
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    word = _step_2(word, r1)
    word = _step_3(word, r1, r2)
    word = _step_4(word, r2)
    return _step_5(word, r1, r2).replace("Y", "y")


def _regions(word: str) -> tuple[int, int]:
    begun = _R1_AFTER.match(word) or _REGION.search(word)
    r1 = begun.end() if begun else len(word)
    second = _REGION.search(word, r1)
    return r1, second.end() if second else len(word)


def _without_plural(word: str) -> str:
    """Step 1a."""
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith(("us", "ss")):
        return word
    if word.endswith("s") and _VOWEL.search(word, 0, len(word) - 2):
        return word[:-1]
    return word


def _without_past(word: str, r1: int) -> str:
    """Step 1b."""
    for suffix in ("eedly", "eed"):
        if word.endswith(suffix):
            at = len(word) - len(suffix)
            return word[: at + 2] if at >= r1 else word
    for suffix in ("ingly", "edly", "ing", "ed"):
        if word.endswith(suffix):
            left = word[: -len(suffix)]
            if not _VOWEL.search(left):
                return word
            if left.endswith(("at", "bl", "iz")):
                return left + "e"
            if _DOUBLE.search(left):
                return left[:-1]
            return left + "e" if r1 >= len(left) and _SHORT_END.search(left) else left
    return word


def _step_2(word: str, r1: int) -> str:
    found = _SUFFIX_2.search(word)
    if found is None or found.start() < r1:
        return word
    suffix, left = found.group(), word[: found.start()]
    if suffix == "ogi" and not left.endswith("l"):
        return word
    if suffix == "li" and left[-1:] not in tuple("cdeghkmnrt"):
        return word
    return left + _STEP_2[suffix]


def _step_3(word: str, r1: int, r2: int) -> str:
    found = _SUFFIX_3.search(word)
    if found is None or found.start() < (r2 if found.group() == "ative" else r1):
        return word
    return word[: found.start()] + _STEP_3[found.group()]


def _step_4(word: str, r2: int) -> str:
    found = _SUFFIX_4.search(word)
    if found is None or found.start() < r2:
        return word
    left = word[: found.start()]
    return word if found.group() == "ion" and not left.endswith(("s", "t")) else left


def _step_5(word: str, r1: int, r2: int) -> str:
    at = len(word) - 1
    if word.endswith("e"):
        left = word[:-1]
        return left if at >= r2 or (at >= r1 and not _SHORT_END.search(left)) else word
    return word[:-1] if word.endswith("ll") and at >= r2 else word
