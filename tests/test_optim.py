import numpy as np
import pytest

from llm_primer.autograd import Tensor
from llm_primer.errors import PrimerError
from llm_primer.optim import SGD, AdamW, clip_grad_norm, cosine_schedule


def parameters(rng):
    return {
        "gain": Tensor(rng.normal(size=3), requires_grad=True),
        "matrix": Tensor(rng.normal(size=(4, 3)), requires_grad=True),
    }


def gradients(parameters, optimizer, rng):
    optimizer.zero_grad()
    found = {name: rng.normal(size=t.shape) for name, t in parameters.items()}
    for name, t in parameters.items():
        t.grad += found[name]
    return found


def test_adamw_equals_pytorch(require_torch, rng):
    torch = require_torch
    ours = parameters(rng)
    theirs = {n: torch.tensor(t.data.copy(), requires_grad=True) for n, t in ours.items()}
    optimizer = AdamW(ours, lr=0.01, betas=(0.9, 0.95), weight_decay=0.3)
    reference = torch.optim.AdamW(
        [
            {"params": [theirs["matrix"]], "weight_decay": 0.3},
            {"params": [theirs["gain"]], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    for _ in range(20):
        for name, g in gradients(ours, optimizer, rng).items():
            theirs[name].grad = torch.tensor(g)
        optimizer.step()
        reference.step()
    for name, t in ours.items():
        np.testing.assert_allclose(t.data, theirs[name].detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_equals_pytorch(require_torch, rng, momentum):
    torch = require_torch
    ours = parameters(rng)
    theirs = {n: torch.tensor(t.data.copy(), requires_grad=True) for n, t in ours.items()}
    optimizer = SGD(ours, lr=0.1, momentum=momentum)
    reference = torch.optim.SGD(list(theirs.values()), lr=0.1, momentum=momentum)
    for _ in range(5):
        for name, g in gradients(ours, optimizer, rng).items():
            theirs[name].grad = torch.tensor(g)
        optimizer.step()
        reference.step()
    for name, t in ours.items():
        np.testing.assert_allclose(t.data, theirs[name].detach().numpy(), rtol=1e-10)


def test_the_first_adamw_step_is_the_learning_rate_in_every_direction(rng):
    """With bias correction m̂ = g and v̂ = g², so the first step is η · sign(g)."""
    ours = parameters(rng)
    before = {n: t.data.copy() for n, t in ours.items()}
    optimizer = AdamW(ours, lr=0.01, weight_decay=0.0)
    found = gradients(ours, optimizer, rng)
    optimizer.step()
    for name, t in ours.items():
        np.testing.assert_allclose(before[name] - t.data, 0.01 * np.sign(found[name]), rtol=1e-4)


def test_clipping_equals_pytorch(require_torch, rng):
    torch = require_torch
    tensors = [Tensor(np.zeros((4, 3)), requires_grad=True) for _ in range(3)]
    for t in tensors:
        t.grad = rng.normal(size=(4, 3))
    theirs = [torch.zeros(4, 3, dtype=torch.float64, requires_grad=True) for _ in tensors]
    for a, b in zip(theirs, tensors, strict=True):
        a.grad = torch.tensor(b.grad)
    norm = clip_grad_norm(tensors, 1.0)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 1.0)))
    assert np.sqrt(sum((t.grad**2).sum() for t in tensors)) == pytest.approx(1.0)
    assert clip_grad_norm(tensors, 5.0) == pytest.approx(1.0)
    assert np.sqrt(sum((t.grad**2).sum() for t in tensors)) == pytest.approx(1.0)


def test_the_schedule_rises_then_falls_along_a_cosine(require_torch):
    torch = require_torch
    rates = [cosine_schedule(s, peak=1.0, total=110, warmup=10, floor=0.1) for s in range(120)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.1)
    for rate in rates[10:110]:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates[110:] == [0.1] * 10


def test_state_that_does_not_fit_is_refused(rng):
    optimizer = AdamW(parameters(rng))
    with pytest.raises(PrimerError, match="'m' does not belong"):
        optimizer.load_state({**optimizer.state(), "m": np.zeros(2)})
    with pytest.raises(PrimerError, match="at least one parameter"):
        AdamW({})
