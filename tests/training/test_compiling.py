"""Training with torch.compile, and without it where the compiler cannot work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.training.compiling import Compiled, backend_of
from featherpose.zoo.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow


class Small(nn.Module):
    """With statistics and dropout, which a trial would spoil."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layers(images)]


def no_compiler(graph: Any, examples: Any) -> Callable:
    raise RuntimeError("InvalidCxxCompiler: no working C++ compiler")


def wrong_code(graph: Any, examples: Any) -> Callable:
    """Compiles, but what it wrote runs all layers and then fails."""

    def call(*inputs: Any) -> Any:
        graph(*inputs)
        raise UnboundLocalError("cannot access local variable 'buf64'")

    return call


class BreaksBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise UnboundLocalError("cannot access local variable 'buf64'")


def wrong_backward(graph: Any, examples: Any) -> Callable:
    return lambda *inputs: tuple(BreaksBackwards.apply(out) for out in graph(*inputs))


def one_step(forward: Callable[[Tensor], list[Tensor]], network: nn.Module) -> dict[str, Tensor]:
    """The network's state and gradients after a step's two passes."""
    torch.manual_seed(3)
    network.zero_grad()
    forward(torch.arange(300.0).reshape(1, 3, 10, 10))[0].square().mean().backward()
    gradients = {f"{name}.grad": weight.grad for name, weight in network.named_parameters()}
    return {**network.state_dict(), **gradients}


@pytest.mark.parametrize("backend", [no_compiler, wrong_code, wrong_backward])
def test_where_the_compiler_fails_the_step_is_made_once_without_it(backend: Callable) -> None:
    torch.manual_seed(0)
    plain, other = Small(), Small()
    other.load_state_dict(plain.state_dict())
    compiled = Compiled(other, backend)
    with pytest.warns(UserWarning, match=r"training goes on without it .*(buf64|C\+\+ compiler)"):
        found = one_step(compiled, other)
    assert compiled.failed
    for name, value in one_step(plain, plain).items():
        assert torch.equal(value, found[name]), name


def test_a_trial_leaves_nothing_behind() -> None:
    torch.manual_seed(0)
    plain, other = Small(), Small()
    other.load_state_dict(plain.state_dict())
    compiled = Compiled(other, "eager")
    found = one_step(compiled, other)
    assert not compiled.failed
    for name, value in one_step(plain, plain).items():
        torch.testing.assert_close(value, found[name], msg=name)


def test_a_smaller_last_batch_is_tried_too() -> None:
    def only_pairs(graph: Any, examples: Any) -> Callable:
        def call(*inputs: Any) -> Any:
            if any(isinstance(x, Tensor) and x.shape[:2] == (1, 3) for x in inputs):
                raise RuntimeError("not this shape")
            return graph(*inputs)

        return call

    network = Small().eval()
    compiled = Compiled(network, only_pairs)
    compiled(torch.zeros(2, 3, 8, 8))
    assert not compiled.failed
    with pytest.warns(UserWarning, match="not this shape"):
        assert compiled(torch.zeros(1, 3, 8, 8))[0].shape == (1, 4, 6, 6)


@pytest.mark.parametrize("mixed", [True, False])
def test_full_precision_is_advised_where_it_is_not_in_use(mixed: bool) -> None:
    with torch.autocast("cpu", enabled=mixed), pytest.warns(UserWarning, match="buf64") as said:
        Compiled(Small(), wrong_code)(torch.zeros(1, 3, 8, 8))
    (sentence,) = [str(each.message) for each in said if "compiler" in str(each.message)]
    assert ("32-true" in sentence) == mixed


def test_the_compilers_own_cry_is_not_printed(caplog: pytest.LogCaptureFixture) -> None:
    def cries(graph: Any, examples: Any) -> Callable:
        logging.getLogger("torch._inductor").critical("Error in codegen")
        raise RuntimeError("no code")

    with pytest.warns(UserWarning, match="no code"):
        Compiled(Small(), cries)(torch.zeros(1, 3, 8, 8))
    logging.getLogger("featherpose").warning("heard again")
    heard = [record.message for record in caplog.records if record.levelno > logging.INFO]
    assert heard == ["heard again"]


def test_what_compile_may_be() -> None:
    assert (backend_of(False), backend_of(True), backend_of("eager")) == (None, "inductor", "eager")
    with pytest.raises(PoseError, match=r"no compile=gcc; it is false, true or one of .*inductor"):
        backend_of("gcc")


TWO_STEPS = ("schedule.epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1")


def test_a_compiled_run_is_kept_once_and_goes_on_either_way(fit: Any, tmp_path: Path) -> None:
    last = {}
    for name, compile in (("plain", "false"), ("compiled", "eager")):
        fit(tmp_path / name, *TWO_STEPS, f"compile={compile}")
        last[name] = tmp_path / name / "checkpoints" / "last.ckpt"
    state = torch.load(last["compiled"], weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in state} == {"network"}
    assert not [name for name in state if "_orig_mod" in name]
    assert state.keys() == torch.load(last["plain"], weights_only=True)["state_dict"].keys()
    assert load_checkpoint(last["compiled"]).network()(torch.zeros(1, 3, 64, 64))[0].shape[1] == 16

    longer = ("schedule.epochs=2", *TWO_STEPS[1:])
    weights = [
        fit(
            tmp_path / name, *longer, f"compile={other}", checkpoint=last[name]
        ).network.state_dict()
        for name, other in (("plain", "eager"), ("compiled", "false"))
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5, msg=name)
