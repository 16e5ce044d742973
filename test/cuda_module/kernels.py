"""kernels.py NVCC BUILD DOCUMENT [write]: the table of kernels in DOCUMENT, recomputed from what ptxas said when BUILD was made.

Registers, shared memory and spills are those of the build (`*.usage`, which the Makefile has nvcc write); warps of a
multiprocessor follow from them; bytes, operations and times from the model below. Without `write` it says where the document
and the build disagree, and fails; what another release of NVCC made it does not compare."""
import glob
import re
import subprocess
import sys

# ---- what an H200 can do: published figures, and what of them is reckoned with ----
MEMORY = 4.0e12        # bytes per second of the 4.8e12 that are published
CLOCK = 1.755e9        # Hz
SMS = 132
SIMPLE = SMS * 128 * CLOCK        # instructions of a thread per second, other than products of tensors
CACHE = 5120 * CLOCK   # bytes per second between L2 and the multiprocessors: what is published of an A100, at this clock
MMA = 1.61             # cycles of a multiprocessor for an m16n8k16: mma.sync reaches 62 % of what wgmma does
REGISTERS, SHARED, THREADS, BLOCKS = 65536, 227 << 10, 2048, 32      # of a multiprocessor of sm_90

# ---- the work of each kernel, in a step of the 1b model: 16,384 tokens, 2048 wide, 5461 in between ----
TOKENS, WIDTH, INNER, HEADS, SEQUENCE, VOCABULARY, RANK = 16384, 2048, 5461, 32, 512, 32000, 128
HIDDEN, W = TOKENS * WIDTH, WIDTH * WIDTH
SCORES = TOKENS * SEQUENCE / 2 * WIDTH      # multiply-adds of one product of causal attention
MILLION = 10 ** 6
NARROW, LONG = 'x', 'W'


def memory(elements, bytes_each, simple_each, what):
    return {'what': what, 'bytes': elements * bytes_each, 'simple': elements * simple_each}


def tensor(products, reads, rows, what):
    """`products` of attention, with so many cycles of shared memory for each m16n8k16: four for what a warp loads or stores
    at a time, 512 bytes. Each block of so many rows has two tensors of the other side pass by."""
    passes = SEQUENCE / rows / 2 + 0.5
    return {'what': what, 'mma': products * SCORES / 2048, 'reads': reads, 'bytes': 8 * HIDDEN, 'cache': 4 * HIDDEN * passes,
            'simple': 0}


SMALL = {'what': 'a few elements', 'bytes': 0, 'simple': 0}
RARE = {'what': 'not in BF16 training', 'bytes': 0, 'simple': 0}
RESTART = {'what': 'a factor, at a restart', 'bytes': 0, 'simple': 0}
ONE_BLOCK = {'what': 'a factor, at a restart, by one block', 'bytes': 0, 'simple': 0}
MOMENTS = 'moments of 1e8 elements'
MODEL = {  # name: threads of a block, work
    'adam_update_kernel': (128, memory(100 * MILLION, 28, 40, '1e8 elements, F32')),
    'adam_gaps_kernel': (128, {'what': 'a W with gaps between rows', 'bytes': 0, 'simple': 0}),
    'adam_squares_kernel': (256, memory(100 * MILLION, 4, 3, '1e8 elements, F32')),
    'adam_ready_kernel': (256, SMALL), 'adam_control_kernel': (256, SMALL), 'adam_decide_kernel': (32, SMALL),
    'write_kernel': (512, SMALL),
    'fill_kernel<float>': (256, memory(100 * MILLION, 4, 1, '1e8 elements')),
    'fill_kernel<bf16>': (256, memory(100 * MILLION, 2, 1, '1e8 elements')),
    'convert_kernel<float, float>': (256, memory(3 * RANK * WIDTH, 12, 5, 'dA of q, k and v to their gradients')),
    'convert_kernel<float, bf16>': (256, memory(W, 6, 3, 'a 2048 x 2048 matrix')),
    'convert_kernel<bf16, float>': (256, memory(9 * RANK * WIDTH, 6, 4, 'copies of the factors of q, k and v')),
    'convert_kernel<bf16, bf16>': (256, memory(HIDDEN, 4, 4, '16,384 x 2048')),
    'dropout_kernel<float>': (256, RARE),
    'dropout_kernel<bf16>': (256, memory(HIDDEN, 4, 32, '16,384 x 2048')),
    'uniform_kernel': (256, memory(RANK * WIDTH, 4, 30, 'a factor, 128 x 2048')),
    'largest_kernel<float>': (256, memory(RANK * WIDTH, 4, 3, 'a factor, 128 x 2048')),
    'largest_kernel<bf16>': (256, RARE),
    'merge_kernel<float>': (256, RARE),
    'merge_kernel<bf16>': (256, memory(W, 8, 50, 'a 2048 x 2048 W')),
    'merge_norms_kernel': (256, SMALL),
    'fold_kernel': (256, memory(W, 8, 36, 'a 2048 x 2048 W')),
    'sum_rows_kernel<float>': (256, RARE),
    'sum_rows_kernel<bf16>': (256, memory(HIDDEN, 2, 4, '16,384 x 2048')),
    'sum_slices_kernel': (256, SMALL),
    'dot_kernel<float>': (256, RARE), 'dot_kernel<bf16>': (256, memory(HIDDEN, 4, 6, '16,384 x 2048')),
    'scale_grad_kernel': (256, SMALL),
    'digit_kernel': (256, memory(100 * MILLION, 4, 12, MOMENTS + ', one digit of three')),
    'quantile_kernel': (256, memory(100 * MILLION, 4, 8, MOMENTS)),
    'rank_kernel': (256, memory(100 * MILLION, 4, 3, MOMENTS)),
    'mask_kernel': (256, memory(100 * MILLION, 12, 8, MOMENTS)),
    'random_kernel': (256, memory(100 * MILLION, 8, 30, MOMENTS)),
    'zeros_kernel': (256, memory(100 * MILLION, 8, 8, MOMENTS)),
    'span_kernel': (1024, ONE_BLOCK), 'share_kernel': (256, RESTART), 'share_sums_kernel': (32, ONE_BLOCK),
    'map_products_kernel': (256, RESTART), 'map_solve_kernel': (1024, ONE_BLOCK), 'project_kernel': (256, RESTART),
    'product': (256, {'what': 'what cuBLASLt refuses', 'bytes': 0, 'simple': 0}),
    'rotate_kernel': (256, memory(2 * HIDDEN, 4, 6, 'queries and keys')),
    # heads of 64, in the SASS: 64 HMMA for 16 LDSM; 48 for 20; 64 for 16 and for weights passed on in half as many steps
    'forward_kernel': (128, tensor(2, 4 * 16 / 64, 128, 'one layer, heads of 64')),
    'query_kernel': (128, tensor(3, 4 * 20 / 48, 128, 'one layer, heads of 64')),
    'key_kernel': (128, tensor(4, 4 * (16 + 8) / 64, 64, 'one layer, heads of 64')),
    'plain_forward_kernel': (128, RARE), 'plain_query_kernel': (128, RARE), 'plain_key_kernel': (128, RARE),
    'embedding_kernel': (256, memory(HIDDEN, 8, 2, '16,384 tokens')),
    'embedding_backward_kernel': (256, memory(HIDDEN, 8, 3, '16,384 tokens')),
    'embedding_pieces_kernel': (256, {'what': 'tokens that are there more than 32 times', 'bytes': 0, 'simple': 0}),
    'cross_entropy_kernel': (512, memory(TOKENS * VOCABULARY, 4, 20, '16,384 x 32,000 logits')),
    'add_mean_kernel': (1024, SMALL),
    'norm_kernel': (256, memory(HIDDEN, 10, 8, '16,384 x 2048, with what is added to it')),
    'norm_backward_kernel': (256, memory(HIDDEN, 14, 16, '16,384 x 2048')),
    'norm_columns_kernel': (1024, memory(1024 * WIDTH, 4, 2, '1024 x 2048')),
    'swiglu_kernel': (256, memory(TOKENS * INNER, 6, 20, '16,384 x 5461')),
    'swiglu_backward_kernel': (256, memory(TOKENS * INNER, 10, 30, '16,384 x 5461')),
}
SHOWN = re.compile(r'<(32|48|96|128)>|<float, |<bf16, [12]>|<2>')   # variants that the table leaves out


def usage(build):
    """{(name, architecture): (registers, shared bytes, spilled bytes)}"""
    text = ''
    for path in sorted(glob.glob(build + '/cuda/*.usage') + glob.glob(build + '/examples/pretrain/cuda/*.usage')):
        with open(path, encoding='utf-8') as f:
            text += f.read()
    found = {}
    blocks = re.split(r"Compiling entry function '", text)[1:]
    names = [b.split("'")[0] for b in blocks]
    plain = subprocess.run(['c++filt'], input='\n'.join(names), capture_output=True, text=True, check=True).stdout.split('\n')
    for block, name in zip(blocks, plain):
        name = re.sub(r'^void |\(anonymous namespace\)::|\(.*$', '', name.replace('unsigned short', 'bf16'))
        name = re.sub(r'\(int\)', '', name)
        arch = re.search(r"for '(sm_\d+)'", block).group(1)
        spilled = sum(int(n) for n in re.findall(r'(\d+) bytes spill', block.split('Used')[0]))
        used = re.search(r'Used (\d+) registers', block)
        shared = re.search(r'(\d+) bytes smem', block)
        found[name, arch] = (int(used.group(1)), int(shared.group(1)) if shared else 0, spilled)
    return found


def work_of(name):
    return MODEL.get(name) or MODEL.get(re.sub('<.*', '', name))


def warps(registers, shared, threads):
    """Warps of a multiprocessor, and what limits them."""
    of_block = threads // 32
    for_registers = REGISTERS // ((registers * 32 + 255) // 256 * 256) // of_block
    limits = [(for_registers, 'registers'), (SHARED // (shared + 1024), 'shared memory'), (THREADS // threads, 'threads'),
              (BLOCKS, 'blocks')]
    blocks, limit = min(limits, key=lambda pair: pair[0])
    return blocks * of_block, limit


def expected(work):
    """Seconds, and what they are spent on."""
    times = [(work['bytes'] / MEMORY, 'memory'), (work['simple'] / SIMPLE, 'instructions')]
    if 'mma' in work:
        times.append((work['mma'] * MMA / SMS / CLOCK, 'tensor cores'))
        times.append((work['mma'] * work['reads'] / SMS / CLOCK, 'shared memory'))
        times.append((work['cache'] / CACHE, 'second cache'))
    return max(times)


def number(x):
    return '-' if not x else '%.3g' % x if x < 1000 else '%.0f' % x


def row(name, found):
    threads, work = work_of(name)
    registers, shared, spilled = found[name, 'sm_90']
    on, limit = warps(registers, shared, threads)
    other = found.get((name, 'sm_80'))
    spills = spilled + (other[2] if other else 0)
    seconds, bound = expected(work)
    return '| `%s` | %d | %s | %d | %s | %d, %s | %s | %s | %s | %s | %s |' % (
        name, threads, '%d / %d' % (other[0], registers) if other else registers, shared, spills or '-', on, limit,
        work['what'], number(work['bytes'] * 1e-6), number((work['simple'] + 4096 * work.get('mma', 0)) * 1e-9),
        bound if seconds else '-', number(seconds * 1e6))


def table(found):
    names = sorted({name for name, arch in found if arch == 'sm_90'})
    unknown = [n for n in names if not work_of(n)]
    if unknown:
        sys.exit('kernels.py: no model of ' + ', '.join(unknown))
    gone = [n for n in MODEL if not any(m == n or m.startswith(n + '<') for m in names)]
    if gone:
        sys.exit('kernels.py: a model of kernels that are not there: ' + ', '.join(gone))
    head = '| kernel | threads | registers, sm_80 / sm_90 | shared bytes | spilled bytes | warps, limited by | work | MB | 1e9 operations | bound by | expected us |'
    return [head, '|---' * 11 + '|'] + [row(n, found) for n in names if not SHOWN.search(n)]


def release_of(nvcc):
    said = subprocess.run([nvcc, '--version'], capture_output=True, text=True, check=True).stdout
    return re.search(r'release ([\d.]+)', said).group(1)


def main():
    release, build, document = release_of(sys.argv[1]), *sys.argv[2:4]
    found = usage(build)
    if not found:
        sys.exit('kernels.py: no *.usage in ' + build)
    with open(document, encoding='utf-8') as f:
        text = f.read()
    begin, end = '<!-- kernels: test/cuda_module/kernels.py -->\n', '<!-- end of kernels -->'
    before, rest = text.split(begin)
    old, after = rest.split(end)
    new = 'Compiled by nvcc %s.\n\n' % release + '\n'.join(table(found)) + '\n'
    kept = re.match(r'Compiled by nvcc ([\d.]+)\.', old)
    if len(sys.argv) > 4:
        with open(document, 'w', encoding='utf-8') as f:
            f.write(before + begin + new + end + after)
    elif kept and kept.group(1) != release:
        print('left out: the table is of nvcc %s, this one is %s' % (kept.group(1), release))
        return
    elif old != new:
        for a in sorted(set(new.split('\n')) ^ set(old.split('\n'))):
            print(('build:    ' if a in new else document + ': ') + a)
        sys.exit('%s and the build disagree: make cuda-kernel-table writes its table anew' % document)
    print('%d kernels, %s' % (len({n for n, _ in found}), document))


main()
