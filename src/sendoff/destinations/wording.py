"""
What of a vendor's own words may stand in a log line: words of a closed list, and nothing else.

An answer may repeat what it did not like: a property's value, a key, a person's name; cut short, in
other letters or inside another word. To look for these in it would never be sound. So the words
that errors are made of pass, each on its own, and `…` stands for all the others.
"""

from __future__ import annotations

import re

__all__ = ["WORDS", "in_plain_words"]

# Grammar; what HTTP's statuses are called; what goes wrong with a body; the vendors' own fields.
_LISTED = """
a all an and any are as at be because been but by can cannot contains could did do does each
either every exactly expected for found from given got had has have in into is it its least
less longer many more most must no non none not of off on one only or other out over please
same several should some such than that the their them then there these they this to too try
under unless until up was we were when which while will with within without you your

acceptable accepted agent allowed already authoritative bad client conditional conflict
content continue created dependency early entity error expectation failed fields forbidden
gateway gone header headers http implemented insufficient internal large length limit locked
loop media method misdirected moved network ok partial payment permanently precondition
processing proxy range redirect request requests required reset satisfiable server service
status storage supported switching temporarily temporary timeout type unauthorized
unavailable unprocessable unsupported upgrade uri url version

above absent after again array before below beyond body boolean bytes character characters
charset column compressed compression date datetime decode decoding deflate denied deprecated
digits disabled document duplicate element elements empty enabled encoded encoding end epoch
event events exceed exceeded exceeds expired failure false field float format future greater
gzip id ids illegal incorrect input integer invalid item items json key keys kilobytes later
line list long malformed maximum megabytes members milliseconds minimum mismatch missing name
names negative null number object objects old parameter parse parsing past path payload plain
position positive properties property quota rate reached read rejected schema second seconds
short size small string syntax text throttled time timestamp true unable unexpected unique
unknown unparsable unreadable utf value values wrong

access account api app application authentication authorization batch credential credentials
dd device distinct environment identify insert intake integrations ip numeric options
organization permission permissions plan product session site source suspended tag tags token
track tracks usr user users
"""

WORDS = frozenset(_LISTED.split())
"""Every word that passes, in small letters."""

# One word, or several that belong together (usr.id, content-type, $insert_id), with the punctuation
# that stands around words.
_CHUNK = re.compile(r"""["'(\[]*\$?([A-Za-z]+(?:[._/-][A-Za-z]+)*)["')\].,:;!?]{0,3}""")
_BETWEEN = re.compile(r"[._/-]")


def in_plain_words(text: str) -> str:
    """
    A text in which every run of words that are not in `WORDS` is one `…`; empty if none is.
    """
    kept: list[str] = []
    found = False
    for chunk in text.split():
        match = _CHUNK.fullmatch(chunk)
        if match and WORDS.issuperset(_BETWEEN.split(match[1].lower())):
            kept.append(chunk)
            found = True
        elif not kept or kept[-1] != "…":
            kept.append("…")
    return " ".join(kept) if found else ""
