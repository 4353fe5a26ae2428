"""Instances that come and go as pods do, and steady traffic whose every answer
is compared.

There is no kubelet here: `Deployment` starts the program on addresses of the
loopback, one for each pod, all with one port, and does what a rollout and a
kubelet do. `Dns` is a double for the cluster's DNS.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

import tools
import web
from stack import Claimgate, Stack, free_port

GIVE_UP = 60
"""Seconds for what should take few, on a machine that is busy."""


class Discovery(Protocol):
    """What tells an Envoy where the pods are."""

    def set(self, addresses: list[str]) -> None:
        """The addresses of the pods that are ready."""


class Dns:
    """A server that knows one name, the headless Service's, and answers as a
    cache would: with what was true up to `cached` seconds ago."""

    def __init__(self, name: str, cached: float):
        self.name = name
        self._cached = cached
        self._now: list[str] = []
        self._known: list[str] = []
        self._expires = 0.0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def set(self, addresses: list[str]) -> None:
        self._now = list(addresses)

    def _answers(self) -> list[str]:
        if time.monotonic() >= self._expires:
            self._known, self._expires = self._now, time.monotonic() + self._cached
        return self._known

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(4096)
            if not wire:
                return self._socket.close()
            reply = dns.message.make_response(dns.message.from_wire(wire))
            (question,) = reply.question
            if question.name.to_text(omit_final_dot=True) != self.name:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            elif question.rdtype == dns.rdatatype.A and (found := self._answers()):
                reply.answer.append(dns.rrset.from_text(question.name, 1, "IN", "A", *found))
            self._socket.sendto(reply.to_wire(), client)

    def close(self) -> None:
        """Ends it."""
        self._socket.sendto(b"", ("127.0.0.1", self.port))


class Deployment:
    """The pods, and the file that a ConfigMap gives all of them."""

    def __init__(self, stack: Stack, config: str, **environment: str):
        self.port = free_port()
        self.discoveries: list[Discovery] = []
        self.pods: dict[str, Claimgate] = {}
        self._stack = stack
        self._environment = environment
        self._next = 1
        self._config = config
        self._mount = stack.folder / "configmap"
        self._mount.mkdir()
        self._revisions = 0
        self._publish(config)
        (self._mount / "gateway.yaml").symlink_to("..data/gateway.yaml")

    def add(self) -> str:
        """Starts a pod; its address once it is ready."""
        self._next += 1
        address = f"127.0.30.{self._next}"
        command = [tools.claimgate(), "serve", "--config", self._mount / "gateway.yaml"]
        admin = free_port()
        ports = {"POD_IP": address, "GRPC_PORT": str(self.port), "ADMIN_PORT": str(admin), "RUST_LOG": "warn"}
        pod = self._stack.start(Claimgate, f"pod-{self._next}", command, {**ports, **self._environment})
        pod.grpc, pod.admin = f"{address}:{self.port}", f"127.0.0.1:{admin}"
        pod.wait_ready(pod.ready, GIVE_UP)
        self.pods[address] = pod
        return address

    def announce(self, without: str | None = None) -> None:
        """Tells every discovery which pods are ready."""
        for discovery in self.discoveries:
            discovery.set([address for address in self.pods if address != without])

    def rollout(self, delay: float) -> None:
        """Replaces every pod as a Deployment with `maxSurge: 1` and
        `maxUnavailable: 0` does: `delay` is `shutdown.delaySeconds`."""
        for old in list(self.pods):
            self.add()
            self.announce(without=old)
            time.sleep(delay)
            pod = self.pods.pop(old)
            pod.signal(signal.SIGTERM)
            assert pod.wait(GIVE_UP) == 0, pod.tail()
            self.announce()

    def kill(self, absent: float) -> None:
        """Kills one without telling any discovery, and starts it again in place
        after some seconds."""
        pod = next(iter(self.pods.values()))
        pod.kill()
        time.sleep(absent)
        pod.start()
        pod.wait_ready(pod.ready, GIVE_UP)

    def restart(self) -> None:
        """Has one end, and starts it again in place, as a kubelet does with a
        container."""
        pod = list(self.pods.values())[-1]
        pod.signal(signal.SIGTERM)
        assert pod.wait(GIVE_UP) == 0, pod.tail()
        pod.start()
        pod.wait_ready(pod.ready, GIVE_UP)

    def swap(self, config: str) -> None:
        """Changes the ConfigMap, and waits until every pod has loaded it."""
        before = {address: pod.reloads("success") for address, pod in self.pods.items()}
        self._publish(config)
        for address, pod in self.pods.items():
            web.wait_until(lambda: pod.reloads("success") > before[address], "a reload", GIVE_UP)

    def _publish(self, config: str) -> None:
        """As the kubelet does: a new folder, and a symbolic link to it that is
        replaced in one step."""
        self._revisions += 1
        folder = self._mount / f"..{self._revisions}"
        folder.mkdir()
        (folder / "gateway.yaml").write_text(config)
        link = self._mount / "..data_tmp"
        link.symlink_to(folder.name)
        os.replace(link, self._mount / "..data")


@dataclass(frozen=True)
class Case:
    """A request, and the one right answer: its status and, if it passes, the
    caller that the upstream is told."""

    path: str
    headers: tuple[tuple[str, str], ...]
    status: int
    subject: str | None = None


@dataclass
class Load:
    """Requests at a steady rate, each answer compared. A context manager."""

    address: str
    cases: list[Case]
    rate: float
    threads: int = 10
    connect: Callable[[str], web.Connection] = web.Connection
    total: int = 0
    wrong: list[tuple[float, str, str]] = field(default_factory=list)
    """Seconds from the start, path and what was wrong."""

    def __enter__(self) -> Load:
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._running = [
            threading.Thread(target=self._run, args=(number,)) for number in range(self.threads)
        ]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._running:
            thread.join()

    def _run(self, number: int) -> None:
        connection = self.connect(self.address)
        every = self.threads / self.rate
        due = self._start + every * number / self.threads
        turn = number
        while not self._end.wait(max(0.0, due - time.monotonic())):
            case = self.cases[turn % len(self.cases)]
            problem = _problem(case, connection)
            with self._lock:
                self.total += 1
                if problem:
                    self.wrong.append((time.monotonic() - self._start, case.path, problem))
            turn += 1
            # After a stall it goes on at the same rate.
            due = max(due + every, time.monotonic() - every)
        connection.close()

    def summary(self) -> str:
        """How many were wrong, of what kind and when."""
        kinds = Counter(problem for _, _, problem in self.wrong)
        times = f", from {self.wrong[0][0]:.1f} to {self.wrong[-1][0]:.1f} s" if self.wrong else ""
        return f"{len(self.wrong):,} of {self.total:,} wrong{times} {dict(kinds) or ''}".strip()


def _problem(case: Case, connection: web.Connection) -> str | None:
    try:
        reply = connection.send("GET", case.path, case.headers)
    except Exception as error:  # any error is a failed request
        return type(error).__name__
    if reply.status != case.status:
        return f"{reply.status} for {case.status}"
    subject = reply.seen.get("x-auth-subject") if reply.status == 200 else None
    return None if subject == case.subject else f"subject {subject}"


@contextmanager
def all_of(loads: dict[str, Load]) -> Iterator[None]:
    """Runs them at once."""
    with ExitStack() as running:
        for load in loads.values():
            running.enter_context(load)
        yield
