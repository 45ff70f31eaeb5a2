"""What deciding costs: a session's policy fed as a device feeds it, thirty frames a second, against the clock.

    scripts/bench steering

No sockets and no stages: only what the moving split adds. 12 stages, 8 codecs at every cut.
"""

from __future__ import annotations

import argparse
import statistics
from time import process_time

from iot_client.events import HostSampled, StagesDone
from iot_client.frames.frame import Frame
from iot_client.frames.stream import SessionConfig
from iot_client.outcome import Done
from iot_client.splitting.goal import Goal
from iot_client.splitting.guide import Guide
from iot_client.splitting.policy import SteerConfig
from wire.protocol import Result, Welcome

STAGES, FPS, SECONDS = 12, 30, 60
CODECS = ("raw", "bits", "png", "jpeg:90", "jpeg:80", "jpeg:70", "jpeg:60", "jpeg:50")


def main() -> None:
    """Print seconds of CPU per second of virtual time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    shares = [_minute() for _ in range(rounds)]
    print(f"{STAGES} stages x {len(CODECS)} codecs, {FPS} fps: {100 * statistics.median(shares):.2f} % of a core "
          f"(of {rounds} rounds {100 * min(shares):.2f} to {100 * max(shares):.2f}); at most 1")


def _minute() -> float:
    guide = Guide(_config())
    guide.welcome(Welcome(1, "server", 2**20, 2**20, 0, 0, ("raw", "bits", "png", "jpeg")), 0.0)
    before = process_time()
    now, events = 0.0, 0
    for seq in range(SECONDS * FPS):
        now = seq / FPS
        _frame(guide, seq, now)
        if seq % 7 == 0:
            guide.sampled(HostSampled(1.0, 0.5, 4.0, 0.25))
        events += len(guide.decide(now))
    return (process_time() - before) / SECONDS


def _config() -> SessionConfig:
    ways = tuple((k, codec, 100) for k in range(1, STAGES) for codec in CODECS[:3])
    ways += tuple((k, codec, int(codec[5:])) for k in range(1, STAGES) for codec in CODECS[3:])
    steer = SteerConfig(goal=Goal(fps=FPS, slo=0.2), ways=(*ways, (STAGES, "", 100)), available=1.0, cores=4.0)
    return SessionConfig(
        session=1, n=STAGES, split=STAGES, pivot=STAGES, splits=(False, *(True,) * STAGES), stateful=(False,) * STAGES,
        once=(False,) * STAGES, mode="live", steer=steer,
    )


def _frame(guide: Guide, seq: int, now: float) -> None:
    """One frame goes the way it is told, 5 ms a stage here and 1 ms there, 60 kB at each cut."""
    guide.captured(now)
    k, codec, study = guide.policy.heading(now)
    frame = Frame(seq, now, 921_600)
    frame.split, frame.codec, frame.attempts = k, codec, 1
    sizes = tuple((at, word, _bytes(word), 0.001) for at, word in study or () if at <= k)
    guide.ran(StagesDone(seq, 0, k, "done", (0.005,) * k, nbytes=_bytes(codec) if k < STAGES else 0, cpu_s=0.005 * k, sizes=sizes), frame)
    if k < STAGES:
        frame.payload = _bytes(codec)
        if guide.may_send(frame.payload, now):
            guide.sent(frame, now)
        guide.receipt(seq, frame, 0.0, now + 0.02)
        times = (1000,) * (STAGES - k)
        guide.result(Result(seq, "done", k, STAGES, times_us=times, held_us=1000 * (STAGES - k)), frame, 200, now + 0.04)
    frame.where, frame.outcome = ("cloud" if k < STAGES else "device"), Done("cloud" if k < STAGES else "device")
    guide.delivered(frame, now + 0.06)


def _bytes(codec: str) -> int:
    return 60_000 if codec in ("raw", "bits", "png") else 600 * int(codec.partition(":")[2] or 100)


if __name__ == "__main__":
    main()
