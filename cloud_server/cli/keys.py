"""`cloud-server keys`, `devices` and `signers`: this server's key, those of the devices it lets in, and of whose apps it runs."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from wire.identity import DEVICES, SERVER_KEY
from wire.keyring import check_name, edit_keyring, read_keyring
from wire.keys import KeyProblem, default_folder, fresh_folder, key_of, make_pair, read_pair, text_of, words_of, write_pair
from wire.options import layout
from wire.signing import SIGNERS

__all__ = ["COMMANDS", "main"]

COMMANDS = ("keys", "devices", "signers")
_TITLES = {
    "devices": "Devices that may use this server: NAME KEY. `cloud-server devices` edits this file; a running server follows it.",
    "signers": "Those whose apps this server runs if devices ship them: NAME KEY. `cloud-server signers` edits this file.",
}
_ENDS = {"devices": "its sessions within a second", "signers": "the apps it signed within two"}

_KEYS = """\
The key that proves to devices that this is their server. Made once, on the server:

  cloud-server keys init                          prints what to run on each device
  iot-client enroll HOST --server-key KEY         on the device: prints what to run on the server
  cloud-server devices allow NAME KEY             on the server
  cloud-server --host 0.0.0.0                     now serves these devices, encrypted, and nobody else
"""

_DEVICES = """\
The devices that may use this server. A server that runs follows within a second; who is revoked loses his session.

  cloud-server devices allow cam1 KEY             KEY is what `iot-client enroll` printed on the device
  cloud-server devices allow cam1 NEWKEY          another key for the same name: the old one counts no more
  cloud-server devices revoke cam1
"""

_SIGNERS = """\
Those whose apps this server runs for devices that bring them along (it must run with --ship). Who is revoked loses them at once.

  cloud-server signers allow ann KEY              KEY is what `iot-client ship-key init` printed
  cloud-server signers revoke ann
"""


def main(arguments: Sequence[str]) -> int:
    """Run `arguments`, which begin with one of COMMANDS; the exit code: 0, 2 for a wrong key or name, 6 if a file cannot be written."""
    options = _parser().parse_args(arguments)
    act: Callable[[argparse.Namespace, Path], None] = options.act
    try:
        act(options, Path(options.keys).expanduser())
    except KeyProblem as error:
        print(f"cloud-server: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cloud-server: {error.filename or options.keys}: {error.strerror or error}", file=sys.stderr)
        return 6
    return 0


def _init(options: argparse.Namespace, folder: Path) -> None:
    pair, path = make_pair(socket.gethostname()), fresh_folder(folder) / SERVER_KEY
    renewed = path.exists()
    write_pair(path, pair, replace=options.force)
    print(f"made a key for this server in {path} (keep it there, and a copy in a safe place)")
    _show_key(pair.public)
    given = _given(folder)
    if renewed:
        print(
            "\nnext, start the server anew if it runs: until then it has the old key; and on each device (allowed devices stay allowed):\n"
            f"  iot-client enroll {pair.name} --server-key {text_of(pair.public)} --force"
        )
        return
    print(
        f"\nnext, on each device (if it knows this server by another name than {pair.name}, say that one):\n"
        f"  iot-client enroll {pair.name} --server-key {text_of(pair.public)}\n"
        f"then here, as that prints it:\n  cloud-server devices allow NAME KEY{given}\n"
        f"and start it for other machines:\n  cloud-server --host 0.0.0.0{given}"
    )


def _show(options: argparse.Namespace, folder: Path) -> None:
    try:
        pair = read_pair(folder / SERVER_KEY)
    except FileNotFoundError:
        raise KeyProblem(f"{folder} holds no key yet: cloud-server keys init{_given(folder)}") from None
    _show_key(pair.public)


def _show_key(public: bytes) -> None:
    print(f"  public key  {text_of(public)}\n  in words    {words_of(public)}")


def _list(options: argparse.Namespace, folder: Path) -> None:
    allowed = read_keyring(_file(options, folder))
    width = max((len(name) for name in allowed), default=0)
    for name, key in sorted(allowed.items()):
        print(f"{name:{width}}  {text_of(key)}  {words_of(key)}")
    if not allowed:
        missing = f"no {options.group[:-1]} is allowed ({_file(options, folder)})"
        print(f"{missing}: cloud-server {options.group} allow NAME KEY{_given(folder)}", file=sys.stderr)


def _allow(options: argparse.Namespace, folder: Path) -> None:
    name, key = check_name(options.name), key_of(options.key)
    before: list[bytes | None] = []

    def change(allowed: dict[str, bytes]) -> None:
        other = next((each for each, held in allowed.items() if held == key and each != name), None)
        if other is not None:
            raise KeyProblem(f"this key is allowed as {other!r}, and has one name; first: cloud-server {options.group} revoke {other}")
        before.append(allowed.get(name))
        allowed[name] = key

    edit_keyring(_file(options, folder), change, _TITLES[options.group])
    what = "was allowed before" if before[0] == key else "is allowed" if before[0] is None else "is allowed with this key and no other"
    print(f"{name} {what} ({words_of(key)}); a server that runs notices within a second")


def _revoke(options: argparse.Namespace, folder: Path) -> None:
    name = options.name

    def change(allowed: dict[str, bytes]) -> None:
        if allowed.pop(name, None) is None:
            raise KeyProblem(f"no {options.group[:-1]} {name!r} is allowed; those that are: {', '.join(sorted(allowed)) or 'none'}")

    edit_keyring(_file(options, folder), change, _TITLES[options.group])
    print(f"{name} is revoked; a server that runs ends {_ENDS[options.group]}")


def _file(options: argparse.Namespace, folder: Path) -> Path:
    return folder / (SIGNERS if options.group == "signers" else DEVICES)


def _given(folder: Path) -> str:
    return "" if folder == default_folder("server") else f" --keys {folder}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud-server", allow_abbrev=False)
    groups = parser.add_subparsers(required=True)
    for group, about, commands in (
        ("keys", _KEYS, {"init": (_init, "make this server's key"), "show": (_show, "print its public half")}),
        ("devices", _DEVICES, {
            "list": (_list, "print names, keys, and keys in words"), "allow": (_allow, "let a device in"),
            "revoke": (_revoke, "let it in no more"),
        }),
        ("signers", _SIGNERS, {
            "list": (_list, "print names, keys, and keys in words"), "allow": (_allow, "run what somebody signs"),
            "revoke": (_revoke, "run it no more"),
        }),
    ):
        inner = groups.add_parser(group, description=about, formatter_class=layout(), allow_abbrev=False)
        verbs = inner.add_subparsers(required=True)
        for verb, (act, text) in commands.items():
            command = verbs.add_parser(verb, help=text, description=text, formatter_class=layout(), allow_abbrev=False)
            command.set_defaults(act=act, group=group)
            command.add_argument("--keys", metavar="DIR", default=str(default_folder("server")), help="the server's folder (%(default)s)")
            if verb == "init":
                command.add_argument("--force", action="store_true", help="replace a key: every device must be enrolled anew then")
            if verb in ("allow", "revoke"):
                command.add_argument("name", metavar="NAME", help="its name, or that of who signs: letters, digits and _ . : @ + -")
            if verb == "allow":
                command.add_argument("key", metavar="KEY", help="its public key, 56 characters")
    return parser
