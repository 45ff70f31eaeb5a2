"""`iot-client enroll`: this device's own key, and the key of a server it is to believe."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from wire.identity import DEVICE_KEY, SERVERS, place
from wire.keyring import check_name, edit_keyring
from wire.keys import KeyProblem, Pair, default_folder, fresh_folder, key_of, make_pair, read_pair, text_of, words_of, write_pair
from wire.options import layout

__all__ = ["COMMAND", "main"]

COMMAND = "enroll"
_TITLE = "Servers this device believes: HOST KEY, or HOST:PORT KEY. `iot-client enroll` edits this file."

_ABOUT = """\
Let this device and a server know each other's keys. The device's key is made at the first time and is the same for all
servers; nothing is sent: the line printed at the end is for the server, and KEY came from there.

  iot-client enroll 192.0.2.7 --server-key KEY    KEY is what `cloud-server keys init` printed
  iot-client 3 --host 192.0.2.7                   from then on: encrypted, and with no other server
"""


def main(arguments: Sequence[str]) -> int:
    """Run what follows `enroll`; the exit code: 0, 2 for a wrong key or name, 6 if a file cannot be written."""
    options = _parser().parse_args(arguments)
    folder = Path(options.keys).expanduser()
    try:
        server = key_of(options.server_key, "--server-key")
        host = check_name(place(options.host, options.port))
        pair, made = _own(folder, options)
        _pin(folder, host, server, options.force)
    except KeyProblem as error:
        print(f"iot-client: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"iot-client: {error.filename or folder}: {error.strerror or error}", file=sys.stderr)
        return 6
    given = "" if folder == default_folder("device") else f" --keys {folder}"
    print(
        f"{'made a key' if made else 'took the key'} of this device, {folder / DEVICE_KEY}, under the name {pair.name}\n"
        f"  public key  {text_of(pair.public)}\n  in words    {words_of(pair.public)}\n"
        f"{host} is believed if its key is {words_of(server)}\n\n"
        f"next, on the server{'' if made else ', unless it allows this key already'}:\n"
        f"  cloud-server devices allow {pair.name} {text_of(pair.public)}\n"
        f"then here:\n  iot-client STAGES --host {options.host}{given}"
    )
    return 0


def _own(folder: Path, options: argparse.Namespace) -> tuple[Pair, bool]:
    """This device's pair, and whether it is a new one."""
    path = fresh_folder(folder) / DEVICE_KEY
    pair = _kept(path, options)
    name = check_name(options.name or (pair and pair.name) or socket.gethostname())  # also of a new key: so it replaces the old one
    if pair is not None and not options.new_key and pair.name == name:
        return pair, False
    fresh = pair is None or options.new_key
    made = make_pair(name) if fresh or pair is None else Pair(public=pair.public, secret=pair.secret, name=name)
    write_pair(path, made, replace=pair is not None or options.new_key)
    return made, fresh


def _kept(path: Path, options: argparse.Namespace) -> Pair | None:
    """The pair this device has; None: none, or one that cannot be read and is to be replaced."""
    try:
        return read_pair(path)
    except FileNotFoundError:
        return None
    except KeyProblem as error:
        if options.new_key and options.name:
            return None
        raise KeyProblem(f"{error} (--new-key --name DEVICE replaces it; DEVICE is the name that servers allow)") from None


def _pin(folder: Path, host: str, server: bytes, force: bool) -> None:
    def change(known: dict[str, bytes]) -> None:
        before = known.get(host)
        if before not in (None, server) and not force:
            raise KeyProblem(
                f"{host} had another key until now ({words_of(before or b'')}, and this is {words_of(server)}): if it was changed on "
                "purpose, add --force; if not, somebody may pose as that server"
            )
        known[host] = server

    edit_keyring(folder / SERVERS, change, _TITLE, distinct=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iot-client enroll", description=_ABOUT, formatter_class=layout(), allow_abbrev=False,
    )
    add = parser.add_argument
    add("host", metavar="HOST", help="the server's name or address, as --host will say it")
    add("--server-key", metavar="KEY", required=True, help="its public key, as `cloud-server keys init` printed it there")
    add("--port", type=int, help="meant is only the server at this port; default: any at HOST")
    add("--name", metavar="DEVICE", help="this device's name; default: the one it has, else the host name")
    add("--keys", metavar="DIR", default=str(default_folder("device")), help="this device's folder (%(default)s)")
    add("--new-key", action="store_true", help="make another key for this device, under the name it has; servers must allow it anew")
    add("--force", action="store_true", help="believe another key than HOST had until now")
    return parser
