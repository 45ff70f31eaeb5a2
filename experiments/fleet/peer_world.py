"""One case run by a system that is not ours, on virtual time.

    jellyfish:POLICY     its server, and one of its five policies on the device (backoff.py)
    fifo:VARIANT         every device sends for one variant; one queue, one frame at a time
    timer:VARIANT:SIZE:MS    the same in batches that close at a size or an age
"""

from __future__ import annotations

from experiments.fleet.backoff import BACKOFFS, Backoff
from experiments.fleet.jellyfish import Demand, Jellyfish
from experiments.fleet.lab import Case, FleetLab, link_of
from experiments.fleet.mapping import sa_dp
from experiments.fleet.peer_device import PeerDevice
from experiments.fleet.peer_server import Discipline, Fifo, PeerServer, Timer
from experiments.fleet.rows import FleetRun, offers_of
from experiments.fleet.variety import Variety, table
from experiments.simulation.agenda import Agenda
from experiments.traced_link import TracedLink

__all__ = ["FAMILIES", "run_peer", "why_not_peer"]

FAMILIES = {"jellyfish": "jellyfish:" + "|".join(BACKOFFS), "fifo": "fifo:VARIANT", "timer": "timer:VARIANT:SIZE:MS"}


def why_not_peer(system: str, lab: FleetLab) -> str:
    """What is wrong with the name of a system that is not ours; "" if nothing."""
    family, _, rest = system.partition(":")
    words = rest.split(":")
    if family == "jellyfish":
        legal = len(words) == 1 and words[0] in BACKOFFS
    else:
        named = words[0] in {variety.name for variety in table(lab.variants)}
        legal = named and len(words) == (1 if family == "fifo" else 3)
        if family == "timer" and legal:
            legal = words[1].isdigit() and int(words[1]) > 0 and words[2].replace(".", "", 1).isdigit()
    return "" if legal else f"system {system!r}; legal is {FAMILIES[family]}"


def run_peer(lab: FleetLab, case: Case, system: str, seed: int) -> FleetRun:
    """One run."""
    return _World(lab, case, system, seed).run()


class _World:
    """The devices, their links, and the server."""

    def __init__(self, lab: FleetLab, case: Case, system: str, seed: int) -> None:
        self.lab, self.case, self.system, self.seed = lab, case, system, seed
        self.agenda = Agenda()
        self.table = table(lab.variants)
        family, _, rest = system.partition(":")
        self.jellyfish: Jellyfish | None = None
        backoff: Backoff
        if family == "jellyfish":
            backoff = BACKOFFS[rest]
            assign = sa_dp(self.table, lab.workers, lab.max_batch)
            self.jellyfish = Jellyfish(self.agenda, self.table, lab.workers, len(case.clients), self._demand, assign)
        else:
            sent = next(index for index, variety in enumerate(self.table) if variety.name == rest.partition(":")[0])
            backoff = lambda look: sent  # noqa: E731 - one of a kind
            self._sent = sent
        server = PeerServer(self.agenda, self._discipline(rest), self.table, lab.workers, lab.spread, f"peer {seed}")
        self.server = server
        self.devices = [
            PeerDevice(self.agenda, lab, number, client, TracedLink(link_of(client.link, lab.seconds, number, seed), seed * 1009 + number),
                       self.table, backoff, self._planned, server.receive)
            for number, client in enumerate(case.clients)
        ]  # fmt: skip

    def run(self) -> FleetRun:
        """From the first frame to the last answer."""
        for device in self.devices:
            device.start()
        if self.jellyfish is not None:
            self.agenda.at(0.0, self.jellyfish.start)
        self.agenda.run(self.lab.seconds + max(client.slo for client in self.case.clients) + 1.0, lambda: False)
        shots = sorted((shot for device in self.devices for shot in device.all_shots()), key=lambda shot: (shot.shown, shot.device))
        return FleetRun(
            case=self.case.name, link=self.case.link, system=self.system, seed=self.seed, shots=tuple(shots),
            batches=tuple(batch for batch in self.server.batches if batch.at < self.lab.seconds),
            offers=offers_of([device.link.trace for device in self.devices], self.lab.seconds),
        )

    def _discipline(self, rest: str) -> Discipline:
        if self.jellyfish is not None:
            return self.jellyfish
        variety: Variety = self.table[self._sent]
        words = rest.split(":")
        return Fifo(variety) if len(words) == 1 else Timer(variety, int(words[1]), float(words[2]) / 1e3)

    def _planned(self, device: int) -> int:
        return self._sent if self.jellyfish is None else self.jellyfish.planned(device)

    def _demand(self, number: int) -> Demand | None:
        device = self.devices[number]
        client, rates = device.client, device.rates
        if not client.starts_at <= self.agenda.now < client.stops_at:
            return None
        bandwidth = len(rates) / sum(1 / rate for rate in rates) if rates else device.first_rate
        overhead = self.lab.fit_ms / 1e3 + _NOISE + 2 * device.link.latency
        return Demand(number, client.fps, client.slo, bandwidth, overhead)


_NOISE = 0.002
"""Seconds of overhead that Jellyfish adds for what it did not measure."""
