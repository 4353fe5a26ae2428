"""The top of the Grafana dashboard, drawn from its own queries.

Not Grafana's drawing: only the arrangement, the titles and the queries are the
dashboard's.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path

import tools
import web

DASHBOARD = tools.ROOT / "charts" / "claimgate" / "dashboards" / "claimgate.json"
SHOWN = [
    "Checks per second", "Denied", "99th percentile", "Providers without keys", "Instances", "Under way",
    "Decisions", "Denials by reason", "Time to decide", "Answers", "Look-ups",
    "Requests by plan", "Over and close to the limit",
]
WIDTH, ROW = 12.8, 0.42
"""Inches: of the picture, and of a row of the dashboard's grid."""
COLUMNS = 24
LOOKS = {"light": ("#ffffff", "#f4f5f5", "#1f2328"), "dark": ("#111217", "#181b1f", "#d5d8dc")}
"""The page, a panel, the text."""


def draw(address: str, begin: float, end: float, folder: Path) -> None:
    panels = _arranged(json.loads(DASHBOARD.read_text())["panels"])
    answers = {panel["title"]: _asked(panel, address, begin, end) for panel in panels}
    for look, colours in LOOKS.items():
        _draw(panels, answers, colours, folder / f"dashboard-{look}.png")


def _arranged(panels: list[dict]) -> list[dict]:
    """Those that are shown, moved up to where rows are left out."""
    first = {}
    for panel in panels:
        if panel.get("title") in SHOWN and panel["type"] != "row":
            first.setdefault(panel["title"], panel)
    chosen = list(first.values())
    places = [(0, 0)] + [(0, 0)] * len(chosen)
    x = y = height = 0
    for number, panel in enumerate(chosen):
        grid = panel["gridPos"]
        if x + grid["w"] > COLUMNS:
            x, y = 0, y + height
        places[number], height = (x, y), grid["h"]
        x += grid["w"]
    placed = [{**panel, "place": place} for panel, place in zip(chosen, places)]
    for row in {y for _, y in places}:
        _stretch([panel for panel in placed if panel["place"][1] == row])
    return placed


def _stretch(row: list[dict]) -> None:
    """Panels that stand alone fill their row."""
    wide = COLUMNS / max(1, sum(panel["gridPos"]["w"] for panel in row))
    for panel in row:
        (x, y), grid = panel["place"], panel["gridPos"]
        panel["place"], panel["gridPos"] = (x * wide, y), {**grid, "w": grid["w"] * wide}


def _asked(panel: dict, address: str, begin: float, end: float) -> list[tuple[str, list, list]]:
    """Each line of a panel: its name, seconds and values."""
    lines = []
    for target in panel["targets"]:
        query = target["expr"].replace("$namespace", ".*").replace("$__rate_interval", "5s")
        asked = urllib.parse.urlencode({"query": query, "start": begin + 6, "end": end, "step": 1})
        answer = web.get(address, f"/api/v1/query_range?{asked}").json()
        assert answer["status"] == "success", answer
        for series in answer["data"]["result"]:
            labels = series["metric"]
            name = re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), target.get("legendFormat") or "")
            points = [(when - begin, float(value)) for when, value in series["values"]]
            lines.append((name.strip(), [x for x, _ in points], [y for _, y in points]))
    # What never happened would only fill the legend.
    return lines if panel["type"] == "stat" else [line for line in lines if any(line[2])]


def _draw(panels: list[dict], answers: dict, colours: tuple[str, str, str], file: Path) -> None:
    from matplotlib.figure import Figure

    page, back, text = colours
    rows = max(panel["place"][1] + panel["gridPos"]["h"] for panel in panels)
    height = rows * ROW
    canvas = Figure(figsize=(WIDTH, height), facecolor=page)
    for panel in panels:
        (x, y), grid = panel["place"], panel["gridPos"]
        left, width = x / COLUMNS + 0.004, grid["w"] / COLUMNS - 0.008
        bottom, tall = 1 - (y + grid["h"]) / rows + 0.008, grid["h"] / rows - 0.016
        canvas.add_axes((left, bottom, width, tall), facecolor=back, xticks=[], yticks=[]).spines[:].set_visible(False)
        canvas.text(left + 0.008, bottom + tall - 0.012, panel["title"], color=text, weight="bold", size=9, va="top")
        lines = answers[panel["title"]]
        unit = panel["fieldConfig"]["defaults"].get("unit", "none")
        if panel["type"] == "stat":
            value = _written(lines[0][2][-1], unit) if lines else "no data"
            canvas.text(left + width / 2, bottom + tall * 0.4, value, color=text, size=20, ha="center", va="center")
            continue
        axes = canvas.add_axes((left + 0.045, bottom + 0.04, width - 0.055, tall - 0.145), facecolor="none")
        for name, seconds, values in lines:
            axes.plot(seconds, values, linewidth=1.4, label=name)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _, unit=unit: _written(value, unit))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
        axes.tick_params(colors=text, labelsize=7.5, length=0)
        axes.grid(alpha=0.2)
        axes.spines[:].set_visible(False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3 if grid["w"] > 8 else 2, fontsize=7, frameon=False,
                    labelcolor=text, borderaxespad=0, handlelength=1, columnspacing=1)
    canvas.savefig(file, dpi=100, facecolor=page, metadata={"Software": None})


def _written(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{value:.1%}"
        case "s":
            return f"{value * 1e6:.0f} µs" if value < 0.001 else f"{value * 1000:.1f} ms"
        case "reqps" | "ops":
            return f"{value:.0f}/s"
    return f"{value:g}"
