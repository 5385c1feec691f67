"""Characters that would not be seen, or that steer a terminal or the direction of text, are shown as escapes.

Branches, paths, names, answers and the messages of git come from elsewhere. Nothing that shows them has to remember
this: the console's pages and the API pass a middleware, commands and logs have it where they write.
"""

import re

# Controls but for tab and line end; a carriage return but at a line's end. Then, by their code points: what directs
# text (Unicode's bidi controls), invisible formatting and tags, separators of lines, and half characters. Joiners stay:
# Persian and emojis need them.
_HIDDEN = (
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f\ud800-\udfff]"
)
HIDDEN = re.compile(rf"{_HIDDEN}|\r(?!\n)")
_IN_LINE = re.compile(rf"{_HIDDEN}|[\t\r\n]")

# In HTML a carriage return is a space. A form's own values are sent back as they are: they stay.
_IN_HTML = re.compile(rf'(\svalue="[^"]*"|<textarea\b[^>]*>[^<]*)|({_HIDDEN})')
# Bytes that no hidden character has: deleting them is the quickest way to find that there is none.
_PLAIN = bytes([*b"\t\n\r", *range(0x20, 0x7F)])


def visible(text: str) -> str:
    r"""Text of any length, its lines kept: `\x1b[2J`, `a\u202eb`."""
    return HIDDEN.sub(_escape, text) if HIDDEN.search(text) else text


def visible_line(text: str) -> str:
    r"""One line for a terminal, where a name with a line end would look like two: `a\nb`."""
    return text if text.isprintable() else _IN_LINE.sub(_escape, text)


def visible_path(path: bytes) -> str:
    r"""git's bytes to read, each path another text: what is not UTF-8, and all that is no printable character."""
    text = path.decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def visible_json(text: str) -> str:
    """A JSON document that means the same: hidden characters stand only in its strings."""
    return HIDDEN.sub(lambda found: _json_escaped(found[0]), text) if HIDDEN.search(text) else text


def visible_html(page: str) -> str:
    """A page whose values of forms are as they were."""
    return _IN_HTML.sub(lambda found: found[1] or _escaped(found[2]), page)


def may_hide(content: bytes) -> bool:
    """False where UTF-8 text certainly has no hidden character."""
    odd = content.translate(None, _PLAIN)
    return bool(odd) and HIDDEN.search(odd.decode(errors="replace")) is not None


def _escape(found: re.Match[str]) -> str:
    return _escaped(found[0])


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
