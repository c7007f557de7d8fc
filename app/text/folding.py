"""From a text to its words: letters and digits, without case and without diacritics.

A word is a run of letters, digits and the marks of scripts that write vowels as marks. Han and
Hiragana, which put no spaces between words, count as one word a character, as they do in UAX #29
(Unicode Text Segmentation); a phrase of such words then finds what is written in one piece.

Folding is Unicode's: compatibility decomposition (NFKD: UAX #15), full case folding (The Unicode
Standard, section 3.13), and the combining diacritics U+0300 to U+036F dropped, so that "Éclair",
"ＥＣＬＡＩＲ" and "eclair" are one word. What is neither letter nor digit separates words.
"""

from __future__ import annotations

from unicodedata import category, normalize

LONGEST_WORD = 64
"""Characters of a word that count; what follows is cut off, in texts and in what is asked for."""

_FIRST_DIACRITIC, _LAST_DIACRITIC = 0x300, 0x36F
_IDEOGRAPHS = (
    (0x3041, 0x309F),  # Hiragana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class _Characters(dict[int, str]):
    """What each character becomes, worked out when it is first met: at most Unicode's number."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if _FIRST_DIACRITIC <= code <= _LAST_DIACRITIC:
            folded = ""
        elif any(first <= code <= last for first, last in _IDEOGRAPHS):
            folded = f" {character} "
        else:
            folded = character if category(character)[0] in "LMN" else " "
        self[code] = folded
        return folded


_CHARACTERS = _Characters()
for _code in range(128):  # a table that is whole for ASCII lets Python translate it at memory speed
    _CHARACTERS[_code]


def words_of(text: str) -> list[str]:
    """Split a text into its words, folded, in their order."""
    text = text.lower() if text.isascii() else normalize("NFKD", text).casefold()
    words = text.translate(_CHARACTERS).split()
    if words and max(map(len, words)) > LONGEST_WORD:
        return [word[:LONGEST_WORD] for word in words]
    return words
