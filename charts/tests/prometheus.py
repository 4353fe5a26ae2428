"""A real Prometheus for tests, from Debian's package, which is unpacked into the
cache and never installed as a service."""

from __future__ import annotations

import shutil
import subprocess
import urllib.parse
from pathlib import Path

import tools
import web
import yaml
from stack import Program, Stack, free_port


def program(name: str) -> Path:
    """`prometheus` or `promtool`: the one in the PATH, or else Debian's."""
    found = shutil.which(name)
    if found:
        return Path(found)
    folder = tools.cache_dir() / "prometheus"
    if not (folder / "complete").exists():
        _unpack(folder)
    return folder / "usr" / "bin" / name


def _unpack(folder: Path) -> None:
    if not shutil.which("apt-get"):
        raise tools.ToolMissing("prometheus and promtool are not installed; see https://prometheus.io")
    tools.say(f"getting Debian's prometheus into {folder} (once)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    download = ["apt-get", "-q", "download", "prometheus"]
    if subprocess.run(download, cwd=folder, capture_output=True).returncode != 0:
        # The list of packages may be missing, or too old.
        subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
        subprocess.run(download, cwd=folder, check=True, capture_output=True)
    (package,) = folder.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    package.unlink()
    (folder / "complete").touch()


class Prometheus(Program):
    """A running one."""

    address: str

    def query(self, expression: str) -> list[dict]:
        """The series that an instant query returns."""
        query = urllib.parse.urlencode({"query": expression})
        reply = web.get(self.address, f"/api/v1/query?{query}")
        answer = reply.json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return answer["data"]["result"]

    def rules(self) -> list[dict]:
        """The alerting rules, with their health and state."""
        groups = web.get(self.address, "/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


def start(
    stack: Stack, target: str, labels: dict[str, str], rules: Path, **scrape: object
) -> Prometheus:
    """Starts one that scrapes `target` four times a second. `scrape` is more of
    what it is told about that."""
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "claimgate",
                "static_configs": [{"targets": [target], "labels": labels}],
                **scrape,
            }
        ],
    }
    file = stack.folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={stack.folder / 'prometheus'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    running = stack.start(Prometheus, "prometheus", command)
    running.address = address
    running.wait_ready(lambda: web.get(address, "/-/ready").status == 200, seconds=60)
    return running


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs promtool; the caller checks the result."""
    return subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
