"""The CPU a process can have is what its control groups, its cores and the rest of the machine leave it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.capacity import CpuShare, cpu_quota
from metrics.host import HostSample

ROOT = Path(__file__).resolve().parents[2]
CPU_V1 = Path("/sys/fs/cgroup/cpu")


def quota(folder: Path, groups: str, files: dict[str, str]) -> float:
    """What is read where the process is in these groups and these files are there."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "groups").write_text(groups)
    return cpu_quota(str(folder), str(folder / "groups"))


V1 = "9:name=systemd:/a\n4:cpu,cpuacct:/a/b\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "max 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "25000 100000\n"}, 0.25),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, math.inf),
        ("0::/a\n", {"unified/a/cpu.max": "20000 10000\n"}, 2.0),
        ("0::/docker/0123\n", {"cpu.max": "30000 100000\n"}, 0.3),
        ("0::/../../a\n", {"a/cpu.max": "30000 100000\n"}, 0.3),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "2500\n", "cpu,cpuacct/a/b/cpu.cfs_period_us": "10000\n"}, 0.25),
        (V1, {"cpu/a/cpu.cfs_quota_us": "5000\n", "cpu/a/cpu.cfs_period_us": "10000\n", "cpu/a/b/cpu.cfs_quota_us": "-1\n"}, 0.5),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, math.inf),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "5000\n"}, math.inf),
        (V1, {"cpu/a/c/cpu.cfs_quota_us": "5000\n", "cpu/a/c/cpu.cfs_period_us": "10000\n"}, math.inf),
        ("3:cpuset:/a\n", {"cpu/a/cpu.cfs_quota_us": "5000\n", "cpu/a/cpu.cfs_period_us": "10000\n"}, math.inf),
        ("0::/a\n", {"a/cpu.max": "0 100000\n"}, math.inf),
        ("0::/a\n", {"a/cpu.max": "5000 0\n"}, math.inf),
        ("0::/a\n", {"a/cpu.max": "many of them\n"}, math.inf),
        ("no such line\n\n::", {}, math.inf),
    ],
)
def test_the_smallest_limit_of_a_group_and_those_above_counts(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float,
) -> None:
    """Of both versions, wherever mounted; "max", -1, other groups and nonsense are no limit."""
    assert quota(tmp_path, groups, files) == cores


def test_what_is_missing_or_cannot_be_read_is_no_limit(tmp_path: Path) -> None:
    """No file of groups, no hierarchy, a folder where a file should be, bytes that are no text."""
    assert cpu_quota(str(tmp_path), str(tmp_path / "none")) == math.inf
    assert quota(tmp_path, "0::/a\n", {}) == math.inf
    (tmp_path / "a" / "cpu.max").mkdir(parents=True)
    assert quota(tmp_path, "0::/a\n", {}) == math.inf
    (tmp_path / "cpu.max").write_bytes(b"\xff\x00 7")
    assert quota(tmp_path, "0::/a\n", {}) == math.inf


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_no_limit(tmp_path: Path) -> None:
    """The one above it still counts."""
    files = {"a/cpu.max": "10000 100000\n", "cpu.max": "50000 100000\n"}
    quota(tmp_path, "0::/a\n", files)
    (tmp_path / "a/cpu.max").chmod(0)
    assert cpu_quota(str(tmp_path), str(tmp_path / "groups")) == 0.5


@pytest.fixture
def group() -> Iterator[Path]:
    """A group without a limit in a real group of version 1 that allows 0.3 cores; both go in the end."""
    outer = CPU_V1 / f"spillway-test-{os.getpid()}"
    inner = outer / "inner"
    try:
        outer.mkdir()
        inner.mkdir()
        (outer / "cpu.cfs_period_us").write_text("10000")
        (outer / "cpu.cfs_quota_us").write_text("3000")
        yield inner
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    finally:
        for folder in (inner, outer):
            if folder.is_dir():
                folder.rmdir()


def test_a_real_group_of_version_1_is_found(group: Path) -> None:
    """By a process in a group without a limit, inside one that allows 0.3 cores."""
    code = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0'); from metrics.capacity import cpu_quota; print(cpu_quota())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert float(run.stdout) == pytest.approx(0.3)


def sample(at: float, system: float, process: float, *, cores: int = 4, machine: int = 4, quota: float = math.inf) -> HostSample:
    return HostSample(at=at, system_cpu=system, process_cpu=process, rss=1, cores=cores, machine_cores=machine, quota=quota)


@pytest.mark.parametrize(
    ("seen", "available", "others"),
    [
        (sample(1.0, 25.0, 100.0), 4.0, 0.0),
        (sample(1.0, 75.0, 100.0), 2.0, 2.0),
        (sample(1.0, 60.0, 100.0), 2.6, 1.4),
        (sample(1.0, 100.0, 50.0), 2.0, 3.5),
        (sample(1.0, 100.0, 300.0), 3.0, 1.0),
        (sample(1.0, 10.0, 20.0, quota=0.25), 0.25, 0.2),
        (sample(1.0, 10.0, 20.0, cores=1), 1.0, 0.2),
        (sample(1.0, 100.0, 0.0, cores=1), 0.5, 4.0),
        (sample(1.0, 50.0, 0.0, cores=2, machine=0), 1.0, 1.0),
        (sample(1.0, 0.0, 60.0), 4.0, 0.0),
    ],
)
def test_available_is_own_and_idle_but_half_at_least_and_no_more_than_allowed(seen: HostSample, available: float, others: float) -> None:
    """The first sample counts as it is."""
    share = CpuShare()
    assert (share.available(), share.own, share.others) == (0.0, 0.0, 0.0)
    assert share.add(seen) == share.available() == pytest.approx(available)
    assert share.own == seen.process_cpu / 100.0
    assert share.others == pytest.approx(others)


def test_a_drop_of_more_than_a_fifth_counts_at_once() -> None:
    """Others take two of four cores: one sample says so."""
    share = CpuShare()
    share.add(sample(1.0, 0.0, 0.0))
    assert share.add(sample(1.25, 50.0, 0.0)) == 2.0
    assert 0.9 < share.others < 2.0


def test_a_rise_and_a_small_drop_arrive_within_a_second() -> None:
    """95 % of the way after one second, whatever the pace of the samples."""
    for pace in (0.1, 0.25, 0.5):
        up, down = CpuShare(), CpuShare()
        up.add(sample(0.0, 100.0, 0.0))
        down.add(sample(0.0, 0.0, 0.0))
        for step in range(1, round(1.0 / pace) + 1):
            up.add(sample(step * pace, 0.0, 0.0))
            down.add(sample(step * pace, 10.0, 0.0))
        assert up.available() == pytest.approx(4.0 - 0.05 * 2.0, abs=0.001)
        assert down.available() == pytest.approx(3.6 + 0.05 * 0.4, abs=0.001)


def test_a_smaller_quota_counts_at_once_even_by_a_little() -> None:
    """Nobody gets more than the groups allow, not for a moment."""
    share = CpuShare()
    share.add(sample(1.0, 0.0, 0.0, quota=1.0))
    assert share.add(sample(1.1, 0.0, 0.0, quota=0.9)) == 0.9


SAMPLES = st.builds(
    sample, st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.floats(0.0, 900.0),
    cores=st.integers(1, 8), machine=st.integers(0, 8), quota=st.one_of(st.just(math.inf), st.floats(0.01, 16.0)),
)


@given(st.lists(SAMPLES, min_size=1, max_size=20))
def test_for_any_samples_the_share_is_above_0_and_no_more_than_allowed(samples: list[HostSample]) -> None:
    """Also when their times go backwards."""
    share = CpuShare()
    for seen in samples:
        assert 0.0 < share.add(seen) <= min(seen.quota, seen.cores)
        assert 0.0 <= share.own <= 9.0
        assert 0.0 <= share.others <= 8.0
