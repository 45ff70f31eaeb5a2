"""What a race was worth: shares, misses, accuracy of what was there in time; the options, and the camera that plays it."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from examples.detection.boxes import Detections
from examples.detection.race import main
from examples.detection.race_figures import Answered, Share, figures, found_in_time, shares
from examples.detection.race_options import parsed, words
from examples.detection.race_report import report, shown
from examples.detection.race_run import Run, alone
from examples.detection.race_world import Clip, Playback, filmed, rendered
from examples.detection.scenes import CLASSES, Thing
from examples.detection.speculative import app
from examples.detection.tracker import Object
from iot_client import Result, Statistics
from iot_client.outcome import Done, Dropped, Failed
from iot_client.racing.scores import EntrantScore, RaceScore
from tasks import END

BALL = Object("ball", 0.9, (10.0, 10.0, 50.0, 50.0))


def answered(seq: int, by: str, ms: float = 10.0, *, late: bool = False, reason: str = "") -> Answered:
    """One frame's answer, with a ball in it."""
    return Answered(seq, by, late, ms / 1e3, () if by == "nobody" else (BALL,), reason)


RUN = [
    *(answered(seq, "cloud", 20.0 + seq) for seq in range(5)), answered(5, "local", 2.0), answered(6, "local", 300.0, late=True),
    answered(7, "extrapolated", 150.0), answered(8, "nobody", 150.0, reason="late"), answered(9, "nobody", 150.0, reason="late"),
]


def test_shares_and_misses() -> None:
    """Each answerer's share of all frames and its median; a miss is what was late, extrapolated or given up."""
    assert shares(RUN)[0] == Share("cloud", 5, 0.5, 0.022, pytest.approx(0.02396))
    assert [each.by for each in shares(RUN)] == ["cloud", "local", "extrapolated", "nobody"]
    found = figures(RUN)
    assert (found.frames, found.misses, found.late, found.extrapolated, found.given_up) == (10, 4, 1, 1, 2)
    assert found.reasons == {"late": 2}


def test_what_was_late_was_not_found() -> None:
    """For accuracy an answer after the deadline counts as none, and so does a frame that is missing."""
    truth = [[Thing(0, BALL.box, 1.0, False)] for _ in range(11)]
    _, found = found_in_time(RUN, truth)
    assert [each.count for each in found] == [1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0]
    assert found[0].boxes.tolist() == [list(BALL.box)] and found[0].labels.tolist() == [0]


def result(outcome: Any, value: Any = None, *, seq: int = 3, entrant: str = "", late: bool = False) -> Result:
    """What a client gives."""
    return Result("me", seq, outcome, 1, value, 0.02, 1.0, (0.001,), (0.004, 0.006), 900, entrant=entrant, late=late)


def test_a_result_says_who_answered() -> None:
    """The value's own word, else the race's; what is dropped or failed was answered by nobody, and says why."""
    said = Answered.of(result(Done("cloud"), {"objects": (BALL,), "by": "merged"}, entrant="merged", late=True))
    assert (said.by, said.late, said.objects, said.sent, said.cloud_s) == ("merged", True, (BALL,), 900, pytest.approx(0.01))
    assert Answered.of(result(Done(), {"objects": None}, entrant="cloud2")).by == "cloud2"
    assert Answered.of(result(Dropped("late"))).reason == "late" and Answered.of(result(Failed(1, "merge: no"))).reason == "merge: no"
    assert Answered.of(result(Dropped("late"))).by == "nobody"


def test_accuracy_is_compared_with_each_entrant_alone() -> None:
    """What was delivered by the cloud alone is as good as the cloud alone; the table says so, and by how much that beats the local one."""
    clip, made = rendered(6, 5.0), app.made({"local": "narrow-96", "cloud": "wide-160"})
    local, cloud = (alone(made, entrant, clip, "jpeg:95", lambda done: None) for entrant in ("local", "cloud"))
    results = [
        result(Done("cloud"), {"objects": tuple(objects_of(found)), "by": "cloud"}, seq=seq, entrant="cloud")
        for seq, found in enumerate(cloud.found)
    ]
    race = RaceScore(entrants=(EntrantScore("cloud", 6, 6, 0.02), EntrantScore("local", 1, 0, 0.003)), cloud_s=0.06, twins=1)
    statistics = Statistics(6, 0, 1, 4, "up", race=race)
    run = Run("streaming", results, [Answered.of(each) for each in results], 0.0, 1.0, 0.06, statistics)
    found = report(run, [local, cloud], clip, 0.09)
    assert found.accuracy["delivered"] == found.accuracy["cloud"] and found.accuracy["cloud"]["map"] > found.accuracy["local"]["map"]
    assert found.price["cloud_ms"] == pytest.approx(10.0) and found.price["wasted_cloud_ms"] == pytest.approx(5.0)
    console = Console(file=io.StringIO(), width=160)
    console.print(*shown(found), sep="\n")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "streaming: 6 frames" in text and "cloud alone" in text and "+0.000" in text


def objects_of(found: Detections) -> list[Object]:
    """As a result has them."""
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist())
    return [Object(CLASSES[label], score, tuple(box)) for label, score, box in rows]


def test_the_camera_keeps_its_rate_and_ends() -> None:
    """Five frames at 100 a second take 40 ms at least; after close() there are no more."""
    clip = rendered(5, 100.0)
    camera, began = Playback(clip), time.monotonic()
    assert [camera.read() is image for image in clip.images] == [True] * 5
    assert time.monotonic() - began >= 0.04 and camera.read() is END
    slow = Playback(Clip(clip.images, None, 0.001))
    slow.read()
    slow.close()
    assert slow.read() is END


def test_rendered_scenes_change_and_are_known() -> None:
    """Another scene after so many frames; a thing is where the frame says."""
    told: list[int] = []
    clip = rendered(4, 15.0, per_scene=2, told=told.append)
    assert len(clip.images) == 4 and sum(told) == 4 and clip.truth is not None
    assert {thing.kind for thing in clip.truth[0]} and clip.truth[1] != clip.truth[2]


def test_a_clip_has_no_truth(clip: Any) -> None:
    """Its first frames at its own rate, or at that asked for."""
    found = filmed(clip("pedestrians.avi"), 3)
    assert len(found.images) == 3 and found.truth is None and found.fps > 1
    assert filmed(clip("pedestrians.avi"), 1, 7.0).fps == 7.0


def test_options_are_the_app_s_parameters() -> None:
    """What is given here is what --param would say; both ways to use it are run by default."""
    told = parsed(["--clouds", "2", "--deadline-ms", "90", "--merge", "--on-miss", "drop", "--delay-ms", "60,5"])
    assert told.use == ["sync", "stream"] and told.delay_ms == [60.0, 5.0]
    made = app.made(words(told))
    assert made.speculation is not None and made.speculation.clouds == ("cloud", "cloud2")
    assert made.speculation.deadline == pytest.approx(0.09) and made.speculation.merges and made.speculation.on_miss == "drop"


@pytest.mark.parametrize(("arguments", "says"), [
    (["--frames", "0"], "--frames 0: at least 1"), (["--outage", "1:2"], "an outage must last less"),
    (["--delay-ms", "x"], "as 40 or 60,5"),
    (["--clip", "nowhere.avi"], "--clip nowhere.avi: there is no such file"), (["--host", "a", "--mbit", "3"], "leave --host out"),
    (["--merge", "--local", "none"], "has no answer of its own"),
])
def test_options_that_make_no_sense(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Are refused before anything starts, in words."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert says in capsys.readouterr().err


def test_what_is_missing_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A detector that there is not, and a file that is no video: one line, and exit code 1."""
    assert main(["--local", "tiny"]) == 1
    assert "race: detector 'tiny'" in capsys.readouterr().err
    (tmp_path / "no.avi").write_text("no video")
    assert main(["--clip", str(tmp_path / "no.avi")]) == 1
    assert "Traceback" not in capsys.readouterr().err
