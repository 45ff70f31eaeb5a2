"""Whether and as whom shipped apps run here: what the command line asks for, against what this process may do."""

from __future__ import annotations

import os
import pwd

from cloud_server.cli.config import Config, ConfigError
from cloud_server.executors.sandbox import NOT_CHANGED, Sandbox
from cloud_server.executors.seam import OnNote
from cloud_server.offer import ShipConfig
from cloud_server.shipping import Shipping
from wire.keyring import read_keyring
from wire.keys import KeyProblem

__all__ = ["shipping"]

_NOBODY = "nobody"


def shipping(config: Config, note: OnNote) -> Shipping:
    """What takes the apps that devices ship.

    Raises:
        ConfigError: they cannot run as asked for. KeyProblem: the signers cannot be read.
    """
    try:
        signers = read_keyring(config.signers_file)
    except OSError as error:
        raise KeyProblem(f"{config.signers_file}: {error.strerror or error}") from None
    if not signers:
        note("warning", f"--ship: nobody may sign apps yet ({config.signers_file}): cloud-server signers allow NAME KEY")
    uid, gid = _user(config, note)
    if config.ship_netns and os.geteuid() != 0:
        raise ConfigError(f"--ship-netns {config.ship_netns}: only root may enter another network namespace")
    sandbox = Sandbox(uid=uid, gid=gid, memory=config.ship_memory, netns=config.ship_netns)
    allowance = ShipConfig(most=config.max_bundles, max_bytes=config.max_bundle, workers=config.ship_workers)
    return Shipping(allowance, config.signers_file, sandbox, seconds=config.task_timeout, on_note=note, resident=config.variants_resident)


def _user(config: Config, note: OnNote) -> tuple[int, int]:
    name, root = config.ship_user, os.geteuid() == 0
    if name is None and not root:
        note("warning", "--ship: this server is not root, so shipped apps run as its own user and can read what it can, its keys too")
        return NOT_CHANGED, NOT_CHANGED
    name = name or _NOBODY
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        if not name.isdigit():
            raise ConfigError(f"--ship-user {name}: there is no such user here") from None
        uid = gid = int(name)
    if uid == 0:
        raise ConfigError(f"--ship-user {name}: that is root, who may do anything; name a user who may do nothing, like nobody")
    if not root:
        raise ConfigError(f"--ship-user {name}: only root may become another user; start the server as root, or leave it out")
    return uid, gid
