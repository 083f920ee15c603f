"""`headgate why --plot`: what is in the picture, and that it is drawn."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.cli import stories
from tests.scenarios.memory import Story

from headgate.cli import drawing, exits, plot, why
from headgate.cli.explain import explain
from headgate.cli.plot import Curve, Picture, Rate
from headgate.cli.reach import Reach
from headgate.core.evidence import Evidence

ROOT = Path(__file__).parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n"


def shown(story: Story, **status: Any) -> Picture:
    """The picture of the story's last rollout, with its status changed."""
    found = stories.objects(story)
    explained = explain(found, "models", "fraud", None, story.clock.now())
    manifest = dict(found.rollouts[-1])
    manifest["status"] = {**manifest["status"], **status}
    assert explained.record is not None
    return plot.picture(explained.record, manifest, explained.answer)


def drawn(title: str = "Version 2 went back.", curves: Sequence[Curve] = ()) -> Picture:
    """A picture by hand."""
    minute = timedelta(minutes=1)
    return Picture(
        title=title,
        caption="rollout fraud-0002: version 1 to version 2; record intact",
        begin=START,
        end=START + 3 * minute,
        curves=tuple(curves),
        weights=((START, 10), (START + 3 * minute, 0)),
        marks=((START + minute, "first request"), (START + 3 * minute, "Breach")),
    )


def curve(name: str, highest: float) -> Curve:
    """Two rates and an e-value that rises to 10^highest."""
    moments = [START + timedelta(minutes=n) for n in range(3)]
    rates = (
        Rate(moments[0], moments[1], 0.1, 0.05, 0.2, 0.01),
        Rate(moments[1], moments[2], 0.3, 0.2, 0.4, None),
    )
    logs = tuple((at, highest * n / 2) for n, at in enumerate(moments))
    return Curve(name, rates, logs, 2.35)


# --- what is in it -------------------------------------------------------------------------------


async def test_a_rollback_shows_its_rates_its_evidence_and_its_weights() -> None:
    """Claim: both arms of each signal, the bar, every change of weight, and the moments that
    matter, under the sentence that explains it."""
    story = await stories.rolled_back()
    picture = shown(story)
    errors = picture.curves[0]

    assert picture.title.startswith("Version 2 went back to version 1 because")
    assert [one.name for one in picture.curves] == ["errors", "latency"]
    assert errors.highest > errors.threshold
    assert max(rate.canary or 0.0 for rate in errors.rates) > 0.1
    assert [weight for _, weight in picture.weights] == [0, 10, 0]
    assert [name for _, name in picture.marks] == ["first request", "Breach"]
    assert picture.begin <= errors.rates[0].begin
    assert errors.rates[-1].end <= picture.end


async def test_the_rates_tell_of_every_request() -> None:
    """Claim: rates times requests add up to the failures of the whole comparison, and each rests on
    its part of the requests."""
    story = await stories.second("Stable")
    state = story.cluster.all("ModelRollout")[-1]["status"]["evidence"]["state"]
    points = Evidence.from_json(state).trace
    told = {point.at: point.signals[0] for point in points}
    rates = next(c for c in shown(story).curves if c.name == "errors").rates
    first, last = told[rates[0].begin], told[rates[-1].end]

    bad = 0.0
    for rate in rates:
        requests = told[rate.end].canary_requests - told[rate.begin].canary_requests
        bad += (rate.canary or 0.0) * requests
        assert rate is rates[-1] or requests >= last.canary_requests / 15
        assert rate.low <= (rate.canary or 0.0) <= rate.high
    assert bad == pytest.approx(last.canary_bad - first.canary_bad)
    assert last.canary_requests == points[-1].signals[0].canary_requests
    assert [rate.end for rate in rates[:-1]] == [rate.begin for rate in rates[1:]]


@pytest.mark.parametrize(
    "evidence",
    [None, {"state": "{}", "asOf": "2026-01-01T00:00:00Z"}, {"asOf": "2026-01-01T00:00:00Z"}],
)
async def test_a_record_without_readable_evidence_shows_its_weights(evidence: Any) -> None:
    """Claim: what an older operator wrote is no reason to show nothing."""
    picture = shown(await stories.rolled_back(), evidence=evidence)

    assert picture.curves == ()
    assert [weight for _, weight in picture.weights] == [0, 10, 0]


async def test_a_first_revision_has_nothing_to_compare() -> None:
    """Claim: its picture has weights and moments only, and is drawn."""
    picture = shown(await stories.first("Stable"))

    assert picture.curves == ()
    assert [weight for _, weight in picture.weights] == [0, 100, 100]


# --- drawing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "curves",
    [
        pytest.param([], id="nothing to compare"),
        pytest.param([curve("errors", 3.0)], id="one signal"),
        pytest.param([curve("errors", -1.0)], id="no evidence of harm"),
        pytest.param([curve("errors", 130.0)], id="evidence beyond all bounds"),
        pytest.param([curve(f"signal/{n}", n) for n in range(4)], id="as many as are drawn"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
def test_every_picture_can_be_drawn(curves: list[Curve], suffix: str, tmp_path: Path) -> None:
    """Claim: the suffix chooses the format, and equal pictures are equal files."""
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    drawing.draw(drawn(curves=curves), one)
    drawing.draw(drawn(curves=curves), other)

    written = one.read_bytes()
    assert written == other.read_bytes()
    assert written.startswith(PNG if suffix.lower() == ".png" else b"<?xml")


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    """Claim: a version that looks like markup or mathematics, or is in a script that the font
    lacks, is text."""
    title = "</text><script>alert(1)</script> $\\frac{ -- 版本 \u202e"
    path = tmp_path / "hostile.svg"
    drawing.draw(drawn(title, [curve(title, 1.0)]), path)

    names = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
    assert "script" not in names


# --- the option ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out", "out.pdf", "out.png.txt", ""])
def test_other_formats_are_wrong_usage(name: str) -> None:
    """Claim: the two formats are named."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"wanted a name ending in \.png or \.svg"):
        plot.target(name)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path) -> None:
    """Claim: one line and exit code 2, before the cluster is asked for anything."""
    program = (
        "import sys; sys.modules['matplotlib'] = None; from headgate.cli import main;"
        f"sys.exit(main(['why', 'fraud', '--plot', {str(tmp_path / 'a.png')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == exits.USAGE
    assert done.stderr == (
        "headgate why: --plot needs matplotlib: install the extra `plot` "
        "(pip install 'headgate[plot]')\n"
    )


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate why fraud --plot FILE`, changed."""
    usual = {"name": "fraud", "output": "text", "rollout": None, "plot": None}
    return Namespace(**{**usual, **changes})


async def test_why_draws_beside_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: the text is as without the option, and the file is there."""
    story, path = await stories.rolled_back(), tmp_path / "why.png"

    code = await why._explain(Reach(story.cluster, "models"), called(plot=path))

    assert code == exits.OK
    assert capsys.readouterr().out.startswith("Version 2 went back")
    assert path.read_bytes().startswith(PNG)


async def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: one line with the name and the system's reason."""
    story, path = await stories.rolled_back(), tmp_path / "none" / "why.png"

    code = await why._explain(Reach(story.cluster, "models"), called(plot=path))

    assert code == exits.FAILED
    assert capsys.readouterr().err == f"headgate why: {path}: No such file or directory\n"


async def test_without_a_rollout_there_is_nothing_to_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: it is said, and no file is made."""
    story, path = await stories.first("Stable"), tmp_path / "why.png"
    for key in [key for key in story.cluster.objects if key[0] == "ModelRollout"]:
        story.cluster.objects.pop(key)

    code = await why._explain(Reach(story.cluster, "models"), called(plot=path))

    assert code == exits.FAILED
    assert "headgate why: there is no rollout to draw yet\n" in capsys.readouterr().err
    assert not path.exists()
