#!/usr/bin/env python3
"""torch_cuda.py ROOT LIBRARY BENCH JSON: PyTorch against this library on a CUDA device. `make bench-cuda` runs it after
its own program, whose BENCH (bench-cuda.json) has the other side of the models; what has a target is added there.

  --parts LIST   of the following, with commas; all unless given
      product    the fastest product in bf16
      layer      forward and backward: the authors' order of products through autograd, eager and compiled, ours
                 through ctypes on the same memory and stream, in turn
      350m, 1b   a training step of the model of examples/pretrain, low rank, bf16, each block compiled (torch.compile),
                 scaled_dot_product_attention, fused AdamW
      dropout    the layer again, with dropout
      whole      the models again, compiled as a whole
  --budget S     end after so many seconds, and say what was left out (120)
  --device cpu   to see that it runs; with --smoke, which makes everything tiny"""
import argparse
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

sys.dont_write_bytecode = True
from authors import Llama, ReLoRaLinear, Size, trainer  # noqa: E402
from ours import Relora  # noqa: E402

RANK = 128
SHAPES = [(2048, 2048), (5461, 2048), (4096, 4096)]  # out x in
SIZES = {
    '350m': Size(1024, 2736, 16, 24, seq=512, batch=32, vocab=32000, rank=RANK),
    '1b': Size(2048, 5461, 32, 24, seq=512, batch=32, vocab=32000, rank=RANK),
}
SMOKE = Size(32, 88, 4, 2, seq=16, batch=2, vocab=256, rank=8)
NEEDED = {'product': 5, 'layer': 10, '350m': 25, '1b': 35, 'whole': 60}  # seconds; not begun with fewer left
start = time.monotonic()
rows, failed = [], []


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('root', 'library', 'bench', 'json'):
        parser.add_argument(name)
    parser.add_argument('--parts', default='product,layer,350m,1b,dropout,whole')
    parser.add_argument('--budget', type=float, default=120)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--smoke', action='store_true')
    parser.add_argument('--model', help=argparse.SUPPRESS)  # what a process of its own measures
    parser.add_argument('--whole', action='store_true', help=argparse.SUPPRESS)
    return parser.parse_args()


args = arguments()
cuda = args.device == 'cuda'


def row(name, value, unit, target=None, higher=True):
    rows.append({'name': name, 'value': value, 'unit': unit, 'target': target, 'higher': higher})


def time_left():
    return 600 if args.smoke else start + args.budget - time.monotonic()


def has_time(what, part):
    if NEEDED[part] <= time_left():
        return True
    print('  left out for want of time: %s' % what)
    return False


# ---- time, by events on the current stream ----

def seconds_of(work, repeats):
    if not cuda:
        begin = time.perf_counter()
        for _ in range(repeats):
            work()
        return (time.perf_counter() - begin) / repeats
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        work()
    end.record()
    end.synchronize()
    return 1e-3 * begin.elapsed_time(end) / repeats


def alternate(works, seconds):
    """Times of each work, A, B, A, B, ..., each of some runs in a row."""
    repeats, times = [], [[] for _ in works]
    for work in works:
        for _ in range(3):  # compile, warm up
            once = seconds_of(work, 1)
        repeats.append(max(1, math.ceil(5e-3 / once)))
    stop = time.monotonic() + (0.05 if args.smoke else seconds)
    while len(times[0]) < 3 or time.monotonic() < stop:
        for work, n, spent in zip(works, repeats, times):
            spent.append(seconds_of(work, n))
    return times


def ratio(theirs, ours):
    return statistics.median(a / b for a, b in zip(theirs, ours))


# ---- products ----

def measure_product():
    print('\nProducts in bf16, PyTorch')
    best = 0
    for m, n, k in [(64, 64, 64)] if args.smoke else [(8192, 8192, 8192), (16384, 8192, 8192), (16384, 4096, 4096)]:
        a, b = (torch.randn(*s, device=args.device).bfloat16() for s in ((m, k), (n, k)))
        times, = alternate([lambda: a @ b.T], 1)
        rate = 2 * m * n * k / statistics.median(times)
        print('  %5d x %5d x %5d  %8.3f TFLOP/s' % (m, n, k, rate * 1e-12), flush=True)
        best = max(best, rate)
    row('PyTorch, peak bf16', best * 1e-12, 'TFLOP/s')


# ---- the layer ----

def close(ours, theirs):
    error = ((ours.float() - theirs.float()).norm() / theirs.float().norm()).item()
    assert error < 2e-2, error


def compare_layer(relora, shape, tokens, rank, dropout):
    outputs, inputs = shape
    with torch.device(args.device):
        theirs = ReLoRaLinear(inputs, outputs, rank, dropout).to(torch.bfloat16)
        x = torch.randn(tokens, inputs).bfloat16().requires_grad_()
        dy = (torch.randn(tokens, outputs) * 0.01).bfloat16()
    torch.compiler.reset()  # the sizes of another layer are no reason to compile for all sizes
    compiled, kept = torch.compile(theirs, dynamic=False), []
    step, y, dx, release = relora.step(theirs, x, dy, dropout)

    def theirs_with(run):
        def both_ways():
            x.grad = theirs.lora_A.weight.grad = theirs.lora_B.weight.grad = None
            kept[:] = [run(x)]
            kept[0].backward(dy)
        return both_ways

    times = alternate([theirs_with(theirs), theirs_with(compiled), step], 1)
    if not dropout:  # both computed the same
        theirs_with(theirs)()
        close(y, kept[0].detach())
        close(dx, x.grad)
    release()
    return times


def compare_layers(dropout):
    tokens, rank = (64, 8) if args.smoke else (16384, RANK)
    shapes = [(m // 64, n // 64) for m, n in SHAPES] if args.smoke else SHAPES
    stream = torch.cuda.Stream() if cuda else None
    relora = Relora(args.root, args.library, os.cpu_count(), stream)
    print('\nForward and backward of a layer in bf16, rank %d, %d tokens: ms; how many times faster than PyTorch' % (rank, tokens))
    print('  %-24s %8s %8s %8s %14s %11s' % ('', 'ours', 'eager', 'compiled', 'than compiled', 'than eager'))
    with torch.cuda.stream(stream):
        for shape in shapes:
            label = '%dx%d%s' % (*shape, ', dropout %g' % dropout if dropout else '')
            if not has_time('layer ' + label, 'layer'):
                continue
            eager, compiled, ours = compare_layer(relora, shape, tokens, rank, dropout)
            print('  %-24s %8.3f %8.3f %8.3f %14.2f %11.2f' % (
                label, *(1e3 * statistics.median(t) for t in (ours, eager, compiled)), ratio(compiled, ours),
                ratio(eager, ours)), flush=True)
            row('layer bf16 %s, faster than PyTorch compiled' % label, ratio(compiled, ours), 'x', None if dropout else 1.3)
            row('layer bf16 %s, faster than PyTorch eager' % label, ratio(eager, ours), 'x')


# ---- the models, each in a process of its own, so that its memory can be seen ----

def size_of(name):
    return SMOKE if args.smoke else SIZES[name]


def compile_model(model):
    if args.whole:
        return torch.compile(model)
    for block in model.blocks:  # all of one form: compiled once
        block.compile()
    model.head.compile()
    return model


def measure_model():
    """Steps of one model; the last line of the output is a JSON object."""
    size, rates = size_of(args.model), []
    torch.manual_seed(1)
    with torch.device(args.device):
        model = Llama(size, 'lora').to(torch.bfloat16)
        tokens = torch.randint(size.vocab, (size.batch, size.seq + 1))
    update = trainer(model, compile_model(model), tokens)
    begin = time.monotonic()
    for _ in range(3):
        assert math.isfinite(update())
    compiling = time.monotonic() - begin
    stop = time.monotonic() + 5
    while len(rates) < 3 or (len(rates) < 20 and time.monotonic() < stop):
        begin = time.perf_counter()
        update()  # waits for the loss, as the program of examples/pretrain does
        rates.append(size.batch * size.seq / (time.perf_counter() - begin))
    print(json.dumps({'rate': statistics.median(rates), 'compiling': compiling,
                      'allocated': torch.cuda.max_memory_allocated() if cuda else 0}))


def memory_in_use():
    if not cuda:
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free


def watch(process, stop):
    """Most memory of the device in use until the process ends, less what was in use before; None if it is late."""
    before, most = memory_in_use(), 0
    while process.poll() is None:
        most = max(most, memory_in_use() - before)
        if time.monotonic() > stop:
            process.kill()
            process.wait()
            return None
        time.sleep(0.02)
    return most


def run_model(name, whole):
    command = [sys.executable, os.path.abspath(__file__), args.root, args.library, args.bench, args.json, '--model', name,
               '--device', args.device] + ['--smoke'] * args.smoke + ['--whole'] * whole
    if cuda:
        torch.cuda.empty_cache()
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        memory = watch(process, time.monotonic() + time_left())
        out.seek(0)
        errors.seek(0)
        if memory is None:
            print('  %-5s %-7s did not end in time' % (name, 'whole' if whole else 'blocks'))
            return None
        assert process.returncode == 0, errors.read()[-2000:]
        return {**json.loads(out.read().splitlines()[-1]), 'memory': memory}


def values_of_bench():
    try:
        with open(args.bench, encoding='utf-8') as f:
            return {r['name']: r['value'] for r in json.load(f)['rows']}
    except FileNotFoundError:
        return {}


def compare_model(name, whole, best):
    got = run_model(name, whole)
    if not got:
        return
    print('  %-5s %-7s %8.0f tokens/s, %6.2f GB, %6.2f GB of them allocated by PyTorch; compiled in %.0f s' % (
        name, 'whole' if whole else 'blocks', got['rate'], got['memory'] * 1e-9, got['allocated'] * 1e-9, got['compiling']),
        flush=True)
    best.setdefault(name, []).append(got)


def report_model(name, runs):
    """The fastest run and the smallest, whichever they are, beside ours."""
    ours, label = values_of_bench(), 'pretrain %s bf16 lora' % name
    rate, memory = max(r['rate'] for r in runs), min(r['memory'] for r in runs) * 1e-9
    row('PyTorch, model %s bf16 lora' % name, rate, 'tokens/s')
    row('PyTorch, model %s bf16 lora, device memory' % name, memory, 'GB', higher=False)
    if label not in ours:
        print('  %s has no row for %s to compare with' % (args.bench, label))
        return
    row('%s, faster than PyTorch' % label, ours[label] / rate, 'x', 1.0)
    if memory:
        row('%s, device memory over PyTorch' % label, ours[label + ', device memory'] / memory, '', higher=False)


def compare_models(names, whole, best):
    print('\nTraining step of the model in bf16, low rank, %s compiled; memory of the device as in bench-cuda' % (
        'as a whole' if whole else 'each block'))
    for name in names:
        if has_time('%s%s' % (name, ', compiled as a whole' if whole else ''), 'whole' if whole else name):
            attempt(name, compare_model, name, whole, best)


# ---- results ----

def write_rows(path, head, new):
    names = [r['name'] for r in new]
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            old = json.load(f)
        new = [r for r in old.pop('rows') if r['name'] not in names] + new
        head = {**old, **head}
    with open(path, 'w', encoding='utf-8') as f:
        f.write('{\n' + ''.join('  %s: %s,\n' % (json.dumps(k), json.dumps(v)) for k, v in head.items()) + '  "rows": [\n')
        f.write(',\n'.join('    ' + json.dumps(r) for r in new) + '\n  ]\n}\n')


def write_all():
    write_rows(args.json, {'torch': torch.__version__, 'device': torch.cuda.get_device_name() if cuda else 'cpu'}, rows)
    write_rows(args.bench, {}, [r for r in rows if r['target'] is not None])


def print_rows():
    aims = [r for r in rows if r['target'] is not None]
    print('\n%-60s %8s      target' % ('What is asked for', 'value'))
    for r in aims:
        r['met'] = r['value'] >= r['target'] if r['higher'] else r['value'] <= r['target']
        print('%-60s %8.3f %-4s %s %-5g %s' % (r['name'], r['value'], r['unit'], '>=' if r['higher'] else '<=', r['target'],
                                              'met' if r['met'] else 'NOT'))
    print('%d of %d met' % (sum(r['met'] for r in aims), len(aims)))


def attempt(what, function, *arguments):
    """One part that fails must not cost the others."""
    try:
        function(*arguments)
    except Exception as problem:
        print('  %s has failed: %s: %s' % (what, type(problem).__name__, problem), flush=True)
        failed.append(what)


def main():
    logging.getLogger('torch').setLevel(logging.ERROR)
    torch.manual_seed(1)
    if args.model:
        measure_model()
        return 0
    parts, best = args.parts.split(','), {}
    names = [name for name in SIZES if name in parts]
    print('\nPyTorch %s, %s' % (torch.__version__, torch.cuda.get_device_name() if cuda else 'cpu'))
    if 'product' in parts and has_time('products', 'product'):
        attempt('products', measure_product)
    if 'layer' in parts:
        attempt('layer', compare_layers, 0.0)
    write_all()
    compare_models(names, False, best)
    if 'dropout' in parts:
        attempt('layer with dropout', compare_layers, 0.1)
    if 'whole' in parts:
        compare_models([name for name in names if name in best], True, best)
    for name, runs in best.items():
        report_model(name, runs)
    write_all()
    print_rows()
    return 1 if failed else 0


sys.exit(main())
