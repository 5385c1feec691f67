"""One list of what strangers, typing slips and attackers put into a field, an option, an address or a body."""

import json

URLS = (
    *("hook.example.com", "ftp://h/", "https://", "https://[::1", "https://h/a b", "https://h/#part", "https://u:p@h/"),
    *("https://h:0/a/b", "https://h:65536/a/b", "https://h:-1/a/b", "https://h:99999999999999999999/a/b"),
    *(
        "https://h:\u0664\u0662/a/b",
        "https://[::ffff:127.0.0.1]/a/b",
        "https://[fe80::1%25eth0]/a/b",
        "https://[v1.x]/",
    ),
    *("https://b\xfccher.example/a/b", "https://xn--bcher-kva.example/a/b", "https://xn--\u2603/a/b"),
    *("https://h/%zz", "https://h/%00", "https://h/%2e%2e/%2F", f"https://{'h' * 300}.example/a/b"),
    *(f"https://{'a.' * 200}example/a/b", f"https://h/{'x' * 5_000}", "https://h\\@evil/a/b", "//h/a", "https:///a/b"),
    *("ext::sh -c id", "-oProxyCommand=id", "file:///etc/passwd", "git@h:-x", "ssh://-x/a", "http://0x7f.1/a/b"),
)
NUMBERS = (
    *("-1", "0", "1.5", "1e3", "1e400", "NaN", "nan", "Infinity", "-Infinity", "0x10", "1_000", " 7 ", "+7", "07"),
    *(
        "32768",
        "2147483648",
        "9223372036854775808",
        "9" * 20,
        str(10**30),
        "9" * 5_000,
        "\u0664\u0662",
        "1,5",
        "1e-400",
    ),
)
TEXTS = (
    *("", " ", "\t", "x" * 201, "x" * 5_000, "\x00", "a\x00b", "two\nlines", "\r\nX-Header: y", "\x1b[31mred", "\x7f"),
    *("\u202egnp.exe", "\u2066\u2069", "\ufeffa", "\u200b", "\u2028", "\U0010ffff", "\ufffe"),
    *(
        "u\u0308n\u0308",
        "\N{SNOWMAN}",
        "\N{FULLWIDTH LATIN SMALL LETTER A}",
        "'; DROP TABLE x; --",
        "%s%n%(x)s{x}{{x}}",
    ),
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "../../etc/passwd", "${7*7}", "a" * 70 + "\\"),
)
STRUCTURES = (
    *('{"a": 1}', "[]", "null", "true", '{"$ne": null}', "[" * 200 + "]" * 200, '"', "{", "1e1000", '"\\ud800"'),
    json.dumps({"x": "y" * 2_000}),
)
IDS = (
    *("00000000-0000-0000-0000-000000000000", "{00000000-0000-4000-8000-000000000000}", "urn:uuid:0", "g" * 36),
    *("00000000-0000-4000-8000-00000000000", "all", "on", "__all__", "-0"),
)
TIMES = (
    *("0001-01-01", "9999-12-31", "10000-01-01", "2026-02-30", "2026-11-26T25:61:61", "24:61", "0000-00-00"),
    *("1970-01-01T00:00:00+99:99", "2026-11-26 08:00:00.123456789", "9999-12-31T23:59:59-14:00", "now"),
)

ALL = (*TEXTS, *URLS, *NUMBERS, *STRUCTURES, *IDS, *TIMES)


def rotated(turn: int, size: int, values: tuple[str, ...] = ALL) -> list[str]:
    """So many of the values, other ones for each turn: all turns together use all values."""
    first = turn * size
    return [values[(first + number) % len(values)] for number in range(size)]
