"""docs/benchmarks.md and its charts say what the bench recorded, and nothing
else."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tools

BENCH = tools.ROOT / "bench"
PAGE = tools.ROOT / "docs" / "benchmarks.md"
CHARTS = sorted(
    file
    for file in (tools.ROOT / "docs" / "pictures").glob("*-light.svg")
    if "Bar chart" in file.read_text()
)


def python() -> Path:
    """One that has what charts need."""
    return tools.venv(BENCH / "requirements.txt") / "bin" / "python"


def check(page: Path) -> subprocess.CompletedProcess:
    return subprocess.run([python(), page, "--check"], capture_output=True, text=True, timeout=120)


def test_page_and_charts_are_made_from_the_record():
    checked = check(BENCH / "page.py")
    assert checked.returncode == 0, checked.stderr


def test_another_record_makes_another_page_and_charts(tmp_path: Path):
    for folder in ("bench", "docs/pictures", "e2e"):
        shutil.copytree(tools.ROOT / folder, tmp_path / folder)
    shutil.copy(PAGE, tmp_path / "docs")
    results = tmp_path / "bench" / "results.json"
    recorded = json.loads(results.read_text())
    recorded["envoy"]["setups"]["no authorization"]["rate"] = [10_000, 9_000, 11_000]
    results.write_text(json.dumps(recorded))
    checked = check(tmp_path / "bench" / "page.py")
    assert checked.returncode == 1
    stale = {line.split()[0] for line in checked.stderr.splitlines() if line.startswith("docs/")}
    chart = "docs/pictures/through-envoy"
    assert stale == {"docs/benchmarks.md", f"{chart}-light.svg", f"{chart}-dark.svg"}


def test_the_page_shows_every_chart_light_and_dark():
    page = PAGE.read_text()
    assert len(CHARTS) >= 5
    for light in CHARTS:
        dark = light.with_name(light.name.replace("-light", "-dark"))
        assert dark.exists()
        assert f'srcset="pictures/{dark.name}"' in page and f'src="pictures/{light.name}"' in page


@pytest.mark.parametrize("light", CHARTS, ids=lambda file: file.stem)
def test_both_looks_of_a_chart_say_the_same(light: Path):
    dark = light.with_name(light.name.replace("-light", "-dark"))
    texts = [[text.text for text in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")]
             for file in (light, dark)]
    assert texts[0] == texts[1] and len(texts[0]) >= 6


def test_every_number_through_envoy_is_in_chart_and_table():
    setups = json.loads((BENCH / "results.json").read_text())["envoy"]["setups"]
    chart = (tools.ROOT / "docs" / "pictures" / "through-envoy-light.svg").read_text()
    for name, setup in setups.items():
        rate = setup["rate"]
        shown = f"{round(rate[0] if isinstance(rate, list) else rate):,}"
        assert name.replace("`", "") in chart and shown in chart
        assert re.search(rf"^\| {re.escape(name)} \| {shown}", PAGE.read_text(), re.M)


def test_every_number_of_the_peers_is_on_the_page():
    page = PAGE.read_text().partition("## The peers")[2]
    peers = json.loads((BENCH / "peers.json").read_text())
    for run in peers["runs"]:
        assert run["date"] in page
        for services in run["loads"].values():
            for name, numbers in services.items():
                for number in numbers.values():
                    assert re.search(rf"^\| {name} \|.* {number:,}(\.0)? \|", page, re.M), (name, number)
    for at in peers["commits"].values():
        assert at["commit"] in page


def test_readme_says_what_the_page_says():
    """Of the peers, the newest run of each under full load."""
    peers = json.loads((BENCH / "peers.json").read_text())
    found = {}
    for run in peers["runs"]:
        services = run["loads"]["two connections, 50 streams each"]
        for name, numbers in services.items():
            found.setdefault(name, f"{numbers['rate'] / services['empty server']['rate']:.2f}")
    readme = (tools.ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| \*\*(\S+)\*\* \|.*\| ([\d.]+) \|$", readme, re.M))
    assert set(rows) == {"heimdall", "OPA-Envoy", "Authorino", "Claimgate"}
    assert rows == {name: found[name] for name in rows}
    assert "docs/pictures/through-envoy-light.svg" in readme


def test_what_a_run_measures_can_be_kept_and_shown(tmp_path: Path):
    """Of every section, with numbers that nothing measured: that none is lost
    on the way, and that the page shows ranges."""
    sys.path.append(str(BENCH))
    import engine_pairs
    import growth
    import grpc_alone
    import inside_envoy
    import observing
    import plans
    import record
    import report
    import rig
    import settings
    import through_envoy

    pick = random.Random(1)

    def checks() -> list:
        return [rig.Sample(pick.randrange(50_000, 60_000), 1.0, 0.9, 0.5) for _ in range(3)]

    def requests() -> list:
        return [
            through_envoy.Sample(pick.randrange(5_000, 6_000), 1.0, pick.randrange(1_000, 1_500),
                                 pick.randrange(2_000, 3_000), 0.5, 0.1)
            for _ in range(3)
        ]

    setups = {value: requests() for name, value in vars(inside_envoy).items()
              if name.startswith(("NONE", "JWT_", "MODULE", "SERVICE")) and isinstance(value, str)}
    sizes = {growth.TOKENS: (1, 1_000, 5_000), growth.KEYS: (10, 10_000), growth.ISSUERS: (1, 100, 1_000),
             growth.ROUTES: (1, 10, 1_000)}
    families = [growth.Family(what, [growth.Level(size, checks(), 10.0) for size in levels])
                for what, levels in sizes.items()]
    known, key, none = grpc_alone.KNOWN, grpc_alone.KEY, through_envoy.NONE
    through = (none, through_envoy.EMPTY, through_envoy.CLAIMGATE)
    pair = {"one thread": [1.0, 2.0], "two threads": [2.0, 3.0]}
    counts = {"known token": {"decode": 1, "decide": 0, "encode": 1}}
    kept = record.of_run(settings.QUICK, {
        "grpc": record.grpc(grpc_alone.Results([grpc_alone.Pair(kind, checks(), checks()) for kind in (known, key)], 1, 2)),
        "envoy": record.envoy(through_envoy.Results({name: requests() for name in through}, "1.40.0")),
        "module": record.module(inside_envoy.Results(setups, setups, dict.fromkeys(setups, 30.0), 80.0, "1.40.0")),
        "growth": record.grown(growth.Results(families, 13.0)),
        "engine": record.engine(engine_pairs.Results([1.0, 2.0], [2.0, 3.0], {"the same token": pair}, counts)),
        "observing": record.watched([observing.Pair(known, observing.PAGE, checks(), checks())]),
        "plans": record.limited(plans.Results([plans.Pair(1_000, checks(), checks())], {plans.DIFFERENT: pair})),
    })
    file = tmp_path / "results.json"
    record.save(kept, file)
    assert record.load_file(file) == kept
    page = report.text(kept)
    rates = [sample.rate for sample in setups[inside_envoy.MODULE]]
    shown = f"{sorted(rates)[1]:,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"
    assert f"| {inside_envoy.MODULE} | {shown} |" in page
    titles = re.findall(r"^## (.*)", page, re.M)
    assert titles == ["What it must show", "gRPC alone", "Through Envoy", "Inside Envoy", "Growth",
                      "The engine alone", "Being watched", "A limit for each caller"]
    assert "| checks/s, known RS256 tokens of 1,000 callers, with a limit for each against without | ≥ 0.97 |" in page
    alone = record.merged(kept, record.of_run(settings.QUICK, {"envoy": kept["envoy"]}))
    assert "Measured by itself on" in report.text(alone) and "Measured by itself on" not in page
