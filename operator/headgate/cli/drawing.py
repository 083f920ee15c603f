"""One rollout drawn over time: rates, evidence and the canary's weight above one another.

Owns lines, shades and labels. Must not know a record, nor choose what is shown (`cli.plot`). The
only module that imports matplotlib.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from headgate.cli.plot import Curve, Picture

_DOTS_PER_INCH = 160
_TITLE_COLUMNS = 104

# Told apart by darkness and dashes as well as by colour, so that a grey print says the same.
_CANARY: dict[str, Any] = {"color": "#a3200d", "linewidth": 1.8}
_STABLE: dict[str, Any] = {"color": "#6f88a6", "linewidth": 1.8, "linestyle": (0, (5, 2))}
_RANGE: dict[str, Any] = {"color": "#f3dfda", "linewidth": 0}
_BAR: dict[str, Any] = {"color": "#000000", "linewidth": 1.0, "linestyle": (0, (8, 3))}
_WEIGHT: dict[str, Any] = {"color": "#44546a", "linewidth": 1.6}
_FILL: dict[str, Any] = {"color": "#e4e9ef", "linewidth": 0}
_MARK: dict[str, Any] = {"color": "#333333", "linewidth": 0.9}
_GRID: dict[str, Any] = {"color": "#e6e6e6", "linewidth": 0.6}
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5)))
_SHADES = ("#a3200d", "#44546a", "#6f88a6", "#999999")
_STYLE: Any = {
    "font.size": 9.0,
    "text.parse_math": False,  # names are printed as they are, a dollar sign among them
    "svg.hashsalt": "headgate",  # equal records give equal files
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def draw(shown: Picture, path: Path) -> None:
    """Write the picture; the file's suffix says in which format. Raises OSError."""
    is_svg = path.suffix.lower() == ".svg"
    metadata: dict[str, Any] = {"Date": None} if is_svg else {"Software": None}
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes, which is warning enough
        warnings.filterwarnings("ignore", message="Glyph")
        _figure(shown).savefig(path, dpi=_DOTS_PER_INCH, metadata=metadata)
    if is_svg:
        path.write_text(_named_in_order(path.read_text(encoding="utf-8")), encoding="utf-8")


_MADE_NAME = re.compile(r"\bp[0-9a-f]{10}\b")


def _named_in_order(svg: str) -> str:
    """Name clip paths by their order: matplotlib makes the names of addresses in memory, and equal
    pictures are to be equal files."""
    order = {name: n for n, name in enumerate(dict.fromkeys(_MADE_NAME.findall(svg)))}
    return _MADE_NAME.sub(lambda found: f"clip{order[found[0]]}", svg)


def _figure(shown: Picture) -> Figure:
    """Lay out a panel of rates for each signal, one of evidence and one of the weight."""
    heights = [*_heights(len(shown.curves)), 1.1]
    title = textwrap.wrap(shown.title, _TITLE_COLUMNS)
    figure = Figure(figsize=(9.6, sum(heights) + 1.4 + 0.2 * len(title)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for axes, curve in zip(panels, shown.curves, strict=False):
        _draw_rates(axes, curve, shown)
    if not shown.curves:
        _say(panels[0], "no requests of two versions at the same time")
    _draw_evidence(panels[-2], shown)
    _draw_weight(panels[-1], shown)
    for n, axes in enumerate(panels):
        _draw_marks(axes, shown, named=n == 0)
        axes.grid(True, axis="y", **_GRID)
    _draw_time(panels[-1], shown)
    _legend(panels[0], "upper left", columns=2)
    _legend(panels[-2], "best", columns=1)
    figure.align_ylabels(panels)
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _heights(signals: int) -> list[float]:
    """Inches of the panels of rates and of evidence."""
    if not signals:
        return [0.7, 0.7]
    return [*([1.7 if signals == 1 else 1.1] * signals), 1.9]


def _draw_rates(axes: Axes, curve: Curve, shown: Picture) -> None:
    """Step lines of both arms, and the range in which the canary's rate is."""
    spans = [(_at(shown, rate.begin), _at(shown, rate.end), rate) for rate in curve.rates]
    for begin, end, rate in spans:
        if rate.canary is not None:
            axes.fill_between([begin, end], 100 * rate.low, 100 * rate.high, **_RANGE)
    highest = [median(rate.high for rate in curve.rates)]
    for arm, style in (("stable", _STABLE), ("canary", _CANARY)):
        told = [(begin, end, getattr(rate, arm)) for begin, end, rate in spans]
        told = [one for one in told if one[2] is not None]
        x = [at for begin, end, _ in told for at in (begin, end)]
        y = [100 * share for *_, share in told for _ in range(2)]
        axes.plot(x, y, label=arm, clip_on=False, **style)
        highest += [1.2 * share for *_, share in told]
    axes.set_ylim(0, 100 * min(1.0, max(highest)))
    axes.set_ylabel(f"{curve.name}\nbad, %")


def _draw_evidence(axes: Axes, shown: Picture) -> None:
    """One line a signal, and the bar of the first of them, which is the one that decided."""
    if not shown.curves:
        _say(axes, "no evidence by comparison")
        return
    first = shown.curves[0]
    highest = max(curve.highest for curve in shown.curves)
    top = max(1.3 * first.threshold, min(1.1 * highest, 3.0 * first.threshold))
    lowest = min(value for curve in shown.curves for _, value in curve.evidence)
    for curve, dashes, shade in zip(shown.curves, _DASHES, _SHADES, strict=False):
        x = [_at(shown, at) for at, _ in curve.evidence]
        y = [min(value, top) for _, value in curve.evidence]
        beyond = f" (up to {_power(curve.highest)})" if curve.highest > top else ""
        axes.plot(x, y, label=curve.name + beyond, color=shade, linestyle=dashes, linewidth=1.6)
    alone = f"{first.name} alone rolls back at {_power(first.threshold)}"
    axes.axhline(first.threshold, label=alone, **_BAR)
    axes.set_ylim(min(-0.6, max(lowest, -2.0) - 0.3), top)
    every = max(1, round(top / 5))
    ticks = [tick for tick in range(-2 * every, int(top) + 1, every) if tick >= axes.get_ylim()[0]]
    axes.set_yticks(ticks, [_power(tick) for tick in ticks])
    axes.set_ylabel("evidence of harm\n(e-value)")


def _draw_weight(axes: Axes, shown: Picture) -> None:
    """The weight as steps, from the changes that the record tells of."""
    axes.set_ylim(0, 112)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("requests to\nthe canary, %")
    changes = [(0.0, 0), *((_at(shown, at), weight) for at, weight in shown.weights)]
    x = [*(at for at, _ in changes), _right(shown)]
    y = [*(weight for _, weight in changes), changes[-1][1]]
    axes.fill_between(x, y, step="post", **_FILL)
    axes.step(x, y, where="post", **_WEIGHT)
    for (at, weight), before in zip(changes[1:], y, strict=False):
        if weight != before:
            axes.annotate(
                f"{weight} %", (at, weight), xytext=(3, 3), textcoords="offset points", fontsize=8
            )


def _draw_marks(axes: Axes, shown: Picture, named: bool) -> None:
    """Vertical lines at the moments that matter, with their names above the uppermost panel."""
    for n, (at, name) in enumerate(shown.marks):
        x = _at(shown, at)
        axes.axvline(x, linestyle=(0, (1, 1.5)) if n == 0 else "-", **_MARK)
        if named:
            axes.annotate(
                name,
                (x, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right" if x > _at(shown, shown.end) / 2 else "left",
                fontsize=8,
                annotation_clip=False,
            )


def _draw_time(axes: Axes, shown: Picture) -> None:
    """Minutes and seconds since the rollout began."""
    end = _at(shown, shown.end)
    unit = next(unit for unit in (3600, 60, 10, 1) if end >= 3 * unit or unit == 1)
    locator = MaxNLocator(9, steps=[1, 2, 3, 5, 6, 10], integer=True)
    axes.set_xticks([unit * tick for tick in locator.tick_values(0, end / unit)])
    axes.set_xlim(0, _right(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _clock(x)))
    axes.set_xlabel(f"time since {shown.begin:%Y-%m-%d %H:%M:%S} UTC  ·  {shown.caption}")


def _legend(axes: Axes, place: Literal["upper left", "best"], columns: int) -> None:
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(loc=place, ncols=columns, fontsize=8, framealpha=0.85)
        legend.get_frame().set_linewidth(0)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555")
    axes.set_yticks([])


def _at(shown: Picture, at: datetime) -> float:
    return (at - shown.begin).total_seconds()


def _right(shown: Picture) -> float:
    """Where the time axis ends: a little after the last moment, so that its change is seen."""
    return 1.04 * _at(shown, shown.end)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _power(exponent: float) -> str:
    """A power of ten as a person writes it: 0.01, 1, 225, 10,000, 10^6."""
    if abs(exponent) > 4:
        return f"10^{exponent:.0f}"
    return f"{10.0**exponent:,.0f}" if exponent >= 0 else f"{10.0**exponent:g}"
