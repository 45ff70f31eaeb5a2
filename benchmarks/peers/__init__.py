"""Everyone who ships frames: the peers, and Spillway among them."""

from benchmarks.peers.bare import Bare, BarePool, Naive
from benchmarks.peers.contender import Contender
from benchmarks.peers.grpc_peer import GrpcStream
from benchmarks.peers.imagezmq_peer import ImagezmqPubSub, ImagezmqReqRep
from benchmarks.peers.spillway import SpillwayInline, SpillwayProcess, SpillwayThread
from benchmarks.peers.vidgear_peer import VidgearJpeg, VidgearRaw

__all__ = ["CONTENDERS", "Contender"]

CONTENDERS: dict[str, type[Contender]] = {
    contender.__name__: contender
    for contender in (
        Bare, BarePool, ImagezmqPubSub, ImagezmqReqRep, GrpcStream, Naive, VidgearRaw, VidgearJpeg,
        SpillwayInline, SpillwayThread, SpillwayProcess,
    )
}
"""Class name -> class, in the order they take their turns."""
