"""torch.compile for training, which gives way to the network itself where the compiler cannot work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from featherpose.errors import PoseError

Outputs = list[Tensor]


def backend_of(choice: bool | str) -> str | None:
    """The compiler behind `compile: false | true | BACKEND`; None for none."""
    if isinstance(choice, bool) or choice is None:
        return "inductor" if choice else None
    known = torch.compiler.list_backends(exclude_tags=())
    if choice not in known:
        raise PoseError(
            f"There is no compile={choice}; it is false, true or one of {', '.join(known)}."
        )
    return choice


class Compiled:
    """A network's forward through torch.compile.

    Compilers fail where one does not expect it: without a C++ compiler, or in the code they wrote. Inductor of
    torch 2.13.0 raises an UnboundLocalError with bfloat16 on CPUs; on those without AVX-512 an AssertionError at
    the backward pass of an upsampling from 1x1, which is what images of 64x64 come to in an hourglass. So each new
    shape of images is tried first, forwards and backwards, and the trial leaves nothing behind: no gradient, no
    statistics, no random number drawn. Where it fails the network itself goes on.

    It is no module, so a checkpoint holds the network once.
    """

    def __init__(self, network: nn.Module, backend: str | Callable[..., Any]) -> None:
        self.network = network
        # of a function: torch.compile of a module is a module
        self.fast: Callable[[Tensor], Outputs] = torch.compile(network.forward, backend=backend)
        self.tried: set[torch.Size] = set()
        self.failed = False

    def __call__(self, images: Tensor) -> Outputs:
        if not self.failed and images.shape not in self.tried:
            self._try(images)
        return self.network(images) if self.failed else self.fast(images)

    def _try(self, images: Tensor) -> None:
        network = self.network
        buffers = [buffer.clone() for buffer in network.buffers()]
        devices = [images.device] if images.device.type == "cuda" else []
        silenced = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # the compiler prints its own failure before it raises it
        try:
            with torch.random.fork_rng(devices):
                outputs = self.fast(images)
                if torch.is_grad_enabled():
                    # no .backward(): DDP's hooks would take that for the step's
                    weights = [weight for weight in network.parameters() if weight.requires_grad]
                    total = torch.stack([output.float().sum() for output in outputs]).sum()
                    torch.autograd.grad(total, weights, allow_unused=True)
            self.tried.add(images.shape)
        except Exception as error:  # of any kind: the compiler's, or of the code it wrote
            self.failed = True
            said = " ".join(str(error).split())[:160]
            mixed = torch.is_autocast_enabled(images.device.type)
            other = ", or try trainer.precision=32-true" if mixed else ""
            rank_zero_warn(
                "compile: the compiler does not work here, so training goes on without it "
                f"({type(error).__name__}: {said}). Leave compile=false{other}."
            )
        finally:
            logging.disable(silenced)
            with torch.no_grad():
                for buffer, before in zip(network.buffers(), buffers, strict=True):
                    buffer.copy_(before)
