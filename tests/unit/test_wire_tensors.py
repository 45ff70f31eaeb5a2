"""Torch tensors as values, where torch is installed, and the peace of those who have none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.unit.wire_values import round_trip
from wire.dtypes import TENSOR_ITEMSIZE
from wire.errors import RemoteProtocolError, UnsupportedValue
from wire.payload import Packer
from wire.protocol import Payload

ROOT = Path(__file__).resolve().parents[2]

WITHOUT_TORCH = """
import sys, numpy
from wire.payload import Packer
packer = Packer()
packer.unpack(packer.pack([numpy.zeros(9999), {"a": 1}]))
try:
    packer.pack({1, 2})
except TypeError:
    pass
assert "torch" not in sys.modules
"""


def test_torch_is_not_imported_for_values_without_tensors() -> None:
    """Packing, unpacking and refusing do not load torch."""
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, timeout=60, cwd=ROOT)


def test_a_tensor_where_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without torch says so instead of failing in an import."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RemoteProtocolError, match="torch is not to be had here"):
        Packer().unpack(Payload(msgspec.msgpack.encode([7, "float32", [1], b"\0\0\0\0"])))


@pytest.mark.parametrize("name", sorted(TENSOR_ITEMSIZE))
def test_tensors_come_back(name: str) -> None:
    """Every dtype of torch that travels, 0-d, empty, strided, small and large, comes back equal and writable."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    dtype = getattr(torch, name)
    whole = torch.arange(120 * 120).reshape(120, 120).to(dtype)
    assert whole.element_size() == TENSOR_ITEMSIZE[name]
    for tensor in (whole, whole.T, whole[::2, 3:5], whole[0, 0], whole[:0]):
        back = round_trip({"t": tensor})["t"]
        assert type(back) is torch.Tensor and back.dtype is dtype and back.shape == tensor.shape
        assert torch.equal(back, tensor)
        back.zero_()


def test_tensors_leave_without_a_copy() -> None:
    """A contiguous tensor in main memory is sent from its own memory; gradients and conjugation stay behind."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    tensor = torch.ones(100, 100, requires_grad=True)
    payload = Packer().pack(tensor)
    assert np.shares_memory(np.frombuffer(payload.buffers[0], np.float32), tensor.detach().numpy())
    assert payload.signature == "torch.float32[100,100]"
    assert torch.equal(round_trip(tensor), tensor.detach())
    assert torch.equal(round_trip(torch.tensor([1 + 2j]).conj()), torch.tensor([1 - 2j]))


def test_tensors_that_cannot_travel() -> None:
    """Sparse tensors, parameters and tensors without data are refused by name."""
    torch = pytest.importorskip("torch", reason="torch is an extra")
    for tensor, text in ((torch.eye(2).to_sparse(), "torch.sparse_coo"), (torch.nn.Parameter(torch.ones(1)), r"\.detach\(\)"),
                         (torch.empty(2, device="meta"), "on meta")):
        with pytest.raises(UnsupportedValue, match=text):
            Packer().pack(tensor)
