"""Fine-tuning of the trained nets on labelled texts (fetch.py), in full rank and by LoRA, beside a net that was never
trained and a baseline that knows no order (bag.py)."""

import os

import arms
import fetch
import plan

LONGEST = {'trec': 64, 'wordnet': 96}  # bytes that are read of a text
INITS = ('full', 'cold-1', 'lora', 'relora', 'random')  # arms at rank 8 of the base task; random: none of them
RANK = 8
WAYS = {  # and the rates to begin with
    'full': ('--method full --lr {rate:g}', (1e-3, 2e-3)),
    'lora': ('--method lora --warm-start 0 --rank 8 --lora-lr {rate:g}', (1e-3, 2e-3)),
}
STEPS, BATCH = 600, 16
SEEDS = arms.SEEDS


def net(init, seed, done, folder):
    """The folder of a trained net, from `folder` on; '' for random; None if it is not there."""
    if init == 'random':
        return ''
    runs, _ = plan.runs_of('', arms.Cell(arms.BASE, init, RANK if init != 'full' else 0), SEEDS, done)
    for run in runs:
        path = os.path.join(run.name, 'model')
        if run.line['seed'] == seed and run.options in done and os.path.exists(os.path.join(folder, path, 'model.safetensors')):
            return path
    return None


def make(data, way, init, rate, seed, path):
    """One run; the first weights are those of `path`."""
    first = '--init %s' % path if path else '%s --init-std 0.05' % arms.BASE.shape
    files = '--data {0}-train.tsv --val-data {0}-test.tsv --classify {1}'.format(data, fetch.CLASSES[data])
    options = ('%s %s %s --steps %d --batch %d --accumulate 1 --seq %d --eval-every %d --eval-batches 20 --beta2 0.99 --dropout 0 --seed %d' %
               (files, first, WAYS[way][0].format(rate=rate), STEPS, BATCH, LONGEST[data], STEPS // 6, seed))
    line = {'part': 'downstream', 'task': data, 'arm': init, 'way': way, 'rank': RANK, 'lr': rate, 'seed': seed}
    return plan.Run(line, options, STEPS * BATCH * LONGEST[data], STEPS, 25, '%s-%s-%s-lr%g-s%d' % (data, way, init, rate, seed))


def bag(data):
    options = 'bag %s-train.tsv %s-test.tsv %d' % (data, data, fetch.CLASSES[data])
    line = {'part': 'downstream', 'task': data, 'arm': 'bag', 'way': '', 'rank': 0, 'lr': 0, 'seed': 1}
    return plan.Run(line, options, 0, 0, 25, data + '-bag')


def ways(init):
    """A net that was not trained has nothing that is worth freezing."""
    return ('full',) if init == 'random' else tuple(WAYS)


def swept(data, way, init, done, folder):
    """Runs of seed 1 that the sweep needs now, and the best rate or None."""
    path = net(init, 1, done, folder)
    if path is None:
        return [], None
    rates, best = plan.sweep(WAYS[way][1], lambda rate: done.get(make(data, way, init, rate, 1, path).options),
                             lambda line: -(line.get('accuracy') or 0))
    return [make(data, way, init, rate, 1, path) for rate in rates], best


def runs(done, folder):
    """All that can be done now, of a sweep what is missing: those of the first seeds first."""
    sets = [data for data in fetch.CLASSES if os.path.exists(os.path.join(folder, data + '-test.tsv'))]
    found = {data + '-bag': bag(data) for data in sets}
    for seed in range(1, SEEDS + 1):
        for data in sets:
            for init in INITS:
                for way in ways(init):
                    sweep, rate = swept(data, way, init, done, folder)
                    path = net(init, seed, done, folder)
                    chosen = [make(data, way, init, rate, seed, path)] if rate and path is not None else []
                    for run in sweep + chosen:
                        found.setdefault(run.name, run)
    return list(found.values())
