"""A spool by itself: what it keeps, in which order it gives it back, and what it says when it cannot."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iot_client.cli.config import ConfigError, parse
from iot_client.errors import Full
from iot_client.spooling.file import Damaged, StreamKey
from iot_client.spooling.spool import Spool, Spooler, SpoolError
from wire.payload import Packer

KEY = StreamKey("app", "1", "abcd", "device")
Open = Callable[..., Spooler]


@pytest.fixture
def notes() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def opened(tmp_path: Path, notes: list[tuple[str, str]]) -> Iterator[Open]:
    """`opened(max_bytes=..., key=..., source=..., memory=...)` is a spool in one folder; all are closed at the end."""
    spoolers: list[Spooler] = []

    def open_one(key: StreamKey = KEY, source: str = "", memory: int = 2**20, **options: Any) -> Spooler:
        spool = Spool(tmp_path / "spool", **options)
        spoolers.append(spool.open(key, source, Packer(), lambda level, text: notes.append((level, text)), memory))
        return spoolers[-1]

    yield open_one
    for spooler in spoolers:
        spooler.close()


def drain(spooler: Spooler) -> list[Any]:
    """All that is in there, once the source has ended."""
    spooler.end(complete=False)
    items = []
    while True:
        try:
            items.append(spooler.next())
        except EOFError:
            return items


def numbers(items: list[Any]) -> list[int]:
    return [int(item[0]) for item in items]


def arrays(*values: int) -> list[Any]:
    return [np.full(2000, value) for value in values]


def fill(spooler: Spooler, *values: int) -> None:
    for item in arrays(*values):
        spooler.put(item, wait=True)


@pytest.mark.parametrize("memory", [0, 2**20])
def test_items_come_out_as_they_went_in(opened: Open, memory: int) -> None:
    """In order and equal, whether they were still in memory or on disk alone."""
    spooler = opened(memory=memory)
    fill(spooler, 3, 1, 2)
    assert numbers(drain(spooler)) == [3, 1, 2]


def test_what_was_not_taken_is_there_at_the_next_start(opened: Open) -> None:
    """Taken are all up to a seq; the rest comes again, before what is new, under the same numbers and session."""
    first = opened()
    fill(first, 0, 1, 2, 3)
    first.taken(1)
    first.close()
    second = opened()
    assert (second.first, second.position, second.session) == (2, 4, first.session)
    assert second.put(arrays(9)[0]) == 4
    assert numbers(drain(second)) == [2, 3, 9]


def test_a_stream_that_is_over_gives_way_to_a_new_one(opened: Open) -> None:
    """Ended and all taken: the next start has another session and counts from 0."""
    first = opened()
    fill(first, 0, 1)
    first.taken(1)
    first.end(complete=True)
    first.close()
    second = opened()
    assert (second.first, second.position) == (0, 0)
    assert second.session != first.session


def test_a_stream_that_was_stopped_goes_on(opened: Open) -> None:
    """All taken, but the source had more: the position is kept."""
    first = opened()
    fill(first, 0, 1)
    first.taken(1)
    first.close()
    assert opened().position == 2


def test_another_source_is_read_from_its_beginning(opened: Open) -> None:
    """The position counts the items of the present source only; the stream's numbers go on."""
    first = opened(source="a.mp4")
    fill(first, 0, 1)
    first.close()
    second = opened(source="b.mp4")
    assert (second.position, second.put(arrays(5)[0])) == (0, 2)


def test_final_values_stay_until_they_are_reported(opened: Open) -> None:
    """Recalled in order from a seq on, after a restart too; what was reported does not come again."""
    first = opened()
    fill(first, 0, 1, 2)
    for seq in range(3):
        first.report(seq, {"n": seq})
    first.taken(2)
    first.reported(1)
    first.close()
    second, got, answered = opened(), [], threading.Event()
    second.on_recalled = lambda seqs, values: (got.append((seqs, values)), answered.set())[0]
    second.recall(-1, 10)
    assert answered.wait(5)
    assert (second.reports_before, got) == (2, [((0, 2), [{"n": 0}, {"n": 2}])])


def test_a_final_value_of_a_frame_that_runs_again_is_not_kept(opened: Open) -> None:
    """Its result was not taken: the frame comes again, and with it its value."""
    first = opened()
    fill(first, 0)
    first.report(0, 1)
    first.close()
    assert opened().reports_before == 0


def test_a_full_spool_makes_the_source_wait(opened: Open) -> None:
    """Beyond its maximum there is no room, until results were taken; nothing is lost meanwhile."""
    spooler = opened(max_bytes=2**20)
    item = np.zeros(2**19, np.uint8)
    for _ in range(2):
        assert spooler.take_permit(1.0)
        spooler.put(item, wait=True)
    with pytest.raises(Full, match="no room in the spool within 0.05 s: 10.*2 items wait"):
        spooler.take_permit(0.05)
    spooler.taken(0)
    assert spooler.take_permit(5.0)


def test_an_item_that_can_never_fit_is_refused(opened: Open) -> None:
    """Larger than all of the spool: an error that says so."""
    with pytest.raises(SpoolError, match="holds at most 1048576"):
        opened(max_bytes=2**20).put(np.zeros(2**21, np.uint8))


def test_an_item_that_cannot_be_packed_is_refused(opened: Open) -> None:
    """The error names the type and what is legal."""
    with pytest.raises(SpoolError, match="cannot be spooled.*legal are arrays"):
        opened().put(object())


def test_a_second_user_of_the_folder_is_refused(opened: Open) -> None:
    """The error names the process that has it."""
    opened()
    with pytest.raises(SpoolError, match=r"in use by process \d+; give each client a folder of its own"):
        opened()


def test_items_of_another_app_are_not_thrown_away(opened: Open) -> None:
    """While something is left in it, another app may not use the folder; afterwards it may."""
    first = opened()
    fill(first, 0)
    first.close()
    other = StreamKey("app", "2", "beef", "device")
    with pytest.raises(SpoolError, match=r"holds 1 items of app 'app' version 1 .*; this is app 'app' version 2"):
        opened(key=other)
    again = opened()
    again.taken(0)
    again.close()
    assert opened(key=other).position == 0


@pytest.mark.parametrize("harm", [b"no database at all" * 1000, b""])
def test_a_damaged_file_is_moved_aside(opened: Open, tmp_path: Path, notes: list[tuple[str, str]], harm: bytes) -> None:
    """Whatever lies there instead of a database: a warning, a copy for whoever wants to look, and a new spool."""
    opened().close()
    (tmp_path / "spool" / "spool.sqlite3").write_bytes(harm)
    assert opened().position == 0
    assert "is damaged" in notes[0][1]
    assert (tmp_path / "spool" / "spool.sqlite3.broken-1").read_bytes()[: len(harm)] == harm


def test_a_damaged_item_is_told_from_a_good_one(opened: Open, tmp_path: Path, notes: list[tuple[str, str]]) -> None:
    """One flipped bit on disk: that item is reported, the others come as they were."""
    first = opened()
    fill(first, 0, 1, 2)
    first.close()
    database = sqlite3.connect(tmp_path / "spool" / "spool.sqlite3")
    body = bytearray(database.execute("SELECT body FROM items WHERE seq = 1").fetchone()[0])
    body[100] ^= 1
    database.execute("UPDATE items SET body = ? WHERE seq = 1", (bytes(body),))
    database.commit()
    database.close()
    items = drain(opened())
    assert [type(item) is Damaged for item in items] == [False, True, False]
    assert "item 1 in the spool is damaged" in notes[0][1]


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    """The error names the folder and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="name a folder that this user may write to"):
        Spool(tmp_path / "file" / "spool").open(KEY, "", Packer(), lambda level, text: None, 0)


def test_a_full_disk_is_waited_for(opened: Open, notes: list[tuple[str, str]]) -> None:
    """SQLite's own "disk full": one warning, the source waits, and what came meanwhile is written when there is room."""
    spooler = opened(memory=0)
    fill(spooler, 0)
    spooler._file._db.execute("PRAGMA max_page_count = 1")
    for item in arrays(*range(1, 20)):
        spooler.put(item)
    assert wait_for(lambda: bool(notes), 5.0)
    for item in arrays(*range(20, 40)):
        spooler.put(item)
    assert not wait_for(lambda: spooler._durable == 40, 0.7)
    assert [level for level, _ in notes] == ["warning"]
    assert "cannot be written: database or disk is full; the source waits" in notes[0][1]
    spooler._file._db.execute("PRAGMA max_page_count = 100000")
    assert wait_for(lambda: spooler._durable == 40, 5.0)
    assert numbers(drain(spooler)) == list(range(40))


def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    """True as soon as `what` is; False if it is not in time."""
    gone = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if what():
            return True
        gone.wait(0.02)
    return what()


@pytest.mark.parametrize("tail", ["", '{"seq":7,"outc'])
def test_what_stands_in_the_results_file_was_taken(opened: Open, tmp_path: Path, tail: str) -> None:
    """Lines written before the end count, though the spool was not told; a line cut off does not."""
    results = tmp_path / "results.jsonl"
    results.write_text("")
    first = opened(results=results)
    fill(first, 0, 1, 2)
    first.writes_to(results)
    first.close()
    results.write_text('{"stream":"device","seq":0}\n{"stream":"device","seq":1}\n' + tail)
    second = opened(results=results)
    assert (second.appends, second.first) == (True, 2)


def test_another_results_file_says_nothing(opened: Open, tmp_path: Path) -> None:
    """Lines of some other file, or of none, leave the spool as it is."""
    results = tmp_path / "results.jsonl"
    results.write_text('{"stream":"device","seq":1}\n')
    first = opened(results=results)
    fill(first, 0, 1, 2)
    first.close()
    second = opened(results=results)
    assert (second.appends, second.first) == (False, 0)


@pytest.mark.parametrize(("arguments", "legal"), [
    (["--spool", "d", "--mode", "live"], "left out in live mode"), (["--spool-max", "5"], "given with --spool"),
    (["--spool", "d", "--spool-max", "0"], "1 or more"), (["--spool", ""], "a folder"),
])
def test_a_command_line_that_asks_for_what_cannot_be(arguments: list[str], legal: str) -> None:
    """The error names the option and what is legal."""
    with pytest.raises(ConfigError, match=f"{arguments[-2] if arguments[-1].isdigit() else '--spool'}.*{legal}"):
        parse(arguments, {})
