"""Low-rank adaptation: a small trainable detour around each frozen matrix.

Fine-tuning changes a matrix W by some ΔW. Hu et al. (arXiv:2106.09685) found that a ΔW of very low
rank is often enough: W stays frozen, and the layer computes

    y = x W + (α / r) x L_in L_out          L_in: (d_in, r), L_out: (r, d_out)

Only L_in and L_out are trained, r (d_in + d_out) numbers in place of d_in · d_out. L_out starts at
0, so the first step starts from the model as it was; afterwards the detour can be folded into W and
costs nothing. (The paper multiplies columns, W x + (α / r) B A x: its A is our L_in transposed, its
B our L_out transposed.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llm_primer.autograd import Array, Tensor
from llm_primer.errors import PrimerError
from llm_primer.nn import Linear, Module, linear, normal_parameter

ATTENTION = ("wq", "wk", "wv", "wo")
EVERYTHING = (*ATTENTION, "w1", "w2", "w3")


class LoRALinear(Module):
    """A linear layer with a low-rank detour (arXiv:2106.09685, eq. 3).

    Attributes:
        base: the frozen layer, with ``weight`` (d_in, d_out).
        lora_in: L_in, (d_in, r), normal numbers with standard deviation 1/√d_in at first.
        lora_out: L_out, (r, d_out), 0 at first.
        scale: α / r.
    """

    def __init__(self, base: Linear, rank: int, alpha: float, rng: np.random.Generator) -> None:
        d_in, d_out = base.weight.shape
        if not 1 <= rank <= min(d_in, d_out):
            raise PrimerError(
                f"The rank for a {d_in} by {d_out} matrix must lie between 1 and "
                f"{min(d_in, d_out)}, not at {rank}."
            )
        self.base = base
        self.lora_in = normal_parameter(rng, (d_in, rank), d_in**-0.5)
        self.lora_out = Tensor(np.zeros((rank, d_out), np.float32), requires_grad=True)
        self.scale = alpha / rank

    def __call__(self, x: Tensor) -> Tensor:
        """(..., d_in) to (..., d_out)."""
        detour = linear(linear(x, self.lora_in), self.lora_out)
        return self.base(x) + detour * self.scale

    def delta(self) -> Array:
        """ΔW = (α / r) L_in L_out, (d_in, d_out)."""
        return (self.lora_in.data @ self.lora_out.data) * np.float32(self.scale)


def freeze(model: Module) -> None:
    """Takes every parameter out of training; ``model.parameters()`` is empty afterwards."""
    for tensor in model.all_tensors().values():
        tensor.requires_grad = False
        tensor.grad = None


def add_lora(
    model: Any,
    rank: int = 8,
    alpha: float | None = None,
    targets: Sequence[str] = ATTENTION,
    seed: int = 0,
) -> int:
    """Freezes a model and puts a low-rank detour around some of its linear layers, in place.

    Afterwards ``model.parameters()`` holds the detours alone: any optimizer trains only them.

    Args:
        model: a `Module`, such as a `Transformer`.
        rank: r.
        alpha: α; None for r, a scale of 1.
        targets: the last parts of the names of the layers, such as ``wq``. The default is
            attention; `EVERYTHING` adds the feed-forward layers.
        seed: of the random L_in.

    Returns:
        How many numbers are trained now.

    Raises:
        PrimerError: no layer has such a name, the model already has detours, or r does not fit.
    """
    if lora_layers(model):
        raise PrimerError("This model already has LoRA layers; merge or remove them first.")
    chosen = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, Linear) and path.rpartition(".")[2] in targets
    ]
    if not chosen:
        raise PrimerError(f"The model has no linear layer named {', '.join(targets)}.")
    rng = np.random.default_rng(seed)
    scale_numerator = rank if alpha is None else alpha
    wrapped = [(path, LoRALinear(layer, rank, scale_numerator, rng)) for path, layer in chosen]
    freeze(model)
    for path, layer in wrapped:
        model.set_module(path, layer)
    return sum(t.data.size for t in model.parameters().values())


def lora_layers(model: Any) -> dict[str, LoRALinear]:
    """The detours of a model, by the path of the layer they go around."""
    return {path: m for path, m in model.named_modules() if isinstance(m, LoRALinear)}


def merge(model: Any) -> None:
    """Folds every detour into its matrix, W ← W + (α / r) L_in L_out, and takes it away, in place.

    The model computes the same as before (up to rounding) at its old speed; all parameters can be
    trained again.

    Raises:
        PrimerError: there is nothing to merge.
    """
    layers = _layers_or_error(model)
    for layer in layers.values():
        layer.base.weight.data[...] += layer.delta()
    _put_back(model, layers)


def remove(model: Any) -> None:
    """Takes all detours away, in place: the model is again what it was before `add_lora`.

    Raises:
        PrimerError: there is nothing to remove.
    """
    _put_back(model, _layers_or_error(model))


def _layers_or_error(model: Any) -> dict[str, LoRALinear]:
    layers = lora_layers(model)
    if not layers:
        raise PrimerError("This model has no LoRA layers.")
    return layers


def _put_back(model: Any, layers: dict[str, LoRALinear]) -> None:
    for path, layer in layers.items():
        model.set_module(path, layer.base)
    for tensor in model.all_tensors().values():
        tensor.requires_grad = True


def adapter_arrays(model: Any) -> dict[str, Array]:
    """A copy of the detours' weights by name: a whole fine-tuning in a few kilobytes."""
    return {
        f"{path}.{name}": getattr(layer, name).data.copy()
        for path, layer in lora_layers(model).items()
        for name in ("lora_in", "lora_out")
    }


def load_adapter(model: Any, arrays: dict[str, Array]) -> None:
    """Writes what `adapter_arrays` returned into a model with detours of the same shape.

    Raises:
        PrimerError: names or shapes differ; nothing is changed then.
    """
    own = {
        f"{path}.{name}": getattr(layer, name)
        for path, layer in lora_layers(model).items()
        for name in ("lora_in", "lora_out")
    }
    if own.keys() != arrays.keys() or any(own[n].shape != arrays[n].shape for n in own):
        raise PrimerError("These LoRA weights belong to a model with other layers or another rank.")
    for name, tensor in own.items():
        tensor.data[...] = arrays[name]
