"""Is what a run recorded what was promised? Written against the promises, sharing no code with the machines."""

from __future__ import annotations

from experiments.simulation.check import Check
from experiments.simulation.device_check import DeviceCheck
from experiments.simulation.record import Trace
from experiments.simulation.server_check import ServerCheck
from iot_client.outcome import Done

__all__ = ["RULES", "validate"]

RULES = {
    "broken": "no machine raises, asks for the impossible, or never ends",
    "capture": "seqs count up from 0, and only after permits",
    "camera": "live: no frame of a steady camera goes by uncaptured while there is memory",
    "once": "exactly one Deliver for each captured seq, none for others",
    "order": "Delivers come in seq order",
    "release": "one Release for each seq, after its Deliver",
    "conservation": "captured = done + filtered + dropped + failed when a device has finished",
    "outcome": "what is not Dropped ends as the pure function of its seq says",
    "dropped": "Dropped has a reason that is legal in this mode and under what happened",
    "value": "a Done value went through every stage once, in order; `where` says where",
    "latency": "Deliver's latency is the time since capture, and not negative",
    "age": "live: no Deliver later than the age bound; of a device that hung, no Done",
    "variant": "a frame is made with one variant from its first stage to its outcome, here and at the server",
    "late-submit": "no SUBMIT for a delivered seq, none without a WELCOME, none outside a legal cut",
    "way": "a SUBMIT goes in a codec that is legal at its cut, and by a fixed split in the one asked for",
    "credit": "SUBMIT bytes since WELCOME never exceed the limit granted; the server sees no excess either",
    "window": "frames in flight are bounded",
    "state": "stages with state see frames in seq order, once each, and leave in lossless mode what a run in order leaves",
    "owner": "stages with state run here or at the server, never both in one generation; generations count up",
    "turn": "a generation of the server's sees every frame from its STATE on that was not skipped, in order, once",
    "twin": "a stage marked once runs here or at the server, never both",
    "spurious": "a Tick nobody asked for changes nothing",
    "finished": "nothing is said after Finished",
    "dedup": "one life of the server executes each stage of each (session, seq) at most once",
    "twice": "no life of the server runs a stage marked once of a (session, seq) that another has run",
    "job": "a batch runs what was submitted, and a RESULT answers the device that asked",
    "fold": "each (device, session, seq) is folded at most once in a life, with its right value",
    "report": "a Done value reaches the aggregate, or is counted as discarded",
    "blame": "a job fails for a worker's death only if it was alone with it, or holds a stage marked once; else it runs again, alone",
    "memory": "the server never holds more of a device's SUBMITs than its credit, nor more of all devices' than its memory",
    "refusal": "well-behaved peers are never told that they broke the protocol",
    "cancel": "what a device cancels leaves the server's queue and does not run, or is counted as wasted if it does",
    "workers": "no more batches under way than workers take",
    "leak": "nothing is kept at the end",
}
"""Name -> claim."""


def validate(trace: Trace) -> list[str]:
    """Every violation found in a trace, as "host: rule: what was seen"; empty if all promises were kept."""
    checks: dict[str, Check] = {
        f"device{number}": DeviceCheck(trace.scenario, number) for number in range(len(trace.scenario.devices))
    }
    server = checks["server"] = ServerCheck(trace.scenario)
    checks["world"] = Check("world", trace.scenario)
    for record in trace.records:
        checks[record.host].see(record)
    for check in checks.values():
        check.conclude()
    for check in checks.values():
        if isinstance(check, DeviceCheck):
            _check_reports(check, server)
            if unjust := sorted(check.blamed - server.blamed):
                check.problem("blame", f"(session, seq) failed for a worker's death without having been alone then: {unjust[:9]}")
            # A message lost alone is beyond TCP: a lost receipt then looks like a lost SUBMIT.
            harsh = check.plan.network.drop > 0 or any(plan.kind == "lose" for plan in trace.scenario.strikes)
            both = sorted(run for run in check.ran_once & server.ran_once if run[:2] not in server.misled)
            if not harsh and both:
                check.problem("twin", f"(session, seq, stage) marked once and run here and by the server: {both[:9]}")
    return [problem for check in checks.values() for problem in check.problems]


def _check_reports(device: DeviceCheck, server: ServerCheck) -> None:
    if not server.scenario.aggregate or not device.plan.online or not device.finished or device.discarded_reports:
        return
    done = {seq for seq, deliver in device.delivered.items() if type(deliver.outcome) is Done}
    lacking = sorted(seq for seq in done if (device.session, seq) not in server.folded)
    if lacking:
        device.problem("report", f"Done, not discarded, and yet never folded: {lacking[:9]}")
