#!/usr/bin/env python3
"""torch_relora.py ROOT LIBRARY PRETRAIN JSON [OPTION...] [PART...]: the authors' layer in plain PyTorch against this
library, in turn, on the same numbers, threads and dtype. `make bench-torch` runs it, and TORCH_ARGS are added to its
arguments. The parts, all unless some are named:

  layer    forward and backward: their order of products through autograd, ours through ctypes on the same memory
  adam     a step with clipping over the low-rank factors of the 35m model: torch.optim.AdamW, foreach and fused
  full, lora, dropout
           a training step of a model, full rank and low rank without and with dropout: PyTorch, eager and compiled, and
           the program of examples/pretrain

Rows of JSON that are not measured now stay in it."""
import argparse
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



def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('root', 'library', 'pretrain', 'json'):
        parser.add_argument(name)
    parser.add_argument('parts', nargs='*', default=['layer', 'adam', 'full', 'lora', 'dropout'])
    parser.add_argument('--size', default='35m', choices=['35m', '60m'], help='of the model')
    parser.add_argument('--dtype', default='bf16', choices=['f32', 'bf16'], help='of the model')
    parser.add_argument('--avx2', action='store_true', help='no instructions beyond AVX2 on either side; the program must '
                        'have been made so: make B=build/avx2 NATIVE=-march=x86-64-v3 bench-torch TORCH_ARGS=--avx2')
    return parser.parse_intermixed_args()


args = arguments()
if args.avx2:  # before anything looks at it; the last two are oneDNN's old and new names
    os.environ.update(ATEN_CPU_CAPABILITY='avx2', MKL_ENABLE_INSTRUCTIONS='AVX2', DNNL_MAX_CPU_ISA='AVX2',
                      ONEDNN_MAX_CPU_ISA='AVX2')

import torch  # noqa: E402
import torch._inductor.config  # noqa: E402
from torch import nn  # noqa: E402

sys.dont_write_bytecode = True
from authors import Llama, ReLoRaLinear, Size, trainer  # noqa: E402
from ours import Relora  # noqa: E402

THREADS = os.cpu_count()
SHAPES = [(512, 512), (1376, 512), (2048, 2048), (5461, 2048)]  # out x in
TOKENS, RANK = 4096, 128
DTYPES = {'f32': torch.float32, 'bf16': torch.bfloat16}
AIM = 2.0
rows = []


def row(name, value, unit, target=None):
    rows.append({'name': 'avx2 ' * args.avx2 + name, 'value': value, 'unit': unit, 'target': target, 'higher': unit != 'ms'})


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


def close(ours, theirs, dtype):
    error = ((ours.float() - theirs.float()).norm() / theirs.float().norm()).item()
    assert error < (1e-5 if dtype == torch.float32 else 2e-2), error


def compare_layer(relora, shape, dtype, dropout, seconds):
    outputs, inputs = shape
    theirs = ReLoRaLinear(inputs, outputs, RANK, dropout).to(dtype)
    x = torch.randn(TOKENS, inputs).to(dtype).requires_grad_()
    dy = (torch.randn(TOKENS, outputs) * 0.01).to(dtype)
    step_ours, y, dx, release = relora.step(theirs, x, dy, dropout)
    kept = []

    def step_theirs():
        x.grad = theirs.lora_A.weight.grad = theirs.lora_B.weight.grad = None
        kept[:] = [theirs(x)]
        kept[0].backward(dy)

    times = alternate([step_theirs, step_ours], seconds)
    if not dropout:  # both computed the same
        close(y, kept[0].detach(), dtype)
        close(dx, x.grad, dtype)
    release()
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


# ---- a small Llama: models of examples/pretrain ----

SIZES = {
    '35m': Size(hidden=384, ffn=1024, heads=8, layers=6, seq=256, batch=16, vocab=256, rank=96),
    '60m': Size(hidden=512, ffn=1376, heads=8, layers=8, seq=256, batch=16, vocab=256, rank=128),
}
SIZE = SIZES[args.size]


def factor_shapes(size):
    shapes = []
    for outputs, inputs in [(size.hidden, size.hidden)] * 4 + [(size.ffn, size.hidden)] * 2 + [(size.hidden, size.ffn)]:
        shapes += [(size.rank, inputs), (outputs, size.rank)]
    return shapes * size.layers


def torch_trainer(method, dropout, compiled):
    torch.manual_seed(1)
    model = Llama(SIZE, method, dropout).to(DTYPES[args.dtype])
    tokens = torch.randint(SIZE.vocab, (SIZE.batch, SIZE.seq + 1))
    update = trainer(model, torch.compile(model) if compiled else model, tokens)

    def checked():
        assert math.isfinite(update())
    return checked


def pretrain_rates(folder, method, dropout, steps):
    """Tokens per second of each step of the program, but for the first."""
    text, out = os.path.join(folder, 'text'), os.path.join(folder, 'out')
    with open(text, 'wb') as f:
        f.write(os.urandom(1 << 20).translate(bytes(range(97, 113)) * 16))
    subprocess.run([args.pretrain, '--size', args.size, '--method', method, '--dtype', args.dtype, '--dropout', str(dropout),
                    '--rank', str(SIZE.rank), '--steps', str(steps + 1), '--warm-start', '0', '--batch', str(SIZE.batch), '--seq',
                    str(SIZE.seq), '--accumulate', '1', '--threads', str(THREADS), '--data', text, '--out', out,
                    '--eval-every', '0', '--eval-batches', '1', '--sample', '0'], check=True, capture_output=True)
    with open(os.path.join(out, 'train.csv'), newline='') as f:
        return [float(r['tokens_per_s']) for r in csv.DictReader(f)][1:]


def measured_rates(update, steps):
    rates = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        update()
        rates.append(SIZE.batch * SIZE.seq / (time.perf_counter() - begin))
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
    label = '%s %s %s%s' % (args.size, args.dtype, method, ', dropout 0.1' if dropout else '')
    ours = statistics.median(rates['librelora'])
    print('\nTraining step of the model %s (%d sequences of %d), tokens/s: the median step\n'
          '  librelora        %6.0f' % (label, SIZE.batch, SIZE.seq, ours))
    row('model %s' % label, ours, 'tokens/s')
    for name in works:
        theirs = statistics.median(rates[name])
        print('  PyTorch %-8s %6.0f   ratio %.2f' % (name, theirs, ours / theirs), flush=True)
        row('model %s, faster than PyTorch %s' % (label, name), ours / theirs, 'x', AIM)


# ---- the optimizer ----

def compare_optimizers(relora):
    shapes = factor_shapes(SIZES['35m'])
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
    if os.path.exists(args.json):
        with open(args.json, encoding='utf-8') as f:
            rows[:0] = [r for r in json.load(f)['rows'] if r['name'] not in names]
    with open(args.json, 'w', encoding='utf-8') as f:
        f.write('{\n  "torch": "%s",\n  "threads": %d,\n  "rows": [\n' % (torch.__version__, THREADS))
        f.write(',\n'.join('    ' + json.dumps(r) for r in rows) + '\n  ]\n}\n')


def main():
    logging.getLogger('torch').setLevel(logging.ERROR)
    torch.set_num_threads(THREADS)
    if args.avx2:
        torch._inductor.config.cpp.simdlen = 256  # bits
    torch.manual_seed(1)
    print('PyTorch %s and librelora, %d threads' % (torch.__version__, THREADS))
    relora = Relora(args.root, args.library, THREADS)
    for part, compare in (('layer', lambda: compare_layers(relora)), ('adam', lambda: compare_optimizers(relora)),
                          ('full', lambda: compare_models('full', 0.0)), ('lora', lambda: compare_models('lora', 0.0)),
                          ('dropout', lambda: compare_models('lora', 0.1))):
        if part in args.parts:
            compare()
            write_rows()


main()
