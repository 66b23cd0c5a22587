"""What clients hand each other through the server, sealed: with their weights it would be a white box to it."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from safetensors.torch import load, save
from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.wire.message import Rejected

KEY, NONCE = 32, 12  # bytes


class Seal:
    """AES-256-GCM under a key that all clients share. `about` (who, when) is sealed with it: none can be swapped."""

    def __init__(self, path: Path) -> None:
        try:
            key = path.read_bytes()
        except OSError as error:
            raise BadInput(f"--seal '{path}': {error.strerror or error}") from None
        if len(key) != KEY:
            raise BadInput(f"--seal '{path}' holds {len(key)} bytes, a key has {KEY} (openssl rand {KEY} > FILE)")
        self._cipher = AESGCM(key)

    def close(self, tensors: dict[str, Tensor], about: str) -> Tensor:
        """Tensors -> bytes (n,) uint8."""
        nonce = os.urandom(NONCE)
        plain = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        return torch.frombuffer(
            bytearray(nonce + self._cipher.encrypt(nonce, plain, about.encode())), dtype=torch.uint8
        )

    def open(self, sealed: Tensor, about: str) -> dict[str, Tensor]:
        """The same back; Rejected if another key made it, or for another moment."""
        raw = sealed.numpy().tobytes()
        try:
            return load(self._cipher.decrypt(raw[:NONCE], raw[NONCE:], about.encode()))
        except (InvalidTag, ValueError):
            raise Rejected("another client's weights do not open: is --seal the same file?") from None
