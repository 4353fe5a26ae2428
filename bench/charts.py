"""The bar charts of docs/benchmarks.md, each for light and for dark pages.

A bar has its name and its number above it, so that nothing is cut off and a
phone can show it. The text stays text. Nothing in a file depends on the time
or the machine, so that tests can compare it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import peers
from figures import Figure, count, number
from pictures import ENVOY, ENVOY_CPU, GROWTH, GRPC, MODULE, PEERS, Picture
from record import Record


@dataclass(frozen=True)
class Bar:
    label: str
    parts: list[float]
    """One, or several that add up."""
    shown: str
    """The number, as it is written."""
    figure: Figure | None = None
    """With a range, if one is known."""
    ours: bool = False


@dataclass(frozen=True)
class Chart:
    picture: Picture
    title: str
    bars: list[Bar]
    parts: tuple[str, ...] = ()
    """Names of the parts of a bar."""
    line: float | None = None
    """A value to compare with."""
    better: str = "more is better"


@dataclass(frozen=True)
class Colours:
    text: str
    muted: str
    ours: str
    others: str
    second: str


LOOKS = {
    "light": Colours(text="#1f2328", muted="#59636e", ours="#0b6e8f", others="#a9b4bf", second="#d98324"),
    "dark": Colours(text="#e6edf3", muted="#9198a1", ours="#4cb8d8", others="#59636e", second="#d98324"),
}

WIDTH, ROW, TOP, BOTTOM = 4.0, 0.44, 0.52, 0.12
"""Inches, few enough for a phone; the height follows from the number of bars."""

LETTERS = 48
"""So many fit above a bar."""


def charts(record: Record, peer_record: Record) -> list[Chart]:
    """Those of the sections that are recorded."""
    sections = [("envoy", _envoy), ("envoy", _envoy_cpu), ("grpc", _grpc), ("module", _module), ("growth", _growth)]
    found = [chart(record[name]) for name, chart in sections if name in record]
    return [*found, _peers(peer_record)]


def write(record: Record, peer_record: Record, folder: Path) -> list[Path]:
    """Draws all of them; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw(chart, look, folder)
        for chart in charts(record, peer_record)
        for look in LOOKS
    ]


def _envoy(results: Record) -> Chart:
    return Chart(ENVOY, "Requests/s through Envoy, one core", [
        _rate(name, setup) for name, setup in results["setups"].items()
    ])


def _module(results: Record) -> Chart:
    return Chart(MODULE, "Requests/s through Envoy, one core", [
        _rate(name, setup, ours="module") for name, setup in results["setups"].items()
    ])


def _rate(name: str, setup: Record, ours: str = "Claimgate") -> Bar:
    rate = Figure.read(setup["rate"])
    return Bar(_plain(name), [rate.median], rate.text(), rate, ours=ours in name)


def _envoy_cpu(results: Record) -> Chart:
    bars = []
    for name, setup in results["setups"].items():
        parts = [Figure.read(setup[key]).median for key in ("envoy_cpu_s", "service_cpu_s") if key in setup]
        shown = " + ".join(number(part, 2) for part in parts)
        bars.append(Bar(_plain(name), parts, shown, ours="Claimgate" in name))
    parts = ("Envoy", "service")
    return Chart(ENVOY_CPU, "CPU s for 100,000 requests", bars, parts, better="less is better")


def _grpc(results: Record) -> Chart:
    bars = []
    for kind, check in results["checks"].items():
        ratio = Figure.read(check["rate_ratio"])
        bars.append(Bar(kind, [ratio.median], f"{ratio.text(2)} ×", ratio, ours=True))
    title = "Checks/s, × the empty server"
    return Chart(GRPC, title, bars, line=1)


def _growth(results: Record) -> Chart:
    bars = []
    for what, family in results["families"].items():
        for size, level in family["levels"].items():
            rate = Figure.read(level["rate"])
            bars.append(Bar(count(int(size), what), [rate.median], rate.text(), rate, ours=True))
    return Chart(GROWTH, "Checks/s, as things become many", bars, better="equal is good")


def _peers(record: Record) -> Chart:
    compared = peers.compared(record)
    newest = record["runs"][0]["date"]
    bars = []
    for name, (times, day) in sorted(compared.items(), key=lambda pair: pair[1][0]):
        other_day = "" if day == newest else f" ({day})"
        bars.append(Bar(name, [times], f"{number(times, 2)} ×{other_day}", ours=name == "Claimgate"))
    title = "Checks/s, × the empty server of the run"
    return Chart(PEERS, title, bars, line=1)


def _plain(name: str) -> str:
    return name.replace("`", "")


def _draw(chart: Chart, look: str, folder: Path) -> Path:
    # Only what draws needs it, not what measures.
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    colours = LOOKS[look]
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": chart.picture.name,
        "font.family": "sans-serif",
        "font.size": 10,
    }
    with matplotlib.rc_context(settings):
        height = TOP + ROW * len(chart.bars) + BOTTOM
        canvas = Canvas(figsize=(WIDTH, height))
        axes = canvas.add_axes((0.01, BOTTOM / height, 0.98, ROW * len(chart.bars) / height))
        ends = [bar.figure.greatest or 0 if bar.figure else 0 for bar in chart.bars]
        axes.set_xlim(0, 1.01 * max([*ends, *(sum(bar.parts) for bar in chart.bars)]))
        axes.set_ylim(len(chart.bars) - 0.5, -0.5)
        axes.set_axis_off()
        canvas.patch.set_alpha(0)
        for place, bar in enumerate(chart.bars):
            _draw_bar(axes, place, bar, colours)
            if chart.line is not None:
                # Beside the bars only, so that it crosses no text.
                axes.plot([chart.line] * 2, [place + 0.05, place + 0.39], color=colours.muted,
                          linewidth=1, linestyle=(0, (2, 1)), zorder=3)
        canvas.text(0.01, 1 - 0.17 / height, chart.title, color=colours.text, weight="bold", va="center")
        _legend(canvas, chart, colours, height)
        file = folder / f"{chart.picture.name}-{look}.svg"
        about = {"Title": chart.picture.text, "Date": None, "Creator": None}
        canvas.savefig(file, format="svg", metadata=about, transparent=True)
    return file


def _draw_bar(axes, place: int, bar: Bar, colours: Colours) -> None:
    middle, thickness = place + 0.22, 0.36
    start = 0.0
    for part, colour in zip(bar.parts, (colours.ours if bar.ours else colours.others, colours.second)):
        axes.barh(middle, part, height=thickness, left=start, color=colour, linewidth=0)
        start += part
    if bar.figure and bar.figure.least is not None:
        axes.plot([bar.figure.least, bar.figure.greatest], [middle, middle], color=colours.text, linewidth=1.2,
                  marker="|", markersize=6, solid_capstyle="butt", zorder=4)
    style = {"va": "center", "transform": axes.get_yaxis_transform()}
    axes.text(0, place - 0.19, bar.label, color=colours.text, ha="left", **style)
    shown = bar.shown if len(bar.label + bar.shown) <= LETTERS else bar.shown.partition(" (")[0]
    axes.text(1, place - 0.19, shown, color=colours.text, ha="right", **style)


def _legend(canvas, chart: Chart, colours: Colours, height: float) -> None:
    """The second line of the head: what colours and lines mean."""
    if chart.parts:
        shown = f"{chart.parts[0]} + {chart.parts[1]}"
    elif any(bar.figure and bar.figure.least is not None for bar in chart.bars):
        shown = "median; line: least to greatest"
    else:
        shown = "medians"
    y = 1 - 0.37 / height
    canvas.text(0.01, y, f"{shown}; {chart.better}", va="center", size=9, color=colours.muted)
