"""What the command line asks for, and what it may not."""

from __future__ import annotations

import importlib
import re

import pytest

from iot_client.cli.command import _load
from iot_client.cli.config import Config, ConfigError, Exit, parse, version
from iot_client.splitting.goal import Goal


def test_no_arguments_mean_all_local():
    """No stage count and no server, even where HOST is set (some shells export their own name in it)."""
    config = parse([], {"HOST": "laptop"})
    assert (config.stages, config.host, config.port, config.mode, config.workers) == (None, (), 5757, None, 1)
    assert config.app == "examples.ball_tracking.app:app"


@pytest.mark.parametrize(
    ("arguments", "environ", "host"),
    [(["3"], {}, ()), (["3"], {"HOST": "edge"}, ("edge",)), (["3"], {"HOST": ""}, ()), (["3", "--host", "a"], {"HOST": "b"}, ("a",)),
     (["--host", "a", "--host", "b:9"], {}, ("a", "b:9")), (["--slo-ms", "9"], {"HOST": "edge"}, ("edge",))],
)
def test_the_host_comes_from_the_option_then_the_environment(arguments, environ, host):
    """--host outranks HOST, and HOST counts only with a stage count or a goal."""
    assert parse(arguments, environ).host == host


def test_every_option_reaches_its_field(tmp_path):
    """Each option of the command line sets the field of its name."""
    arguments = (
        "2 --codec png --profiles p --port 6000 --app m:a --source 0 --mode live --rate 12.5 --frames 7 --workers 3 --want x,y "
        f"--device cam --results - --video {tmp_path}/v.mp4 --show --trace {tmp_path}/t --summary {tmp_path}/s --quiet --list"
    )
    assert parse(arguments.split(), {}) == Config(
        app="m:a", stages=2, codec="png", profiles="p", port=6000, source="0", mode="live", rate=12.5, frames=7, workers=3, want=("x", "y"),
        device="cam", results="-", video=f"{tmp_path}/v.mp4", show=True, trace=f"{tmp_path}/t", summary=f"{tmp_path}/s",
        quiet=True, list=True,
    )


def test_want_takes_a_star_and_spaces():
    """`*` asks for all fields; spaces around names do not count."""
    assert parse(["--want", "*"], {}).want == ("*",)
    assert parse(["--want", "x, y"], {}).want == ("x", "y")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("stages", 0, "STAGES 0: must be 1 to"),
        ("stages", -2, "STAGES -2"),
        ("host", (" ",), "--host ' '"), ("host", ("a", "a"), "--host 'a' is named twice"), ("hedge", "maybe", "--hedge 'maybe'"),
        ("port", 0, "--port 0: must be 1 to 65535"),
        ("port", 65536, "--port 65536"),
        ("mode", "fast", "--mode 'fast': must be live or lossless"),
        ("rate", 0.0, "--rate 0.0: must be frames per second above 0"),
        ("rate", float("nan"), "--rate nan"),
        ("rate", float("inf"), "--rate inf"),
        ("frames", 0, "--frames 0: must be 1 or more"),
        ("workers", 0, "--workers 0: must be 1 or more"),
        ("want", ("x", ""), "--want"),
        ("device", "", "--device ''"),
        ("device", "d" * 65, "1 to 64 characters"),
        ("video", "clip.txt", r"--video 'clip.txt': must be a name that ends in .*\.mp4"),
        ("results", "/no/such/folder/r.jsonl", "--results .*'/no/such/folder' does not"),
        ("summary", "/", "--summary '/': must be a file"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_legal(field, value, words):
    """The text has the option, the value and the legal range."""
    with pytest.raises(ConfigError, match=words):
        Config(**{field: value})


def test_two_outputs_may_not_share_a_file(tmp_path):
    """Also not by two spellings of one path."""
    with pytest.raises(ConfigError, match="another file than that of --results"):
        Config(results=str(tmp_path / "x"), trace=str(tmp_path / "." / "x"))


@pytest.mark.parametrize(
    ("line", "goal"),
    [
        ("", None),
        ("3", None),
        ("3 17", Goal(fps=17.0)),
        ("3 --slo-ms 100", Goal(slo=0.1)),
        ("--max-cpu 40", Goal(max_cpu=40.0)),
        ("6 17 --max-mbit 5 --min-quality 50", Goal(fps=17.0, max_mbit=5.0, min_quality=50)),
    ],
)
def test_any_target_or_budget_makes_a_goal(line, goal):
    """Deadlines are written in ms and kept in seconds; without any of the options the split is by hand."""
    assert parse(line.split(), {}).goal == goal


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("6 0", "FPS 0: must be frames per second above 0"),
        ("6 nan", "FPS nan"),
        ("6 --slo-ms 0", "--slo-ms 0: must be milliseconds above 0"),
        ("6 --max-cpu 140", "--max-cpu 140: must be percent of the whole machine, above 0 and at most 100"),
        ("6 17 --max-mbit -1", "--max-mbit -1: must be Mbit/s above 0"),
        ("6 17 --min-quality 101", "--min-quality 101: must be a JPEG quality from 1 to 100"),
        ("6 --min-quality 50", "--min-quality 50: must be given with a goal: FPS, --slo-ms, --max-cpu or --max-mbit"),
        ("6 --policy threshold", "--policy 'threshold': must be given with STAGES and FPS"),
        ("6 17 --slo-ms 50 --policy threshold", "--policy 'threshold': must be given with FPS alone"),
        ("6 17 --codec jpeg:80", "--codec 'jpeg:80': must be left out in automatic mode"),
        ("--codec png", "--codec 'png': must be given with STAGES"),
        ("1 --codec gif", "--codec: codec 'gif'; legal are raw, bits, png, jpeg:Q"),
        ("6 17 --profiles x --no-profile", "--profiles 'x': must be left out with --no-profile"),
    ],
)
def test_what_makes_no_goal_is_named_with_what_is_legal(line, words):
    """Ranges, bounds without a target, and options that do not go together."""
    with pytest.raises(ConfigError) as caught:
        parse(line.split(), {})
    assert words in str(caught.value)


def test_a_codec_needs_frames_that_leave():
    """By a stage count, or by themselves where the app declares a race; whether it does is seen when it is loaded."""
    assert parse(["--host", "h", "--codec", "jpeg:90"], {}).codec == "jpeg:90"
    with pytest.raises(ConfigError, match="--codec 'jpeg:90': must be given with STAGES"):
        _load(parse(["--host", "h", "--codec", "jpeg:90"], {}))
    raced = ["--app", "examples.detection:speculative", "--host", "h", "--codec", "jpeg:90"]
    assert _load(parse(raced, {})).name == "speculative"


def test_what_is_learned_is_kept_in_a_cache_unless_told_otherwise(monkeypatch):
    """The default folder follows XDG_CACHE_HOME; another or none may be chosen."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    folders = [parse(line.split(), {}).folder for line in ("6 17", "6 17 --profiles mine", "6 17 --no-profile")]
    assert folders == ["/some/cache/spillway", "mine", None]


def test_help_survives_a_folder_with_a_percent_sign(monkeypatch, capsys):
    """argparse would take it for a format."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/100%d")
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    assert "/100%d/spillway" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["three", "3 fast", "3 4 5", "--nope", "--mode fast", "--port x", "--res -"])
def test_what_argparse_cannot_read_ends_with_code_2(line, capsys):
    """Usage errors share one exit code; options are not guessed from their first letters."""
    with pytest.raises(SystemExit) as caught:
        parse(line.split(), {})
    assert caught.value.code == Exit.USAGE
    assert "usage: iot-client" in capsys.readouterr().err


def test_help_documents_every_exit_code_and_option(capsys):
    """The codes of the epilog are those of the program."""
    with pytest.raises(SystemExit) as caught:
        parse(["--help"], {})
    text = capsys.readouterr().out
    assert caught.value.code == 0
    epilog = text[text.index("exit codes:") :]
    assert all(f" {code.value}" in epilog.replace(",", " ") for code in Exit)
    assert all(f"--{name.replace('_', '-')}" in text for name in Config.__dataclass_fields__ if name not in ("stages", "fps"))
    assert "[STAGES] [FPS]" in text


@pytest.mark.parametrize(("module", "most"), [("iot_client", 60), ("cloud_server", 45)])
def test_the_short_page_is_short_and_part_of_the_long_one(module, most, capsys):
    """-h shows some of the options that --help explains, in the same words, and names --help."""
    options = importlib.import_module(f"{module}.cli.options").parser(importlib.import_module(f"{module}.cli.config").Config)
    short, long = options.short_help(), options.format_help()
    flags = re.findall(r"^  (--[a-z-]+)", short, re.MULTILINE)
    assert len(flags) >= 8 and len(short.splitlines()) <= most < len(long.splitlines())
    assert all(re.search(rf"^  {flag} ", long, re.MULTILINE) for flag in flags)
    assert f"{options.prog} --help" in short
    with pytest.raises(SystemExit) as caught:
        options.parse_args(["-h"])
    assert (caught.value.code, capsys.readouterr().out) == (0, short)


@pytest.mark.parametrize(("line", "words"), [
    ("--prot 1", "did you mean --port?"), ("enrol x", "(enroll, services, ship-key)"),
    ("3 fast", "'fast' is no number of frames per second"), ("--mode=quick", "choose from"),
])
def test_a_mistake_is_told_in_a_line(line, words, capsys):
    """Not in a screen of options: what was wrong, what may have been meant, and where to look."""
    with pytest.raises(SystemExit):
        parse(line.split(), {})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and words in said[1] and "--help" in said[1]


def test_a_version_is_known_also_in_a_checkout():
    """Never an exception, and never empty."""
    assert version()[0].isdigit()
