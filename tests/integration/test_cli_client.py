"""The client's command line as a user meets it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
CLIENT = [sys.executable, "-m", "iot_client"]
KEYS = ["stream", "seq", "outcome", "where", "split", "value", "reason", "latency_ms", "device_ms", "cloud_ms", "sent_bytes", "codec"]
STAGES = ["get_frame", "calculate_hsv", "calculate_mask", "find_contours", "calculate_circle", "draw_circle"]


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, in which the checkout is found and nothing else is set."""
    environ = {key: value for key, value in os.environ.items() if key not in ("HOST", "DISPLAY", "WAYLAND_DISPLAY")}
    return environ | {"PYTHONPATH": str(REPO)} | extra


def client(*arguments: object, cwd: Path | None = None, timeout: float = 60.0, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; fails if it leaves a traceback."""
    done = subprocess.run(
        [*CLIENT, *map(str, arguments)], cwd=cwd or REPO, env=environment(**environ), capture_output=True, text=True, timeout=timeout,
        check=False,
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


@pytest.fixture(autouse=True)
def _heeded_signals() -> Iterator[None]:
    """A test run in the background or under nohup ignores signals, and its children would inherit that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number in numbers:
        signal.signal(number, before[number])


@contextmanager
def running(*arguments: object, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The command line while it runs; killed if it still does when this is left."""
    command = [*CLIENT, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=REPO, env=environment(**environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows(path: Path) -> list[dict[str, object]]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def counted(summary: dict[str, object]) -> int:
    """Outcomes in a summary."""
    return summary["done_device"] + summary["done_cloud"] + summary["filtered"] + sum(summary["dropped"].values()) + summary["failed"]


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames in which a green ball moves over grey; 20 fps, 320x240."""
    path = tmp_path_factory.mktemp("clip") / "short clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (320, 240))
    for index in range(40):
        image = np.full((240, 320, 3), 90, np.uint8)
        cv2.circle(image, (40 + 6 * index, 120), 20, (60, 200, 60), -1)
        writer.write(image)
    writer.release()
    return path


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- a run that goes well --------------------------------------------------------------------------


def test_a_local_run_leaves_lines_clip_summary_and_trace(short_clip, tmp_path):
    """Every frame has one line with the documented keys, one picture, and is counted once."""
    done = client(
        "--source", short_clip, "--results", tmp_path / "r.jsonl", "--video", tmp_path / "v.mp4", "--summary", tmp_path / "s.json",
        "--trace", tmp_path / "t.jsonl", "--device", "cam-1",
    )
    assert done.returncode == 0, done.stderr
    lines = rows(tmp_path / "r.jsonl")
    assert [line["seq"] for line in lines] == list(range(40))
    assert all(list(line) == KEYS and line["stream"] == "cam-1" and line["split"] == 6 for line in lines)
    found = [line for line in lines if line["outcome"] == "done"]
    assert len(found) > 30 and all(line["where"] == "device" and len(line["device_ms"]) == 6 for line in found)
    moved = found[20]["value"]["x"] - found[0]["value"]["x"]
    assert moved == pytest.approx(20 * 6 * 500 / 320, rel=0.05), "positions follow the ball"
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 40
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["captured"], counted(summary), summary["in_flight"], summary["exit"]) == (40, 40, 0, 0)
    assert summary["aggregate"]["cam-1"]["count"] == len(found)
    assert "frames captured" in done.stdout and "calculate_circle" in done.stdout
    assert (tmp_path / "t.jsonl").read_text().count('"type":"FrameCaptured"') == 40


def test_without_arguments_the_app_renders_its_own_clip(tmp_path):
    """No source, no server, no display: it still shows what it does."""
    done = client("--frames", 20, "--results", tmp_path / "r.jsonl", HOST="nowhere.invalid")
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "r.jsonl")) == 20


def test_results_on_standard_output_are_nothing_but_lines(short_clip):
    """The summary goes to standard error, so that a program can read the lines."""
    done = client("--source", short_clip, "--results", "-", "--want", "x,annotated")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 40 and "frames captured" in done.stderr
    values = [line["value"] for line in lines if line["outcome"] == "done"]
    assert all(list(value) == ["x", "annotated"] for value in values)
    assert values[0]["annotated"]["shape"] == [375, 500, 3] and values[0]["annotated"]["dtype"] == "uint8"


def test_quiet_says_nothing_when_nothing_is_wrong(short_clip):
    """Neither stream gets a byte."""
    done = client("--source", short_clip, "--quiet", "--frames", 5)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_file_in_live_mode_keeps_its_own_pace(short_clip, tmp_path):
    """40 frames at 20 fps take two seconds, whatever the machine could do."""
    done = client("--source", short_clip, "--mode", "live", "--summary", tmp_path / "s.json", "--quiet")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert 1.9 <= summary["elapsed_s"] < 6.0 and summary["captured"] == 40 == counted(summary)


def test_the_list_shows_stages_and_legal_counts():
    """Names, placements and counts, without starting anything."""
    done = client("--list")
    assert done.returncode == 0
    assert all(name in done.stdout for name in [*STAGES, "tracks", "device or cloud", "fingerprint"])
    assert "Legal stage counts on this device: 1, 2, 3, 4, 5, 6." in done.stdout


# -- what cannot work is said before it starts -----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["9"], 2, ["9 stages", "1, 2, 3, 4, 5, 6", "4:find_contours"]),
        (["0"], 2, ["STAGES 0"]),
        (["3", "17"], 2, ["automatic", "not available"]),
        (["--nope"], 2, ["unrecognized arguments: --nope"]),
        (["--app", "no.such:app"], 2, ["no.such:app", "cannot import"]),
        (["--app", "examples.ball_tracking.app:nope"], 2, ["no such attribute", "app"]),
        (["--source", "nosuch.mp4"], 5, ["nosuch.mp4", "No such file", "camera index"]),
        (["--source", "setup.cfg"], 5, ["setup.cfg", "not a video"]),
        (["--source", "9999"], 5, ["camera 9999", "/dev/video"]),
        (["--source", "docs"], 5, ["has no images"]),
        (["--results", "/nosuch/r.jsonl"], 2, ["--results", "/nosuch"]),
        (["--trace", "/dev/full/t"], 2, ["--trace"]),
        (["--show"], 6, ["--show", "--video"]),
    ],
)
def test_an_error_names_what_was_asked_for_and_has_its_code(arguments, code, words):
    """One sentence on standard error, no traceback, and the exit code of the manual."""
    done = client(*arguments)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("iot-client: ")


def test_an_app_without_a_source_asks_for_one(tmp_path):
    """Items that are submitted come from a program, not from a command line."""
    (tmp_path / "mine.py").write_text("from tasks import App, Input, task\napp = App('mine', [Input(), task(lambda item: item)])\n")
    done = client("--app", "mine:app", cwd=tmp_path)
    assert done.returncode == 2 and "no source of its own: give --source" in done.stderr


def test_no_server_is_told_with_its_address(free_port):
    """Three stages need a server; nobody answers."""
    done = client(3, "--port", free_port)
    assert done.returncode == 3 and f"127.0.0.1:{free_port}" in done.stderr and "cloud-server" in done.stderr


def test_a_users_tasks_py_is_named_rather_than_imported(tmp_path):
    """A script of that name in the working directory comes before our package."""
    (tmp_path / "tasks.py").write_text("raise RuntimeError('the wrong tasks')\n")
    done = client("--list", cwd=tmp_path)
    assert done.returncode == 1 and str(tmp_path / "tasks.py") in done.stderr and "hides" in done.stderr


@pytest.mark.parametrize("app", ["examples.ball_tracking.app:app", "later:app"])
def test_an_opencv_that_does_not_load_is_explained(tmp_path, app):
    """On a bare host the import fails for want of libGL; the packages and the headless wheel are named.

    Also for an app that would import it only in a worker.
    """
    (tmp_path / "cv2").mkdir()
    text = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
    (tmp_path / "cv2" / "__init__.py").write_text(text)
    (tmp_path / "later.py").write_text(
        "from tasks import App, source, task\n"
        "app = App('later', [source(name='one')(lambda: [1]), task(name='two', requires=('cv2',))(lambda item: item)])\n"
    )
    done = client("--app", app, "--frames", 1, PYTHONPATH=f"{tmp_path}{os.pathsep}{REPO}")
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("libGL.so.1", "libxcb1", "libgl1", "libglib2.0-0", "opencv-python-headless"))


# -- what breaks while it runs ---------------------------------------------------------------------


def test_a_full_disk_under_results_ends_the_run_with_its_summary(short_clip, tmp_path):
    """The message names the file; the summary still adds up."""
    done = client("--source", short_clip, "--rate", 10, "--results", "/dev/full", "--summary", tmp_path / "s.json")
    assert done.returncode == 6
    assert "cannot write results to /dev/full after 0 lines: No space left on device" in done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["captured"] == counted(summary) < 20 and summary["exit"] == 6
    assert "frames captured" in done.stdout


@pytest.mark.parametrize(("option", "words"), [("--trace", "the trace is incomplete"), ("--summary", "cannot write the summary")])
def test_a_full_disk_under_another_output_does_not_stop_the_run(short_clip, tmp_path, option, words):
    """All frames are processed; the message and the code come at the end."""
    done = client("--source", short_clip, option, "/dev/full", "--results", tmp_path / "r.jsonl")
    assert done.returncode == 6 and words in done.stderr and "No space left" in done.stderr
    assert len(rows(tmp_path / "r.jsonl")) == 40


def test_a_full_disk_under_standard_output_is_an_error(short_clip):
    """Also for the live line and the summary."""
    with open("/dev/full", "w") as full:
        command = [*CLIENT, "--source", str(short_clip)]
        done = subprocess.run(command, cwd=REPO, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (6, "iot-client: cannot write to standard output: No space left on device\n")


def test_a_closed_pipe_ends_the_run_quietly(short_clip, tmp_path):
    """`iot-client --results - | head -2` is a normal way to look at something."""
    options = f"--source '{short_clip}' --results - --rate 10 --summary '{tmp_path}/s'"
    command = f"{' '.join(CLIENT)} {options} | head -2; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=REPO, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2
    assert "frames captured" in done.stderr and "closed it after" in done.stderr
    assert json.loads((tmp_path / "s").read_text())["captured"] < 20
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 129, "hangup")]
)
def test_a_signal_stops_capture_and_shows_the_summary(short_clip, tmp_path, number, code, name):
    """Frames in flight are finished, lines and clip are whole, and the process is gone."""
    with running(
        "--source", short_clip, "--rate", 5, "--results", "-", "--video", tmp_path / "v.mp4", "--summary", tmp_path / "s.json"
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == code, errors
    assert name in errors and "frames captured" in errors and "Traceback" not in errors
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["captured"] == counted(summary) == len(lines) + len(rest.splitlines()) < 40
    assert summary["dropped"] == {}
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == summary["captured"]


SLOW_APP = """
import os, threading
from tasks import App, source, task

@source
def numbers():
    yield from range(1000)

@task
def slow(number):
    threading.Event().wait(float(os.environ["SLOWNESS"]) if number else 0.0)
    return number

app = App("slow", [numbers, slow])
"""


@contextmanager
def running_slowly(folder: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """An app whose frames, but for the first, take so long; its lines come on standard output."""
    (folder / "slow_app.py").write_text(SLOW_APP)
    path = f"{REPO}{os.pathsep}{folder}"
    with running(
        "--app", "slow_app:app", "--results", "-", "--summary", folder / "s.json", PYTHONPATH=path, SLOWNESS=str(seconds)
    ) as process:
        yield process


def test_the_first_signal_lets_frames_in_flight_finish(tmp_path):
    """Several are under way; all of them are done in the end."""
    with running_slowly(tmp_path, 0.3) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    outcomes = [json.loads(line)["outcome"] for line in [*lines, *rest.splitlines()]]
    assert len(outcomes) > 2 and set(outcomes) == {"done"}
    assert json.loads((tmp_path / "s.json").read_text())["captured"] == len(outcomes)


def test_a_second_signal_drops_what_is_in_flight(tmp_path):
    """The first lets frames finish, which may take long; the second does not wait."""
    with running_slowly(tmp_path, 60.0) as process:
        assert json.loads(process.stdout.readline())["outcome"] == "done"
        process.send_signal(signal.SIGINT)
        assert "finishing" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    outcomes = [json.loads(line) for line in rest.splitlines()]
    assert outcomes and all((line["outcome"], line["reason"]) == ("dropped", "stopped") for line in outcomes)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["captured"] == counted(summary) == 1 + len(outcomes)


FAILING_APP = """
from tasks import App, Source, task

class Wire(Source):
    def __init__(self):
        self.count = 0
    def read(self):
        self.count += 1
        if self.count > 5:
            raise OSError("the wire came off")
        return self.count

@task
def divide(number):
    return 10 // (number - 3)

app = App("failing", [Wire(), divide])
"""


def test_a_source_that_raises_and_a_stage_that_fails_are_told_apart(tmp_path):
    """The failed frame is an outcome; the lost source is the reason the run ended, code 5."""
    (tmp_path / "failing_app.py").write_text(FAILING_APP)
    done = client("--app", "failing_app:app", "--results", tmp_path / "r.jsonl", cwd=tmp_path)
    assert done.returncode == 5
    assert "the wire came off" in done.stderr
    assert "1 frames failed; the first: frame 2, stage 'divide': ZeroDivisionError" in done.stderr
    lines = rows(tmp_path / "r.jsonl")
    assert [line["outcome"] for line in lines] == ["done", "done", "failed", "done", "done"]
    assert lines[2]["reason"].startswith("divide: ZeroDivisionError")


def test_a_clip_that_is_cut_short_ends_cleanly_with_its_reason(clip, tmp_path):
    """All frames that were there have their line; exit code 5 says that more were announced."""
    data = clip("pedestrians.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 10])
    done = client("--source", tmp_path / "cut.avi", "--results", tmp_path / "r.jsonl")
    assert done.returncode == 5 and "of the 795 its header announces" in done.stderr
    assert len(rows(tmp_path / "r.jsonl")) > 20 and "frames captured" in done.stdout


class Camera(BaseHTTPRequestHandler):
    """An IP camera (motion JPEG over HTTP) that is unplugged after a number of frames."""

    frames, stalls = 30, False

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), 128, np.uint8))[1].tobytes()
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        try:
            for _ in range(self.frames):
                self.wfile.write(head + jpeg + b"\r\n")
                self.server.unplugged.wait(0.01)
            if self.stalls:
                self.server.unplugged.wait(60.0)
        except OSError:
            return  # the client left first

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def camera(frames: int, stalls: bool) -> Iterator[str]:
    """The camera's URL while it is served on loopback."""
    handler = type("Handler", (Camera,), {"frames": frames, "stalls": stalls})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.unplugged = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://me:secret@127.0.0.1:{server.server_port}/stream.mjpg"
    finally:
        server.unplugged.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_camera_unplugged_mid_run_ends_cleanly(tmp_path):
    """Live by nature; the frames that came have their outcomes, and the message says when it stopped, without the password."""
    with camera(frames=60, stalls=False) as url:
        done = client("--source", url, "--results", tmp_path / "r.jsonl", "--summary", tmp_path / "s.json")
    assert done.returncode == 5, done.stderr
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["mode"] == "live"
    assert summary["captured"] == counted(summary) == len(rows(tmp_path / "r.jsonl")) > 20
    assert f"stopped delivering after {summary['captured']} frames" in done.stderr
    assert "me@127.0.0.1" in done.stderr and "secret" not in done.stderr + done.stdout


def test_ctrl_c_does_not_wait_for_a_camera_that_hangs(tmp_path):
    """A read that blocks in the driver keeps nobody."""
    with camera(frames=60, stalls=True) as url, running("--source", url, "--results", "-") as process:
        for _ in range(30):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


# -- with a server ---------------------------------------------------------------------------------


@contextmanager
def server(*arguments: object, cwd: Path | None = None) -> Iterator[int]:
    """The port of a real server, ready, on loopback."""
    command = [sys.executable, "-m", "cloud_server", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=cwd or REPO, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        ready = process.stdout.readline()
        assert ready.startswith("ready:"), ready + process.stdout.read()
        yield int(re.search(r":(\d+),", ready)[1])
    finally:
        process.terminate()
        process.communicate(timeout=20)


COUNTING_APP = """
from tasks import App, source, task

@source
def numbers():
    yield from range(30)

@task
def double(number):
    return number * 2

app = App("counting", [numbers, double], version="{version}")
"""


@pytest.fixture
def two_versions(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with an app of the same name that differs in its version."""
    folders = tmp_path / "one", tmp_path / "two"
    for version, folder in enumerate(folders, 1):
        folder.mkdir()
        (folder / "counting.py").write_text(COUNTING_APP.format(version=version))
    return folders


def test_a_split_by_hand_gives_what_a_local_run_gives(short_clip, tmp_path):
    """The same outcomes and values in the same order; only where they were made differs."""
    assert client("--source", short_clip, "--results", tmp_path / "local").returncode == 0
    with server() as port:
        for k in (1, 4):
            options = ("--port", port, "--source", short_clip, "--results", tmp_path / f"{k}", "--summary", tmp_path / "s.json")
            done = client(k, *options, HOST="127.0.0.1")
            assert done.returncode == 0, done.stderr
            summary = json.loads((tmp_path / "s.json").read_text())
            assert summary["split"] == k and summary["link"] in ("up", "probing") and summary["captured"] == 40 == counted(summary)
    local, *split = (rows(tmp_path / name) for name in ("local", "1", "4"))
    for k, lines in zip((1, 4), split, strict=True):
        assert [[row[key] for key in ("seq", "outcome", "value")] for row in lines] == [
            [row[key] for key in ("seq", "outcome", "value")] for row in local
        ]
        done_rows = [row for row in lines if row["outcome"] == "done"]
        assert all(row["where"] == "cloud" and len(row["device_ms"]) == k and len(row["cloud_ms"]) == 6 - k for row in done_rows)
        assert all(row["sent_bytes"] > 100_000 and row["codec"] == "raw" for row in done_rows)


def test_a_host_without_a_stage_count_gets_only_the_final_values(tmp_path):
    """All stages run here; the aggregate is the server's."""
    with server() as port:
        done = client("--host", "127.0.0.1", "--port", port, "--frames", 20, "--results", tmp_path / "r", "--summary", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert {row["where"] for row in rows(tmp_path / "r") if row["outcome"] == "done"} == {"device"}
    assert json.loads((tmp_path / "s.json").read_text())["link"] != "local"


def test_a_server_with_another_version_of_the_app_is_refused_by_it(two_versions):
    """Both versions and both fingerprints are named, once."""
    one, two = two_versions
    with server("--app", "counting:app", cwd=one) as port:
        done = client(1, "--app", "counting:app", "--port", port, cwd=two)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "version 2 on the device, 1 on the server" in done.stderr
    assert len(set(re.findall(r"\b[0-9a-f]{16}\b", done.stderr))) == 2


def test_a_server_that_comes_back_as_another_version_does_not_end_the_run(two_versions, free_port):
    """What is left runs here; the exit code and the last words tell."""
    one, two = two_versions
    options = ("--app", "counting:app", "--port", free_port)
    command = [*CLIENT, "1", *map(str, options), "--rate", "10", "--results", "-"]
    with server(*options, cwd=one):
        process = subprocess.Popen(command, cwd=one, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = [process.stdout.readline() for _ in range(3)]
    try:
        with server(*options, cwd=two):
            rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 4, errors
    assert "version 1 on the device, 2 on the server" in errors and "frames since then were run here" in errors
    lines = [json.loads(line) for line in [*first, *rest.splitlines()]]
    assert [(row["seq"], row["outcome"], row["value"]) for row in lines] == [(seq, "done", 2 * seq) for seq in range(30)]
    assert (lines[0]["where"], lines[-1]["where"]) == ("cloud", "device")


def test_a_server_that_does_not_serve_the_app_says_what_it_serves(two_versions):
    """Unknown here is not unreachable: code 4, with the apps that are served."""
    with server("--app", "counting:app", cwd=two_versions[0]) as port:
        done = client(3, "--port", port)
    assert done.returncode == 4 and "'ball_tracking' is not served here" in done.stderr and "counting" in done.stderr


def test_something_that_is_no_server_counts_as_unreachable(free_port):
    """A web server behind the port does not make the client hang or crash."""
    with camera(frames=1, stalls=False) as url:
        done = client(3, "--port", url.rpartition(":")[2].partition("/")[0])
    assert done.returncode == 3 and "no Spillway server answered" in done.stderr


def test_ctrl_c_before_the_server_answers_ends_at_once(free_port):
    """Nobody waits out the connection timeout."""
    with running(3, "--port", free_port, "--trace", "/dev/stdout") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=4)
    assert process.returncode == 130 and errors == "iot-client: interrupted\n"
