"""Hooks that read or change the inputs and outputs of modules during one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

Change = Callable[[Tensor], Tensor]
"""From a tensor to its replacement; the same tensor where it is only read."""


def before(stack: ExitStack, module: nn.Module, change: Change) -> None:
    """Change the first input of a module."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)


def after(stack: ExitStack, module: nn.Module, change: Change) -> None:
    """Change the output of a module, the first where it has several."""

    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    stack.callback(module.register_forward_hook(hook).remove)


def shaped(change: Change, rows: int, pos: int) -> Change:
    """A change of [row, pos, width], where a module may see rows and positions flattened (OPT)."""
    return lambda tensor: change(tensor.view(rows, pos, -1)).view(tensor.shape)


def instead(stack: ExitStack, module: nn.Module, forward: Callable[..., Any]) -> None:
    """Replace a module's forward function."""
    module.forward = forward
    stack.callback(delattr, module, "forward")


def skip(stack: ExitStack, block: nn.Module, tuple_length: int | None) -> None:
    """Make a block return its input, in a tuple of the given length where it returns tuples."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden: Tensor = args[0] if args else kwargs["hidden_states"]
        return hidden if tuple_length is None else (hidden, *[None] * (tuple_length - 1))

    instead(stack, block, forward)
