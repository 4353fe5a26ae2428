"""What the on-call engineer reads: names the cause of every denial from the log
or the status page, without any token. Written from docs/reasons.md alone.

    python oncall.py LOG
    python oncall.py http://127.0.0.1:9003/status.json
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

VALUES = {
    "missing_token": r".+: (not sent|sent, but .+)|(\d+ bytes of query and cookies, .+)",
    "malformed_request": r".+: (a comma, .+|sent more than once|another token, .+)|(the request has no .+)|(\d+ bytes of query and cookies, .+)",
    "malformed_token": r"(its .+)|claim (\S+ is .+), wanted: .+|.+: (a token of .+ not all of them visible ASCII)|(\d+ bytes of query and cookies, .+)",
    "token_too_large": r".+: a token of (\d+) bytes; max_token_bytes: \d+",
    "unknown_key": r"(not known to .+)",
    "unknown_issuer": r"iss (\S+), trusted: .+",
    "unknown_kid": r"kid (\S+), the issuer has .+",
    "wrong_token_type": r"typ (\S+), accepted: .+|(it is bound to .+)",
    "algorithm_not_allowed": r"signed with (\S+), .+",
    "bad_signature": r"the signature does not verify with the issuer's key (\S+)|(the signature verifies with none .+)",
    "expired": r"expired (\d+ \w+) ago, at .+",
    "not_yet_valid": r"valid in (\d+ \w+), from .+",
    "issued_in_future": r"issued (\d+ \w+) ahead of this clock, at .+",
    "lifetime_too_long": r"valid for (\d+ s) in all, allowed: .+",
    "missing_claim": r"missing claim ([^\s,]+).*",
    "wrong_audience": r"aud is (.+), wanted: .+",
    "wrong_client": r"client (.+), allowed: .+",
    "wrong_claim": r"claim (\S+ is .+), wanted: .+",
    "key_expired": r"API key \S+ expired (\d+ \w+) ago, at .+",
    "key_not_yet_valid": r"API key \S+ is valid in (\d+ \w+), from .+",
    "key_revoked": r"API key \S+ is (revoked)",
    "insufficient_scope": r"missing scope (\S+), granted: .+",
    "rate_limited": r"(plan .+ for .+): .+, enough in \d+ s",
    "ambiguous_path": r"(.+)",
    "unknown_route": r"Envoy names the route (\S+), known: .+",
    "provider_unavailable": r"its keys can't be fetched: (.+)|(it did not answer in time)",
    "internal": r"(a defect of this program), .+",
}
"""Where the offending value stands in `detail`, by reason."""


@dataclass(frozen=True)
class Finding:
    """The cause of a denial."""

    reason: str
    caller: str | None
    route: str | None
    value: str

    @classmethod
    def of(cls, told: dict) -> Finding:
        """From the fields of a log line, or of a denial of the status page."""
        reason, detail = told["reason"], told["detail"]
        match = re.fullmatch(VALUES[reason], detail)
        assert match, f"the detail of {reason} is not as documented: {detail}"
        value = next(group for group in match.groups() if group is not None)
        caller = told.get("key") or told.get("subject") or told.get("client_id")
        return cls(reason, caller, told.get("route"), value)


def findings(denials: Iterable[dict]) -> dict[str, Finding]:
    """The cause of each, by request id."""
    return {told["request_id"]: Finding.of(told) for told in denials}


def denials_in_log(text: str) -> Iterator[dict]:
    """The denials among the lines of a log, which may have something before
    each line's JSON, as Envoy's has."""
    for line in text.splitlines():
        begin = line.find("{")
        try:
            fields = json.loads(line[begin:]) if begin >= 0 else {}
        except ValueError:
            continue
        if fields.get("message") == "request denied":
            yield fields


def main(source: str) -> None:
    if source.startswith("http"):
        with urllib.request.urlopen(source) as report:
            denials = json.load(report)["denials"]
    else:
        denials = denials_in_log(Path(source).read_text())
    for request, finding in findings(denials).items():
        caller, route = finding.caller or "unknown", finding.route or "none"
        print(f"{request}: {finding.reason}; caller {caller}; route {route}; {finding.value}")


if __name__ == "__main__":
    main(sys.argv[1])
