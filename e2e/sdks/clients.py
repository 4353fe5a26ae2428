"""Asks an LLM gateway through one of the official Python SDKs.

The argument names the SDK. Reads a list of cases from stdin, `{base_url,
token, max_retries}` each, and prints the list of results.
"""

from __future__ import annotations

import json
import sys
import time

# The packages are large, so each is imported only where it is used.


def ask_openai(case: dict) -> str:
    import openai

    client = openai.OpenAI(
        base_url=f"{case['base_url']}/v1", api_key=case["token"], max_retries=case["max_retries"]
    )
    completion = client.chat.completions.create(
        model="double", messages=[{"role": "user", "content": "hello"}]
    )
    return completion.choices[0].message.content


def ask_anthropic(case: dict) -> str:
    import anthropic

    client = anthropic.Anthropic(
        base_url=case["base_url"], api_key=case["token"], max_retries=case["max_retries"]
    )
    message = client.messages.create(
        model="double", max_tokens=16, messages=[{"role": "user", "content": "hello"}]
    )
    return message.content[0].text


ASK = {"openai": ask_openai, "anthropic": ask_anthropic}[sys.argv[1]]


def outcome(case: dict) -> dict:
    started = time.monotonic()
    try:
        told = {"text": ASK(case)}
    except Exception as error:
        if not hasattr(error, "status_code"):
            raise
        parsed = error.body if isinstance(error.body, dict) else {}
        # OpenAI's SDK takes the object out of `error`, Anthropic's does not.
        inner = parsed.get("error")
        parsed = inner if isinstance(inner, dict) else parsed
        told = {
            "raised": type(error).__name__,
            "status": error.status_code,
            "shown": str(error),
            "message": parsed.get("message"),
            "type": parsed.get("type"),
            "code": parsed.get("code"),
        }
    return {**told, "seconds": time.monotonic() - started}


json.dump([outcome(case) for case in json.load(sys.stdin)], sys.stdout)
