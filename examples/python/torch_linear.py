#!/usr/bin/env python3
"""ReLoRA inside a torch loop: the weights of nn.Linear are trained in place, restarts and all.

The model, the loss and everything else stay torch's; librelora computes the linear layers, the optimizer's steps of
A and B, and the restarts that merge s B A into the weights of the model."""
import torch

import relora


class Relora(torch.nn.Module):
    """An nn.Linear whose weight, in its own memory, becomes the frozen W of a layer."""

    def __init__(self, inner, context, stream, number, **options):
        super().__init__()
        self.stream, self.calls = stream, 0
        self.layer = relora.Linear(context.cpu, in_features=inner.in_features, out_features=inner.out_features,
                                   layer=number, flags=relora.LINEAR_BIAS, **options)
        inner.requires_grad_(False)
        self.inner = inner  # whose state_dict has the merged weights
        self.layer.set_weight(relora.from_dlpack(context, inner.weight), relora.from_dlpack(context, inner.bias))
        self.context = context
        self.anchor = torch.zeros((), requires_grad=True)  # A and B are out of torch's sight, and want gradients too

    def forward(self, x):
        self.calls += self.training
        return Product.apply(x, self.anchor, self, self.calls, relora.TRAIN if self.training else 0)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, anchor, module, call, flags):
        x = x.contiguous()
        y = x.new_empty(x.shape[:-1] + (module.inner.out_features,))
        tensor = relora.from_dlpack(module.context, x.detach())
        module.layer.forward(module.stream, tensor, relora.from_dlpack(module.context, y), call, flags)
        ctx.module, ctx.call, ctx.flags = module, call, flags
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,), module = ctx.saved_tensors, ctx.module
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        tensors = [t if t is None else relora.from_dlpack(module.context, t) for t in (x.detach(), dy.contiguous(), dx)]
        module.layer.backward(module.stream, *tensors, ctx.call, ctx.flags)
        return dx, None, None, None, None


def main():
    torch.manual_seed(1)
    context = relora.Context(log=lambda level, line: print('   ', line), log_level=relora.LOG_INFO)
    stream = relora.Stream(context.cpu)
    model = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4))
    before = [model[0].weight.clone(), model[2].weight.clone()]
    for number, i in enumerate((0, 2)):
        model[i] = Relora(model[i], context, stream, number, rank=2, alpha=4, dropout=0.0, seed=3)
    layers = [model[0].layer, model[2].layer]

    steps = 120
    adam = relora.Adam(context.cpu, max_norm=1)
    rate = relora.Schedule(context, lr=0.02, total_steps=steps, warmup_steps=5, restart_warmup_steps=5, restart_every=40)
    cycle = relora.Cycle(context, adam, {}, merge_every=40)
    for number, layer in enumerate(layers):
        adam.add_linear('layer%d' % number, layer)
        cycle.add(layer)

    x, wanted = torch.randn(64, 12), torch.randn(64, 4)
    losses = []
    for step in range(steps):
        adam.zero_grad(stream)
        loss = torch.nn.functional.mse_loss(model(x), wanted)
        loss.backward()
        adam.step(stream, rate.lr(step))
        cycle.advance(stream, step + 1)
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        trained = model(x)
        cycle.finish(stream, steps)  # W alone gives the trained output now: torch's own layers show it
        plain = torch.nn.Sequential(model[0].inner, model[1], model[2].inner)
        assert torch.allclose(plain(x), trained, atol=1e-4), 'a merge does not change the output'
    assert losses[-1] < 0.6 * losses[0], losses
    for i, old in zip((0, 2), before):
        rank = torch.linalg.matrix_rank(model[i].inner.weight - old, rtol=1e-4).item()
        print('weight %d changed by a matrix of rank %d, by merges of rank 2' % (i, rank))
        assert rank > 2, 'several restarts add up to more than the rank of one'
    print('loss %.4f to %.4f in %d steps with 3 restarts' % (losses[0], losses[-1], steps))


if __name__ == '__main__':
    main()
