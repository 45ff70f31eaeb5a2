"""Final values: folded once each, written once each, whatever fails."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cloud_server.results import recorder, store
from cloud_server.events import Fold
from cloud_server.results.recorder import Recorder, RecorderError, RecorderStatistics
from cloud_server.results.seen import Seen, SeenStreams
from cloud_server.results.store import Row, Store, StoreError, open_store
from tasks import Aggregate, App, Input
from wire.payload import Packer
from wire.protocol import Payload

SUFFIXES = (".jsonl", ".sqlite")


def row(seq: int, value: Any = 1, *, device: str = "cam", session: str = "0000000000000007", source: str = "report") -> Row:
    """A row as the recorder makes it."""
    return Row(device, session, seq, "app", source, msgspec.Raw(json.dumps(value, separators=(",", ":")).encode()))


def read(path: Path) -> list[dict[str, Any]]:
    """What is in a store's file."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(found) for found in database.execute("SELECT * FROM results ORDER BY device, session, seq")]
    return [{**found, "value": json.loads(found["value"])} for found in rows]


@pytest.fixture(params=SUFFIXES)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file for each kind of store."""
    return tmp_path / f"results{request.param}"


# -- stores ----------------------------------------------------------------------------------------


def test_a_row_is_written_as_documented(path: Path) -> None:
    """Device, session, seq, app, source and value, under these names."""
    results = open_store(path)
    results.add(row(12, {"x": 120.5}))
    results.close()
    assert read(path) == [
        {"device": "cam", "session": "0000000000000007", "seq": 12, "app": "app", "source": "report", "value": {"x": 120.5}}
    ]
    assert (results.written, results.duplicates, results.lost) == (1, 0, 0)


def test_a_row_is_written_once(path: Path) -> None:
    """The first of a (device, session, seq) counts, within a commit and after it."""
    results = open_store(path)
    results.add(row(1, "first"))
    results.add(row(1, "second", source="result"))
    results.commit()
    results.add(row(1, "third"))
    results.add(row(1, "other device", device="cam2"))
    results.add(row(1, "other session", session="0000000000000008"))
    results.close()
    assert sorted(found["value"] for found in read(path)) == ["first", "other device", "other session"]
    assert (results.written, results.duplicates) == (3, 2)


def test_a_store_opened_again_writes_no_duplicates(path: Path) -> None:
    """What an earlier server wrote is known to the next."""
    for start in (0, 5):
        results = open_store(path)
        for seq in range(start, start + 10):
            results.add(row(seq, start))
        results.close()
    assert [(found["seq"], found["value"]) for found in read(path)] == [(seq, 0 if seq < 10 else 5) for seq in range(15)]
    assert results.duplicates == 5


def test_a_line_cut_off_by_a_crash_is_written_over(tmp_path: Path) -> None:
    """A file that ends in half a row goes on as if that had not been begun."""
    path = tmp_path / "results.jsonl"
    results = open_store(path)
    results.add(row(1))
    results.close()
    with open(path, "a") as file:
        file.write('{"device":"cam","session":"00000000000')
    results = open_store(path)
    results.add(row(2))
    results.close()
    assert [found["seq"] for found in read(path)] == [1, 2]


def test_a_foreign_file_is_left_alone(path: Path) -> None:
    """A file that holds something else is refused with what to do, and stays as it is."""
    if path.suffix == ".jsonl":
        path.write_text("my diary\n")
        words = "line 1 is no result of a server"
    else:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE results (diary TEXT)")
        words = "its table 'results' has the columns diary"
    before = path.read_bytes()
    with pytest.raises(StoreError, match=f"cannot write results to .*{words}.*give another file"):
        open_store(path)
    if path.suffix == ".jsonl":
        assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, suffix: str) -> None:
    """A missing folder, or a folder instead of a file, is an error at once."""
    (tmp_path / f"folder{suffix}").mkdir()
    for place, words in ((tmp_path / "missing" / f"results{suffix}", f"there is no folder {tmp_path / 'missing'}; make it"),
                         (tmp_path / f"folder{suffix}", ".")):  # fmt: skip
        with pytest.raises(StoreError, match=f"cannot write results to {place}: {words}"):
            open_store(place)


def test_two_servers_do_not_share_a_file(tmp_path: Path) -> None:
    """The second one is told."""
    path = tmp_path / "results.jsonl"
    first = open_store(path)
    with pytest.raises(StoreError, match="another server writes to it"):
        open_store(path)
    first.close()
    open_store(path).close()


def test_a_full_disk_keeps_rows_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait for room up to a limit; what is beyond it, and what waits at the end, is lost and counted."""
    monkeypatch.setattr(store, "MAX_WAITING", 30)
    results = open_store("/dev/full")
    for seq in range(5):
        results.add(row(seq, "x" * 8))
        with pytest.raises(StoreError, match="cannot write /dev/full: No space left on device"):
            results.commit()
    assert (results.written, results.lost) == (0, 2)
    with pytest.raises(StoreError):
        results.close()
    assert (results.written, results.lost) == (0, 5)


def test_a_failed_write_leaves_whole_rows_only(tmp_path: Path, limit_file_size: Callable[[int], None]) -> None:
    """A write that ends in the middle of a row is undone; when there is room again the rows are all there."""
    results = open_store(tmp_path / "results.jsonl")
    results.add(row(0))
    results.commit()
    size = (tmp_path / "results.jsonl").stat().st_size
    limit_file_size(size + 150)
    for seq in (1, 2):
        results.add(row(seq, "x" * 100))
    with pytest.raises(StoreError, match="File too large"):
        results.commit()
    assert (tmp_path / "results.jsonl").stat().st_size == size
    limit_file_size(10**6)
    results.close()
    assert [found["seq"] for found in read(tmp_path / "results.jsonl")] == [0, 1, 2]
    assert (results.written, results.lost) == (3, 0)


@pytest.fixture
def limit_file_size() -> Any:
    """Makes writes beyond a size fail for this process, as a full disk does."""
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


# -- what has been seen ----------------------------------------------------------------------------


def test_seen_numbers_are_those_added() -> None:
    """In any order and with gaps, the set is exact among the newest four million."""
    draw = random.Random(7)
    added = set(draw.sample(range(200_000), 20_000))
    seen = Seen()
    for number in draw.sample(sorted(added), len(added)):
        seen.add(number)
    assert all((number in seen) == (number in added) for number in range(200_000))


def test_seen_numbers_are_bounded() -> None:
    """A device that jumps about cannot grow the set; what is too old counts as seen."""
    seen = Seen()
    for step in range(10_000):
        seen.add(step * 2**40)
    assert len(seen._blocks) == 8192
    assert 5 in seen
    assert 9_999 * 2**40 in seen
    assert 9_999 * 2**40 + 1 not in seen


def test_streams_are_bounded() -> None:
    """The stream that was not heard of for longest is forgotten first."""
    streams = SeenStreams()
    for number in range(16_384):
        streams.add(("cam", f"{number}", 0))
    streams.add(("cam", "0", 1))
    streams.add(("cam", "new", 0))
    assert ("cam", "0", 0) in streams
    assert ("cam", "1", 0) not in streams
    assert ("cam", "2", 0) in streams


# -- the recorder ----------------------------------------------------------------------------------


class Tracks(Aggregate):
    """Keeps what it is given; a str orders it to raise."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.rows: list[tuple[str, int, Any]] = []

    def setup(self) -> None:
        if "setup" in self.options:
            raise self.options["setup"]
        self.thread = threading.get_ident()

    def add(self, device: str, seq: int, value: Any) -> None:
        assert self.thread == threading.get_ident()
        if value == "raise":
            raise ValueError("as told")
        if value == "leave":
            raise SystemExit(1)
        self.rows.append((device, seq, value))

    def summary(self) -> Any:
        if "summary" in self.options:
            raise self.options["summary"]
        return {"rows": self.rows, "last": np.float32(0.5)}

    def close(self) -> None:
        assert self.thread == threading.get_ident()


class Notes(list[tuple[str, str]]):
    """What the recorder says."""

    def __call__(self, level: str, text: str) -> None:
        self.append((level, text))


PACKER = Packer()


def make(results: Store | None = None, notes: Notes | None = None, **options: Any) -> Recorder:
    """A started recorder for the app "app"."""
    made = Recorder({"app": App("app", [Input(), Tracks(**options)])}, results, on_note=notes if notes is not None else Notes())
    made.start()
    return made


def fold(target: Recorder, seq: int, value: Any, *, token: int = 1, session: int = 7) -> None:
    """Give the recorder a value; with a token as that of a REPORT."""
    target.fold(Fold("app", "cam", session, seq, token), value if isinstance(value, Payload) else PACKER.pack(value))


def test_reported_values_are_folded_and_kept(path: Path) -> None:
    """A REPORT's value goes to aggregate and store; arrays stand in the store as shape, dtype and checksum."""
    made = make(open_store(path))
    fold(made, 3, {"x": 1.5, "mask": np.zeros((20, 30), np.uint8)}, session=2**64 - 1)
    summary = made.close()["app"]
    plain = {"x": 1.5, "mask": {"shape": [20, 30], "dtype": "uint8", "crc32": summary["rows"][0][2]["mask"]["crc32"]}}
    assert summary == {"rows": [["cam", 3, plain]], "last": 0.5}
    assert read(path) == [{"device": "cam", "session": "f" * 16, "seq": 3, "app": "app", "source": "report", "value": plain}]
    assert made.statistics() == RecorderStatistics(folded=1, written=1)


def test_computed_results_are_kept_and_not_folded(path: Path) -> None:
    """The aggregate waits for the REPORT; of result and report of one frame the store keeps the first."""
    made = make(open_store(path))
    fold(made, 3, "computed", token=0)
    fold(made, 3, "reported")
    assert made.close()["app"]["rows"] == [["cam", 3, "reported"]]
    assert [(found["source"], found["value"]) for found in read(path)] == [("result", "computed")]
    assert made.statistics() == RecorderStatistics(folded=1, written=1, duplicates=1)


def test_an_aggregate_that_raises_costs_that_value(path: Path) -> None:
    """It is said once, counted each time, and the value is in the store all the same."""
    notes = Notes()
    made = make(open_store(path), notes)
    for seq, value in enumerate(["raise", 1, "raise", "leave", 2]):
        fold(made, seq, value)
    assert [entry[2] for entry in made.close()["app"]["rows"]] == [1, 2]
    assert len(read(path)) == 5
    assert made.statistics() == RecorderStatistics(folded=2, written=5, failed=3)
    assert [level for level, _ in notes] == ["warning"]
    assert "aggregate 'tracks': add() raised ValueError: as told" in notes[0][1]


def test_an_unreadable_value_is_counted(path: Path) -> None:
    """Bytes from a device that are no value harm nobody."""
    notes = Notes()
    made = make(open_store(path), notes)
    fold(made, 0, Payload(b"\xc1"))
    fold(made, 1, "fine")
    made.close()
    assert [found["value"] for found in read(path)] == ["fine"]
    assert made.statistics() == RecorderStatistics(folded=1, written=1, failed=1)
    assert "a value of device 'cam' cannot be recorded" in notes[0][1]


def test_a_full_disk_is_said_once_and_serving_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are folded on; at the end the lost rows are told."""
    monkeypatch.setattr(recorder, "COMMIT_EVERY_S", 0.0)
    notes = Notes()
    made = make(open_store("/dev/full"), notes)
    for seq in range(50):
        fold(made, seq, seq)
    assert len(made.close()["app"]["rows"]) == 50
    assert made.statistics() == RecorderStatistics(folded=50, lost=50)
    assert [level for level, _ in notes] == ["error", "error"]
    assert "No space left on device; serving goes on" in notes[0][1]
    assert notes[1][1].endswith("results lost: 50")


def test_rows_are_written_soon(path: Path) -> None:
    """Without any further event a row is on the disk within a second."""
    made = make(open_store(path))
    fold(made, 0, "soon")
    give_up = threading.Event()
    for _ in range(100):
        if read(path):
            break
        give_up.wait(0.1)
    assert len(read(path)) == 1
    made.close()


def test_values_beyond_the_memory_limit_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that cannot keep up never holds up the server, and never takes all its memory."""
    monkeypatch.setattr(recorder, "MAX_WAITING", 10)
    notes = Notes()
    made = Recorder({"app": App("app", [Input(), Tracks()])}, on_note=notes)
    for seq in range(5):
        fold(made, seq, "four")  # nothing is folded before start()
    made.start()
    assert len(made.close()["app"]["rows"]) == 2
    assert made.statistics() == RecorderStatistics(folded=2, lost=3)
    assert len(notes) == 1


def test_an_aggregate_that_cannot_be_set_up_stops_the_start(path: Path) -> None:
    """The error names app, aggregate and what it raised, and the store is free again."""
    with pytest.raises(RecorderError, match="app 'app': setup of aggregate 'tracks' failed: OSError: no window"):
        make(open_store(path), setup=OSError("no window"))
    open_store(path).close()


def test_an_aggregate_whose_summary_raises_is_told_of() -> None:
    """The end comes all the same."""
    notes = Notes()
    made = make(None, notes, summary=ValueError("nothing to say"))
    assert made.close() == {}
    assert "nothing to say" in notes[0][1]


def test_an_aggregate_that_lacks_a_package_is_left_out() -> None:
    """The server says so and keeps serving."""
    aggregate = Tracks()
    aggregate.requires = ("no_such_package",)
    notes = Notes()
    made = Recorder({"app": App("app", [Input(), aggregate])}, on_note=notes)
    made.start()
    fold(made, 0, 1)
    assert made.close() == {}
    assert "needs no_such_package, missing here" in notes[0][1]


def test_an_aggregate_that_cannot_be_copied_says_what_to_do() -> None:
    """Each server folds into an instance of its own."""
    with pytest.raises(RecorderError, match=r"'tracks' cannot be copied .*create what cannot be copied in setup\(\)"):
        Recorder({"app": App("app", [Input(), Tracks(lock=threading.Lock())])})


def test_a_recorder_that_never_started_closes_its_store(path: Path) -> None:
    """Nothing is held when the server fails before it serves."""
    before = len(os.listdir("/proc/self/fd"))
    assert Recorder({}, open_store(path)).close() == {}
    assert len(os.listdir("/proc/self/fd")) == before
