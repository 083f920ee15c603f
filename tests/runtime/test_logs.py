"""Log lines: one event, one line, and nothing in it that should not be."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from headgate.runtime import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """Put back pytest's handlers and the levels afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    yield
    root.handlers[:], root.level = handlers, level
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)


def lines(form: str, level: str = "info") -> tuple[io.StringIO, logging.Logger]:
    """Configure logging into a buffer."""
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream, logging.getLogger("headgate.test")


@pytest.mark.usefixtures("restored")
def test_a_json_line_holds_the_event_and_its_object() -> None:
    """Time, level, logger, message, then only the fields that are there."""
    stream, log = lines("json")
    log.info("said %s", "so\nit is", extra={"object": "models/fraud", "rollout": ""})

    [line] = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "info",
        "logger": "headgate.test",
        "message": "said so\nit is",
        "object": "models/fraud",
    }


@pytest.mark.usefixtures("restored")
def test_a_traceback_stays_in_its_line() -> None:
    """An exception is one line of JSON too, so that no collector cuts it apart."""
    stream, log = lines("json")
    try:
        raise KeyError("spec")
    except KeyError:
        log.exception("failed")

    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["trace"].endswith("KeyError: 'spec'")


@pytest.mark.usefixtures("restored")
def test_a_text_line_is_for_a_person() -> None:
    """The object stands before the message, the other fields behind it."""
    stream, log = lines("text")
    log.warning("held", extra={"object": "models/fraud", "rollout": "fraud-0007", "reason": "Gone"})

    [line] = stream.getvalue().splitlines()
    assert line.endswith(
        "WARNING headgate.test models/fraud: held (rollout=fraud-0007, reason=Gone)"
    )


@pytest.mark.usefixtures("restored")
def test_kopf_never_writes_whole_objects() -> None:
    """Even at our DEBUG, Kopf's chatter and object bodies are not heard; its warnings are."""
    stream, log = lines("json", "debug")
    logging.getLogger("kopf.objects").debug("Patching with: {'spec': 'hunter2'}")
    logging.getLogger("kopf._core.reactor.processing").info("Handler succeeded.")
    logging.getLogger("kopf._cogs.clients.watching").warning("stalled", extra={"k8s_ref": None})
    log.debug("ours")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        "stalled",
        "ours",
    ]


@pytest.mark.usefixtures("restored")
def test_kopf_names_its_object() -> None:
    """Kopf's reference to an object becomes our `object`."""
    stream, _ = lines("json")
    reference = {"namespace": "models", "name": "fraud"}
    logging.getLogger("kopf.objects").error("broken", extra={"k8s_ref": reference})

    assert json.loads(stream.getvalue())["object"] == "models/fraud"
