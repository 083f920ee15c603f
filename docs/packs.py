"""Write the page of metric packs from their files.

`PYTHONPATH=operator python docs/packs.py > docs/packs.md` renews the page; a test keeps it equal.
"""

from __future__ import annotations

from collections.abc import Iterator

from headgate.adapters.packs import Latency, Pack, Read, Signal, load_pack, pack_names

_HEAD = """# Metric packs and signals

A pack is a file that says how one source names what Headgate counts. Where the sources differ, the
names of the signals do not: `errors` are failed requests, `latency` is the time of a request in
seconds. This page is printed by `docs/packs.py`; a test keeps it equal.

Everything is read as raw counters, both arms at once, and differenced by Headgate: no `rate`, no
`increase`, no quantiles. So a signal needs counters or classic histograms; gauges, summaries and
recorded rates cannot be one.

## Series of your own

A signal may also name your own series: a metric and the exact values of labels, never a PromQL
expression. Values are matched as text. The label that tells the arms apart, the labels that keep to
your namespace and those the platform demands of every series are added by Headgate, and what you
say of these labels is dropped.

- A ratio names two counters, what is `bad` and the `total`. A bad one that is absent while the
  total is there is zero; without the total there are no data.
- A histogram names the `_bucket` series, and the unit of its bounds.
- Categories name a counter and the label whose values are the categories.

Series that differ only in labels of scraping or storage (`job`, `service`, `endpoint`, `container`,
`cluster`, `replica`, `prometheus`, `prometheus_replica`, `monitor`, `receive`, `tenant_id`) are one
counter that is there twice, which makes the signal unavailable: it is noticed, not counted twice.

"""


def render() -> str:
    """Return the page: a section for each pack, a row for each of its signals."""
    packs = [load_pack(name) for name in pack_names()]
    return _HEAD + "\n".join("\n".join(_section(pack)) for pack in packs)


def _section(pack: Pack) -> Iterator[str]:
    yield f"## `{pack.name}`: {pack.title}\n"
    yield f"{pack.text}\n"
    told = [f"`{label}` = `{value}`" for label, value in pack.scope.items()]
    arm = " and ".join([f"`{pack.arm.label}` = `{pack.arm.value}`", *told])
    process = " and ".join(f"`{label}`" for label in pack.instance)
    yield f"An arm: {arm}. A process: {process}.\n"
    yield "| signal | kind | what | bad | metrics | units |"
    yield "|---|---|---|---|---|---|"
    yield from (_row(name, signal) for name, signal in pack.signals.items())
    yield ""


def _row(name: str, signal: Signal) -> str:
    needs = "".join(f" Needs one `{label}`." for label in signal.by)
    kind = f"{signal.kind} ({signal.unit})" if signal.unit else str(signal.kind)
    units = _units(signal) if signal.units else ""
    metrics = "; ".join(map(_read, signal.reads))
    return f"| `{name}` | {kind} | {signal.text}{needs} | {signal.bad} | {metrics} | {units} |"


def _read(read: Read) -> str:
    found = f"`{read.measure.metric}`"
    if read.matchers:
        found += " with " + ", ".join(f"`{k}` = `{v}`" for k, v in read.matchers.items())
    if isinstance(read.measure, Latency) and read.measure.seconds_per_unit != 1:
        found += f", bounds × {read.measure.seconds_per_unit}"
    elif read.measure.label:
        found += f" by `{read.measure.label}`"
    return found


def _units(signal: Signal) -> str:
    assert signal.units is not None
    own = signal.units.reads == signal.reads
    metrics = "" if own else " of " + " and ".join(_read(read) for read in signal.units.reads)
    return f"`{signal.units.label}`{metrics}"


if __name__ == "__main__":
    print(render(), end="")
