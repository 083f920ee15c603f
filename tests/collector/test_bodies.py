"""What is read of a body, good or hostile."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collector.samples import SECRET

from headgate.collector.bodies import MAX_VALUES, Content, Rows, Tensor, Tensors, parse_body
from headgate.collector.events import Half, Result, Unusable
from headgate.collector.llm import MAX_CHUNKS

REQUEST, RESPONSE = Half.REQUEST, Half.RESPONSE


def tensor(name: str, shape: list[int], data: Any, datatype: str = "FP32") -> dict[str, Any]:
    """A V2 tensor with its data in the JSON."""
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def binary(datatype: str, shape: list[int], raw: bytes, key: str = "inputs") -> bytes:
    """A V2 body with one tensor after the JSON."""
    head = {"name": "x", "shape": shape, "datatype": datatype}
    size = {"parameters": {"binary_data_size": len(raw)}}
    return json.dumps({"id": "1", key: [head | size]}).encode() + raw


def written(body: object) -> bytes:
    """A body as bytes."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def stream(*chunks: object, end: str = "\n\n") -> bytes:
    """The text of a streamed answer."""
    texts = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {text}{end}" for text in texts).encode()


def delta(index: int, reason: str | None = None, **more: object) -> dict[str, object]:
    """One chunk of a stream."""
    choice = {"index": index, "delta": {"content": SECRET}, "finish_reason": reason}
    return {"choices": [choice], **more}


STOP = {"finish_reason": "stop", "completion_tokens": None}

READ: list[Any] = [
    pytest.param(REQUEST, {"instances": [[1, 2.5]]}, Rows([[1, 2.5]]), id="V1 rows"),
    pytest.param(REQUEST, {"inputs": [{"a": 1}]}, Rows([{"a": 1}]), id="V1 rows called inputs"),
    pytest.param(REQUEST, {"instances": []}, Rows([]), id="V1 without a row"),
    pytest.param(REQUEST, b' \n{"instances": [1]} \n', Rows([1]), id="white space around"),
    pytest.param(RESPONSE, {"predictions": [0.5, 1]}, Rows([0.5, 1]), id="V1 predictions"),
    pytest.param(
        REQUEST, b'{"instances":[1],"instances":[2]}', Rows([2]), id="a key that comes twice"
    ),
    pytest.param(REQUEST, b'{"instances":[1e999]}', Rows([float("inf")]), id="a float too large"),
    pytest.param(
        REQUEST,
        {"inputs": [tensor("a", [2], [1, 2]), tensor("b", [2, 1], ["x", None], "BYTES")]},
        Tensors((Tensor("a", 2, 1, [1, 2]), Tensor("b", 2, 1, ["x", None]))),
        id="V2 columns",
    ),
    pytest.param(
        REQUEST,
        {"inputs": [tensor("x", [2, 2], [[1, 2], [3, 4]])]},
        Tensors((Tensor("x", 2, 2, [1, 2, 3, 4]),)),
        id="V2 nested",
    ),
    pytest.param(
        RESPONSE,
        {"outputs": [tensor("y", [], [7])]},
        Tensors((Tensor("y", 1, 1, [7]),)),
        id="V2 scalar",
    ),
    pytest.param(
        REQUEST,
        binary("FP32", [1, 2], struct.pack("<2f", 1.5, -2.0)),
        Tensors((Tensor("x", 1, 2, (1.5, -2.0)),)),
        id="V2 binary floats",
    ),
    pytest.param(
        REQUEST,
        binary("FP16", [1], struct.pack("<e", 0.5)),
        Tensors((Tensor("x", 1, 1, (0.5,)),)),
        id="V2 binary halves",
    ),
    pytest.param(
        REQUEST,
        binary("INT8", [4], b"    "),
        Tensors((Tensor("x", 4, 1, (32,) * 4),)),
        id="V2 binary that looks like white space",
    ),
    pytest.param(
        REQUEST,
        binary("INT64", [1], b"\xff" * 8),
        Tensors((Tensor("x", 1, 1, (-1,)),)),
        id="V2 binary that is not UTF-8",
    ),
    pytest.param(
        RESPONSE,
        binary("BYTES", [2], struct.pack("<I2sI0s", 2, b"DE", 0, b""), "outputs"),
        Tensors((Tensor("x", 2, 1, ["DE", ""]),)),
        id="V2 binary texts in an answer",
    ),
    pytest.param(
        REQUEST,
        {"model": "m", "messages": [{"role": "user", "content": "abc"}], "max_tokens": 9},
        Rows(
            (
                {
                    "temperature": None,
                    "top_p": None,
                    "n": None,
                    "stream": None,
                    "messages": 1,
                    "prompt_characters": 3,
                    "max_tokens": 9,
                    "tools": 0,
                },
            )
        ),
        id="chat in lengths",
    ),
    pytest.param(
        RESPONSE,
        {"choices": [{"finish_reason": "length"}], "usage": {"completion_tokens": 12}},
        Rows([{"finish_reason": "length", "completion_tokens": 12}]),
        id="chat answer",
    ),
    pytest.param(
        RESPONSE,
        {"choices": [{"finish_reason": "stop"}] * 2, "usage": {"completion_tokens": 12}},
        Rows([STOP, STOP]),
        id="chat answer with two choices whose tokens are told together",
    ),
    pytest.param(
        RESPONSE,
        stream(
            delta(0), delta(0, "stop"), {"choices": [], "usage": {"completion_tokens": 2}}, "[DONE]"
        ),
        Rows([{"finish_reason": "stop", "completion_tokens": 2}]),
        id="a stream with its usage",
    ),
    pytest.param(
        RESPONSE,
        b"\n" + stream(delta(0), delta(1, "length"), delta(0, "stop"), end="\r\n\r\n"),
        Rows([STOP, STOP | {"finish_reason": "length"}]),
        id="a stream of two choices",
    ),
    pytest.param(
        RESPONSE,
        stream(delta(0)),
        Rows([STOP | {"finish_reason": None}]),
        id="a stream that was cut",
    ),
]


@pytest.mark.parametrize(("half", "body", "content"), READ)
def test_a_body_is_read(half: Half, body: object, content: Content) -> None:
    """Each protocol gives rows or tensors, with nothing of it but values."""
    assert parse_body(half, written(body)) == content


def test_not_a_number_is_read_as_one() -> None:
    """Python's servers write NaN; it is a value that has no bin, and no error."""
    content = parse_body(REQUEST, b'{"instances": [NaN]}')

    assert isinstance(content, Rows)
    assert content.rows[0] != content.rows[0]


BAD: list[Any] = [
    pytest.param(REQUEST, b"", id="nothing"),
    pytest.param(REQUEST, b"\x1f\x8b\x08\x00", id="something compressed"),
    pytest.param(REQUEST, b"instances", id="no JSON"),
    pytest.param(REQUEST, [1, 2], id="a list"),
    pytest.param(REQUEST, {"instances": {"a": 1}}, id="V1 with an object for rows"),
    pytest.param(REQUEST, {"predictions": [1]}, id="an answer sent as a request"),
    pytest.param(RESPONSE, {"instances": [[1]]}, id="a request sent as an answer"),
    pytest.param(REQUEST, b'{"instances": [1]} and more', id="text after the JSON"),
    pytest.param(REQUEST, b'{"instances": ["\xff"]}', id="not UTF-8 inside"),
    pytest.param(REQUEST, b"\xff\xfe{\x00}\x00", id="UTF-16"),
    pytest.param(REQUEST, b'{"instances": [' + b"9" * 5000 + b"]}", id="a number of 5000 digits"),
    pytest.param(REQUEST, b'{"instances": ' + b"[" * 100_000, id="lists 100000 deep"),
    pytest.param(REQUEST, b'{"a":' * 100_000, id="objects 100000 deep"),
    pytest.param(REQUEST, {"inputs": [tensor("x", [2], [1])]}, id="less data than the shape"),
    pytest.param(REQUEST, {"inputs": [tensor("x", [1], [1, 2])]}, id="more data than the shape"),
    pytest.param(REQUEST, {"inputs": [tensor("x", [-1], [])]}, id="a negative shape"),
    pytest.param(REQUEST, {"inputs": [tensor("x", [True], [1])]}, id="a shape of truth"),
    pytest.param(REQUEST, {"inputs": [tensor("x", [1] * 9, [1])]}, id="nine dimensions"),
    pytest.param(REQUEST, {"inputs": [tensor("x", [1], {"0": 1})]}, id="data in an object"),
    pytest.param(
        REQUEST, {"inputs": [tensor("x", [1], [1]), tensor("y", [2], [1, 2])]}, id="uneven tensors"
    ),
    pytest.param(REQUEST, {"inputs": [tensor("x", [1], [1]), "x"]}, id="half a V2 body"),
    pytest.param(
        REQUEST,
        {"inputs": [tensor("x", [1], [1]) | {"parameters": [1]}, {"parameters": 1}]},
        id="odd parameters",
    ),
    pytest.param(RESPONSE, {"outputs": [1, 2]}, id="outputs that are no tensors"),
    pytest.param(REQUEST, binary("FP32", [2], b"\0" * 4), id="half the bytes"),
    pytest.param(REQUEST, binary("FP32", [1], b"\0" * 4) + b"x", id="bytes left over"),
    pytest.param(REQUEST, binary("BF16", [1], b"\0" * 2), id="an unknown datatype"),
    pytest.param(
        REQUEST,
        binary("BYTES", [1], struct.pack("<I", 100_000_000)),
        id="a text that claims 100 MB",
    ),
    pytest.param(REQUEST, binary("BYTES", [1], b"\0\0\0\0x"), id="bytes after the texts"),
    pytest.param(
        REQUEST,
        binary("FP32", [1], b"\0" * 4).replace(b'_size": 4', b'_size": 100000000'),
        id="a tensor that claims 100 MB",
    ),
    pytest.param(REQUEST, {"messages": "hello"}, id="chat without a list"),
    pytest.param(RESPONSE, {"choices": []}, id="an answer without choices"),
    pytest.param(RESPONSE, {"choices": [{}] * 1000}, id="an answer with a thousand choices"),
    pytest.param(RESPONSE, stream("[DONE]"), id="an empty stream"),
    pytest.param(RESPONSE, stream("{"), id="a stream of broken JSON"),
    pytest.param(RESPONSE, b"data: \xff\n\n", id="a stream that is not UTF-8"),
    pytest.param(RESPONSE, stream(*["{}"] * (MAX_CHUNKS + 1)), id="a stream without end"),
    pytest.param(
        RESPONSE, stream({"choices": [{"index": []}]}), id="a stream with an index that is a list"
    ),
]


@pytest.mark.parametrize(("half", "body"), BAD)
def test_a_body_in_no_protocol_is_malformed(half: Half, body: object) -> None:
    """Whatever is wrong, the answer is one word, and the text is always the same."""
    with pytest.raises(Unusable) as refused:
        parse_body(half, written(body))

    assert refused.value.result is Result.MALFORMED
    assert str(refused.value) == "wanted a body of V1, V2 or OpenAI"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"instances": [0] * (MAX_VALUES + 1)}, id="V1 values"),
        pytest.param({"instances": [[0] * 1000] * 201}, id="V1 rows"),
        pytest.param({"inputs": [tensor("x", [100_000_000], [1])]}, id="a claim of V2"),
        pytest.param({"inputs": [tensor("x", [10**400, 10**400], [1])]}, id="an absurd claim"),
    ],
)
def test_too_many_values_are_oversized(body: object) -> None:
    """A body may not hold up the others, whether its values are there or only claimed."""
    with pytest.raises(Unusable) as refused:
        parse_body(REQUEST, written(body))

    assert refused.value.result is Result.OVERSIZED


KEYS = (
    *("instances", "inputs", "outputs", "predictions", "name", "shape", "datatype", "data"),
    *("parameters", "binary_data_size", "messages", "content", "choices", "usage", "tools"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=20,
)


def result_of(half: Half, body: bytes) -> Result | None:
    """Why a body is refused; None if it is read. Anything raised but Unusable is a fault."""
    try:
        parse_body(half, body)
    except Unusable as error:
        return error.result
    return None


@given(half=st.sampled_from(Half), document=JSON, tail=st.binary(max_size=6))
def test_any_json_is_read_or_refused(half: Half, document: object, tail: bytes) -> None:
    """No document raises anything but Unusable: what it raises else would be a fault of ours."""
    result = result_of(half, json.dumps(document).encode() + tail)

    assert result in (None, Result.MALFORMED, Result.OVERSIZED)


@given(half=st.sampled_from(Half), start=st.sampled_from([b"", b"{", b"data: "]), rest=st.binary())
def test_any_bytes_are_read_or_refused(half: Half, start: bytes, rest: bytes) -> None:
    """Nor do any bytes."""
    assert result_of(half, start + rest) in (None, Result.MALFORMED, Result.OVERSIZED)


@given(text=st.text(min_size=8))
def test_no_text_of_a_person_is_returned(text: str) -> None:
    """Of a prompt only lengths are kept, so that no bin and no fault can show it."""
    marked = f"{SECRET}{text}"
    parts = [{"type": "text", "text": marked}, {"type": "image_url", "image_url": marked}]
    messages = [{"role": "user", "content": marked}, {"role": "user", "content": parts}]
    content = parse_body(REQUEST, written({"messages": messages, "tools": [marked]}))

    assert SECRET not in repr(content)
    assert isinstance(content, Rows)
    [row] = content.rows
    assert isinstance(row, dict)
    assert row["prompt_characters"] == 2 * len(marked)
