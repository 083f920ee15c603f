"""What calls of OpenAI's protocol and their answers look like, in numbers and short words.

Owns which properties of a call can be features. Must not keep or return any text that a person
wrote: lengths, counts, settings and the reason why an answer ended, nothing else.
Source: OpenAI API reference, chat completions and completions, as vLLM serves them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

REQUEST_FEATURES: Final = (
    "messages",
    "prompt_characters",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stream",
    "tools",
)
"""What a profile may call the columns of a request."""

ANSWER_FEATURES: Final = ("finish_reason", "completion_tokens")
"""What a profile may call its prediction."""

MAX_CHUNKS: Final = 20_000
"""Chunks in one stream."""

MAX_CHOICES: Final = 128
"""Choices in one answer."""

Row = Mapping[str, object]


def parse_request(document: Mapping[str, Any]) -> Sequence[Row]:
    """Return the one row of a call; raises ValueError if it is none."""
    messages, prompt = document.get("messages"), document.get("prompt")
    if isinstance(messages, list):
        characters = sum(_characters(_part(message, "content")) for message in messages)
    elif isinstance(prompt, str | list):
        characters = _characters(prompt)
    else:
        raise ValueError("neither messages nor a prompt")
    row = {name: document.get(name) for name in ("temperature", "top_p", "n", "stream")}
    row["messages"] = len(messages) if isinstance(messages, list) else None
    row["prompt_characters"] = characters
    row["max_tokens"] = document.get("max_completion_tokens", document.get("max_tokens"))
    tools = document.get("tools")
    row["tools"] = len(tools) if isinstance(tools, list) else 0
    return (row,)


def parse_answer(document: Mapping[str, Any]) -> Sequence[Row]:
    """Return one row for each choice of a whole answer; raises ValueError if it is none."""
    choices = document.get("choices")
    if not isinstance(choices, list) or not 0 < len(choices) <= MAX_CHOICES:
        raise ValueError("no choices")
    reasons = [_part(choice, "finish_reason") for choice in choices]
    return _rows(reasons, _part(document.get("usage"), "completion_tokens"))


def is_stream(body: bytes) -> bool:
    """Whether a body is the text of server-sent events."""
    return body[:64].lstrip().startswith(b"data:")


def parse_stream(body: bytes) -> Sequence[Row]:
    """
    Return one row for each choice of a streamed answer.

    A choice that never ended has no reason, and so is missing. Tokens are known only if the stream
    tells its usage (`stream_options.include_usage`): chunks are not tokens, and are not counted.

    Raises:
        ValueError: Not UTF-8, a line that is no JSON, no choices, or more than MAX_CHUNKS.
    """
    reasons: dict[object, object] = {}
    tokens = None
    chunks = [line[5:].strip() for line in _lines(body) if line.startswith("data:")]
    if len(chunks) > MAX_CHUNKS:
        raise ValueError("too many chunks")
    for chunk in chunks:
        if chunk == "[DONE]":
            break
        document = json.loads(chunk)
        tokens = _part(_part(document, "usage"), "completion_tokens") or tokens
        for choice in _part(document, "choices") or ():
            index, reason = _part(choice, "index"), _part(choice, "finish_reason")
            reasons[index] = reason or reasons.get(index)
    if not 0 < len(reasons) <= MAX_CHOICES:
        raise ValueError("no choices")
    return _rows(list(reasons.values()), tokens)


def _lines(body: bytes) -> Sequence[str]:
    """Split at the ends of lines that server-sent events know, and at no other."""
    return body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _rows(reasons: Sequence[object], tokens: object) -> Sequence[Row]:
    """Tokens are told for all choices together: with several, nobody knows whose they are."""
    known = tokens if len(reasons) == 1 else None
    return [{"finish_reason": reason, "completion_tokens": known} for reason in reasons]


def _part(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _characters(content: object) -> int:
    """Length of a text, or of the texts in a list of parts; pictures and the like count nothing."""
    match content:
        case str():
            return len(content)
        case list():
            return sum(len(text) for part in content if isinstance(text := _text(part), str))
    return 0


def _text(part: object) -> object:
    return part if isinstance(part, str) else _part(part, "text")
