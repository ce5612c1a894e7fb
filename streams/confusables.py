"""Names and versions that look like others. What else they may not be: `artifact_identity.py`.

In the manner of UTS #39, as far as Python's own tables lead: compatibility forms (`ａ`, `ﬁ`, `／`) and invisible letters are refused, beyond
ASCII only letters, marks and digits are taken (so no `∕` beside `/`, no `‐` beside `-`), and a name has the letters of one script; Latin may
stand with Han, kana and hangul, as it does in East Asia. A name of another script that is made of nothing but look-alikes of
Latin letters (`аррӏе`) is refused too. Nearly every name is ASCII, and never comes here.
"""

from __future__ import annotations

import unicodedata

#: Letters and marks that Unicode says to leave out where they cannot be shown: nobody sees them.
_INVISIBLE = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F}).union(
    range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)
_EAST_ASIAN = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"})
#: Letters of Cyrillic, Greek and Armenian that no reader tells from Latin ones.
_LIKE_LATIN = frozenset("аеорсухѕіјһԁԛԝӏԍгАВЕКМНОРСТХУЅІЈԌԚԜ" + "οινυρχκαΑΒΕΖΗΙΚΜΝΟΡΤΥΧ" + "օսոհցզգՏՕՍԼ")


def doubt(name: str) -> str | None:
    """What a name should have been instead, if it may be taken for another one; None when it may not."""
    if name.isascii():
        return None
    if not unicodedata.is_normalized("NFKC", name):
        return "no compatibility forms (Unicode in the form NFKC)"
    if any(char > "\x7f" and not _is_word(char) for char in name):
        return "beyond ASCII only letters, marks and digits that can be seen"
    letters = [char for char in name if char.isalpha()]
    scripts = {_script(char) for char in letters}
    if len(scripts) > 1 and not scripts <= _EAST_ASIAN:
        return f"letters of one script, not of {' and '.join(sorted(script.capitalize() for script in scripts))} together"
    if letters and _LIKE_LATIN.issuperset(letters):
        return "letters that cannot be taken for Latin ones"
    return None


def _is_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" and ord(char) not in _INVISIBLE


def _script(letter: str) -> str:
    """The first word of its name: Unicode's own tables of scripts are not in Python."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
