"""From crops to keypoints: the flip test, decoding and the way back to the picture, once, for every backend."""

from __future__ import annotations

import numpy as np

from featherpose import crop
from featherpose.errors import PoseError
from featherpose.inference.backends import Backend
from featherpose.inference.outputs import Output
from featherpose.protocol import Protocol


class Estimator:
    """Keypoints of crops by a network and a protocol.

    Args:
        backend: what runs the network.
        protocol: None for the network's own.
    """

    def __init__(self, backend: Backend, protocol: Protocol | None = None) -> None:
        self.backend = backend
        self.description = backend.description
        self.protocol = protocol or self.description.protocol
        self.flips = self.protocol.flip and not self.description.flip_inside
        if self.description.flip_inside:
            self._check_flip_inside()

    def _check_flip_inside(self) -> None:
        """A flip test in the graph cannot be left out, nor done in another way."""
        stride, asked = self.description.stride, self.protocol
        shift = self.description.protocol.shifts(stride)
        if not asked.flip or asked.shifts(stride) != shift:
            raise PoseError(
                f"The flip test is inside this file (shift: {str(shift).lower()}), so the protocol "
                f"{asked.name} cannot be followed with it: choose one that has the same, or export without it."
            )

    def outputs(self, crops: np.ndarray) -> list[Output]:
        """What the network gives for uint8 crops (B, 3, H, W), one output a supervision, the last one final."""
        if not self.flips:
            return self.backend(crops)
        both = self.backend(np.concatenate([crops, crops[..., ::-1]]))
        order = self.description.skeleton.flip_order
        return [output.average_halves(order, self.protocol) for output in both]

    def decode(self, output: Output) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (B, K, 2) in crop pixels and confidences (B, K) of one output."""
        points, confidence = output.decode(self.protocol.decoder)
        if not (np.isfinite(confidence).all() and np.isfinite(points).all()):
            raise PoseError(
                "The network gives NaN or infinite heatmaps: its weights are damaged or do not fit."
            )
        return points, confidence

    def __call__(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints and confidences of the final output."""
        return self.decode(self.outputs(crops)[-1])

    def in_pictures(self, crops: np.ndarray, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (S, B, K, 2) in picture coordinates and confidences (S, B, K) of all outputs.

        `matrices` (B, 2, 3) map each crop's picture to the crop.
        """
        points, confidence = zip(*map(self.decode, self.outputs(crops)), strict=True)
        return crop.to_pictures(np.stack(points), matrices), np.stack(confidence)
