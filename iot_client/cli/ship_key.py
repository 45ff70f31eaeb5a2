"""`iot-client ship-key`: the key with which apps are signed that servers are to run."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence

from iot_client.shipping import default_key
from wire.keyring import check_name
from wire.keys import KeyProblem, Pair, text_of, words_of
from wire.options import layout
from wire.signing import signing_key, write_signing_key

__all__ = ["COMMAND", "main"]

COMMAND = "ship-key"

_ABOUT = """\
The key with which you sign apps that a server is to run without having them installed.

  iot-client ship-key init                        prints what to run on the server
  cloud-server signers allow NAME KEY             on the server, which must run with --ship
  iot-client 3 --app ./my_app.py:app --ship       from then on
"""


def main(arguments: Sequence[str]) -> int:
    """Run what follows `ship-key`; the exit code: 0, or 2 for a key that cannot be made or read."""
    options = _parser().parse_args(arguments)
    try:
        if options.verb == "init":
            pair = write_signing_key(options.ship_key, check_name(options.name), replace=options.force)
            print(f"made a key for signing in {options.ship_key} (whoever has it can sign in your name)")
            _show(pair)
            print("and start it so that it takes what you sign:\n  cloud-server --ship")
        else:
            _show(signing_key(options.ship_key))
    except KeyProblem as error:
        print(f"iot-client: {error}", file=sys.stderr)
        return 2
    return 0


def _show(pair: Pair) -> None:
    key = text_of(pair.public)
    print(f"  public key  {key}\n  in words    {words_of(pair.public)}\n")
    print(f"next, on the server:\n  cloud-server signers allow {pair.name or 'NAME'} {key}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"iot-client {COMMAND}", description=_ABOUT, formatter_class=layout(), allow_abbrev=False,
    )
    verbs = parser.add_subparsers(required=True, dest="verb", metavar="{init,show}")
    for verb, text in (("init", "make a key"), ("show", "print its public half")):
        command = verbs.add_parser(verb, help=text, description=text, formatter_class=layout(), allow_abbrev=False)
        command.add_argument("--ship-key", metavar="FILE", default=str(default_key()), help="the file (%(default)s)")
        if verb == "init":
            command.add_argument("--name", metavar="NAME", default=getpass.getuser(), help="who signs with it (%(default)s)")
            command.add_argument("--force", action="store_true", help="replace a key: servers must allow the new one then")
    return parser
