"""Encryption of the weights that clients exchange through the server, which must not read them.

With a client's weights the server would have a white box: it could invert the client's own network.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from splitleak.contract.errors import BadInput
from splitleak.wire.invalid_message import InvalidMessage

KEY, NONCE = 32, 12  # bytes


class Seal:
    """AES-256-GCM under a key that all clients share and the server does not have.

    The context (run, epoch, client) is authenticated too, so the server cannot swap one client's weights for another's.
    """

    def __init__(self, path: Path) -> None:
        try:
            key = path.read_bytes()
        except OSError as error:
            raise BadInput(f"--seal '{path}': {error.strerror or error}") from None
        if len(key) != KEY:
            raise BadInput(f"--seal '{path}' has {len(key)} bytes, a key has {KEY} (openssl rand {KEY} > FILE)")
        self._cipher = AESGCM(key)

    def encrypt(self, tensors: dict[str, Tensor], context: str) -> Tensor:
        """Tensors -> bytes (n,) uint8."""
        nonce = os.urandom(NONCE)
        plain = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        secret = nonce + self._cipher.encrypt(nonce, plain, context.encode())
        return torch.frombuffer(bytearray(secret), dtype=torch.uint8)

    def decrypt(self, sealed: Tensor, context: str) -> dict[str, Tensor]:
        """Bytes (n,) uint8 -> tensors; InvalidMessage if they were encrypted with another key or context."""
        raw = sealed.numpy().tobytes()
        try:
            return load(self._cipher.decrypt(raw[:NONCE], raw[NONCE:], context.encode()))
        except (InvalidTag, ValueError, SafetensorError):
            problem = "the weights of another client cannot be decrypted"
            raise InvalidMessage(f"{problem}; give all clients the same --seal file") from None
