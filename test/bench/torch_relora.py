#!/usr/bin/env python3
"""torch_relora.py ROOT LIBRARY PRETRAIN JSON [PART...]: the authors' layer in plain PyTorch against this library, in
turn, on the same numbers, threads and dtype. `make bench-torch` runs it. The parts, all unless some are named:

  layer    forward and backward: their order of products through autograd, ours through ctypes on the same memory
  adam     a step with clipping over the low-rank factors of the 35m model: torch.optim.AdamW, foreach and fused
  full, lora, dropout
           a training step of the 35m model in bf16, full rank and low rank without and with dropout: PyTorch, eager
           and compiled, and the program of examples/pretrain

Rows of JSON that are not measured now stay in it."""
import csv
import json
import logging
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from torch import nn

sys.dont_write_bytecode = True
root, library, pretrain, output = sys.argv[1:5]
parts = sys.argv[5:] or ['layer', 'adam', 'full', 'lora', 'dropout']
sys.path.insert(0, os.path.join(root, 'test', 'ffi'))
from binding import Binding  # noqa: E402

THREADS = os.cpu_count()
SHAPES = [(512, 512), (1376, 512), (2048, 2048), (5461, 2048)]  # out x in
TOKENS, RANK, ALPHA = 4096, 128, 32
DTYPES = {'f32': torch.float32, 'bf16': torch.bfloat16}
AIM = 2.0
rows = []


def row(name, value, unit, target=None):
    rows.append({'name': name, 'value': value, 'unit': unit, 'target': target, 'higher': unit != 'ms'})


def alternate(works, seconds, rounds=3):
    """Times of each work in ms, A, B, A, B, ... The pause lets the other's threads stop spinning."""
    times = [[] for _ in works]
    start = None
    while start is None or len(times[0]) < rounds or time.perf_counter() - start < seconds:
        for work, spent in zip(works, times):
            time.sleep(0.02)
            begin = time.perf_counter()
            work()
            if start is not None:
                spent.append(1e3 * (time.perf_counter() - begin))
        start = start or time.perf_counter()  # the first round does not count
    return times


def ratio(theirs, ours):
    return statistics.median(a / b for a, b in zip(theirs, ours))


# ---- the authors' layer (Guitaricet/relora, relora.py), as far as a step executes it ----

class ReLoRaLinear(nn.Module):
    def __init__(self, inputs, outputs, rank, dropout):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * 0.02, requires_grad=False)
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)
        self.lora_dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.scaling = ALPHA / rank
        nn.init.normal_(self.lora_B.weight, std=0.001)

    def forward(self, x):
        result = F.linear(x, self.weight)
        result += self.lora_B(self.lora_A(self.lora_dropout(x))) * self.scaling
        return result


# ---- this library ----

class Relora(Binding):
    def __init__(self):
        super().__init__(root, library)
        self.context = self.create('context_create', self.options('context', threads=THREADS))
        self.device = self.device_get(self.context, self.DEVICE_CPU, 0)
        self.stream = self.create('stream_create', self.device)

    def borrow(self, tensor):
        shape = (self.types['int64_t'] * tensor.dim())(*tensor.shape)
        dtype = self.F32 if tensor.dtype == torch.float32 else self.BF16
        return self.create('tensor_borrow', self.device, dtype, tensor.dim(), shape, None, tensor.data_ptr(),
                           self.types['relora_deleter_fn'](), None)

    def layer(self, theirs, dtype, dropout):
        """A layer on the same W, with equal A and B."""
        weight = theirs.weight
        layer = self.create('linear_create', self.device, self.options(
            'linear', in_features=weight.shape[1], out_features=weight.shape[0], rank=RANK, alpha=float(ALPHA),
            dropout=dropout, dtype=self.F32 if dtype == torch.float32 else self.BF16))
        self.ok(self.linear_set_weight(layer, self.borrow(weight.data), None))
        for which, factor in (('A', theirs.lora_A), ('B', theirs.lora_B)):
            values = factor.weight.data.float().contiguous()
            param = self.linear_param(layer, getattr(self, 'PARAM_' + which))
            self.ok(self.tensor_write(param, self.stream, values.data_ptr(), values.numel() * 4))
        return layer


def close(ours, theirs, dtype):
    error = ((ours.float() - theirs.float()).norm() / theirs.float().norm()).item()
    assert error < (1e-5 if dtype == torch.float32 else 2e-2), error


def compare_layer(relora, shape, dtype, dropout, seconds):
    outputs, inputs = shape
    theirs = ReLoRaLinear(inputs, outputs, RANK, dropout).to(dtype)
    x = torch.randn(TOKENS, inputs).to(dtype).requires_grad_()
    dy = (torch.randn(TOKENS, outputs) * 0.01).to(dtype)
    y, dx = torch.empty(TOKENS, outputs, dtype=dtype), torch.empty(TOKENS, inputs, dtype=dtype)
    layer = relora.layer(theirs, dtype, dropout)
    given, result, grad, back = (relora.borrow(t.data) for t in (x, y, dy, dx))
    kept = []

    def step_theirs():
        x.grad = theirs.lora_A.weight.grad = theirs.lora_B.weight.grad = None
        kept[:] = [theirs(x)]
        kept[0].backward(dy)

    def step_ours():
        flags = relora.TRAIN
        relora.ok(relora.linear_forward(layer, relora.stream, given, result, 0, flags))
        relora.ok(relora.linear_backward(layer, relora.stream, given, grad, back, 0, flags | relora.OVERWRITE))

    times = alternate([step_theirs, step_ours], seconds)
    if not dropout:  # both computed the same
        close(y, kept[0].detach(), dtype)
        close(dx, x.grad, dtype)
    for handle in (given, result, grad, back):
        relora.tensor_release(handle)
    relora.linear_release(layer)
    return times


def compare_layers(relora):
    print('\nForward and backward of a layer, rank %d, %d tokens; ratio: the median of PyTorch over ours' % (RANK, TOKENS))
    print('%-24s %11s %8s %11s %8s %7s' % ('', 'PyTorch ms', 'median', 'librelora', 'median', 'ratio'))
    for name, dtype in DTYPES.items():
        for shape in SHAPES:
            for dropout in (0.0, 0.1):
                theirs, ours = compare_layer(relora, shape, dtype, dropout, 3)
                label = '%s %dx%d%s' % (name, *shape, ', dropout 0.1' if dropout else '')
                print('%-24s %11.2f %8.2f %11.2f %8.2f %7.2f' % (
                    label, min(theirs), statistics.median(theirs), min(ours), statistics.median(ours),
                    ratio(theirs, ours)), flush=True)
                row('layer %s, faster than PyTorch' % label, ratio(theirs, ours), 'x', AIM)


# ---- a small Llama: the 35m model of examples/pretrain ----

class Size:
    hidden, ffn, heads, layers, seq, batch, vocab, rank = 384, 1024, 8, 6, 256, 16, 256, 96


def factor_shapes():
    shapes = []
    for outputs, inputs in [(Size.hidden, Size.hidden)] * 4 + [(Size.ffn, Size.hidden)] * 2 + [(Size.hidden, Size.ffn)]:
        shapes += [(Size.rank, inputs), (outputs, Size.rank)]
    return shapes * Size.layers


class Block(nn.Module):
    def __init__(self, linear):
        super().__init__()
        h, f = Size.hidden, Size.ffn
        self.q, self.k, self.v, self.o = (linear(h, h) for _ in range(4))
        self.gate, self.up, self.down = linear(h, f), linear(h, f), linear(f, h)
        self.norm1, self.norm2 = nn.RMSNorm(h, eps=1e-6), nn.RMSNorm(h, eps=1e-6)

    def forward(self, x, cos, sin):
        batch, seq, hidden = x.shape

        def heads(t):
            return t.view(batch, seq, Size.heads, -1).transpose(1, 2)

        def rotate(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat((-b, a), -1) * sin

        n = self.norm1(x)
        q, k, v = rotate(heads(self.q(n))), rotate(heads(self.k(n))), heads(self.v(n))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, seq, hidden))
        n = self.norm2(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


class Llama(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.embedding = nn.Embedding(Size.vocab, Size.hidden)
        self.blocks = nn.ModuleList(Block(linear) for _ in range(Size.layers))
        self.norm = nn.RMSNorm(Size.hidden, eps=1e-6)
        self.head = nn.Linear(Size.hidden, Size.vocab, bias=False)
        width = Size.hidden // Size.heads
        angles = torch.outer(torch.arange(Size.seq).float(), 10000 ** -(torch.arange(0, width, 2) / width))
        angles = torch.cat((angles, angles), -1)
        self.register_buffer('cos', angles.cos())
        self.register_buffer('sin', angles.sin())

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).float().flatten(0, 1), targets.flatten())


def torch_trainer(method, dropout, compiled):
    """A function that does one update: forward, backward, clipping, fused AdamW."""
    def linear(i, o):
        return nn.Linear(i, o, bias=False) if method == 'full' else ReLoRaLinear(i, o, Size.rank, dropout)
    torch.manual_seed(1)
    model = Llama(linear).to(torch.bfloat16)
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.0, fused=True)
    tokens = torch.randint(Size.vocab, (Size.batch, Size.seq + 1))
    run = torch.compile(model) if compiled else model

    def update():
        optimizer.zero_grad(set_to_none=True)
        loss = run(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        assert math.isfinite(loss.item())
    return update


def pretrain_rates(folder, method, dropout, steps):
    """Tokens per second of each step of the program, but for the first."""
    text, out = os.path.join(folder, 'text'), os.path.join(folder, 'out')
    with open(text, 'wb') as f:
        f.write(os.urandom(1 << 20).translate(bytes(range(97, 113)) * 16))
    subprocess.run([pretrain, '--size', '35m', '--method', method, '--dtype', 'bf16', '--dropout', str(dropout), '--rank',
                    str(Size.rank), '--steps', str(steps + 1), '--warm-start', '0', '--batch', str(Size.batch), '--seq',
                    str(Size.seq), '--accumulate', '1', '--threads', str(THREADS), '--data', text, '--out', out,
                    '--eval-every', '0', '--eval-batches', '1', '--sample', '0'], check=True, capture_output=True)
    with open(os.path.join(out, 'train.csv'), newline='') as f:
        return [float(r['tokens_per_s']) for r in csv.DictReader(f)][1:]


def measured_rates(update, steps):
    rates = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        update()
        rates.append(Size.batch * Size.seq / (time.perf_counter() - begin))
    return rates[1:]


def compare_models(method, dropout):
    works = {'eager': torch_trainer(method, dropout, False), 'compiled': torch_trainer(method, dropout, True)}
    try:
        works['compiled']()
    except Exception as problem:  # no compiler for it here
        print('torch.compile does not work here: %s' % str(problem).splitlines()[0])
        del works['compiled']
    rates = {name: [] for name in ['librelora', *works]}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            for name, update in works.items():
                rates[name] += measured_rates(update, 2)
            rates['librelora'] += pretrain_rates(folder, method, dropout, 3)
    label = method + (', dropout 0.1' if dropout else '')
    ours = statistics.median(rates['librelora'])
    print('\nTraining step of the 35m model (%d sequences of %d), bf16, %s, tokens/s: the median step\n'
          '  librelora        %6.0f' % (Size.batch, Size.seq, label, ours))
    row('model 35m bf16 %s' % label, ours, 'tokens/s')
    for name in works:
        theirs = statistics.median(rates[name])
        print('  PyTorch %-8s %6.0f   ratio %.2f' % (name, theirs, ours / theirs), flush=True)
        row('model 35m bf16 %s, faster than PyTorch %s' % (label, name), ours / theirs, 'x', AIM)


# ---- the optimizer ----

def compare_optimizers(relora):
    shapes = factor_shapes()
    count = sum(a * b for a, b in shapes)

    def theirs(**kind):
        params = [nn.Parameter(torch.randn(s) * 0.02) for s in shapes]
        for p in params:
            p.grad = torch.randn_like(p)
        optimizer = torch.optim.AdamW(params, lr=1e-3, **kind)

        def update():
            nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
            optimizer.step()
        return update

    adam = relora.create('adam_create', relora.device, relora.options('adam', max_norm=1.0, weight_decay=0.01))
    memory = [(torch.randn(s) * 0.02, torch.randn(s)) for s in shapes]
    for i, (param, grad) in enumerate(memory):
        relora.ok(relora.adam_add(adam, b'p%d' % i, relora.borrow(param), relora.borrow(grad), None))

    def ours():
        relora.ok(relora.adam_step(adam, relora.stream, 1e-3, 1.0, None))

    fused, foreach, own = alternate([theirs(fused=True), theirs(foreach=True), ours], 3)
    print('\nAdamW with clipping over %d factors, %.1f M elements: librelora %.2f ms (median %.2f)' % (
        len(shapes), count / 1e6, min(own), statistics.median(own)))
    for name, times in (('fused', fused), ('foreach', foreach)):
        print('  PyTorch %-8s %7.2f ms (median %.2f): %.2f times' % (name, min(times), statistics.median(times),
                                                                     ratio(times, own)))
        row('Adam, faster than PyTorch %s' % name, ratio(times, own), 'x')


def write_rows():
    names = [r['name'] for r in rows]
    if os.path.exists(output):
        with open(output, encoding='utf-8') as f:
            rows[:0] = [r for r in json.load(f)['rows'] if r['name'] not in names]
    with open(output, 'w', encoding='utf-8') as f:
        f.write('{\n  "torch": "%s",\n  "threads": %d,\n  "rows": [\n' % (torch.__version__, THREADS))
        f.write(',\n'.join('    ' + json.dumps(r) for r in rows) + '\n  ]\n}\n')


def main():
    logging.getLogger('torch').setLevel(logging.ERROR)
    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    print('PyTorch %s and librelora, %d threads' % (torch.__version__, THREADS))
    relora = Relora()
    for part, compare in (('layer', lambda: compare_layers(relora)), ('adam', lambda: compare_optimizers(relora)),
                          ('full', lambda: compare_models('full', 0.0)), ('lora', lambda: compare_models('lora', 0.0)),
                          ('dropout', lambda: compare_models('lora', 0.1))):
        if part in parts:
            compare()
            write_rows()


main()
