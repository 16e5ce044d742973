"""report.py RUNS RESULTS: write the page of results and its pictures from the recorded runs. No number is put in by hand."""

import os
import subprocess
import sys

import arms
import downstream
import fetch
import plan
import plot
import stats

HEAD = '''# Results

This page and its pictures are written by `make study` from the recorded runs, [runs.jsonl](%(runs)s). Each line there is one
run with its options, so `pretrain` repeats it. [The study](%(study)s) says how to add runs.
A loss is the validation loss in nats per byte, of the same windows in the last tenth of the text. After ± stands the standard
error of the mean over seeds. A difference is the mean of the differences between runs with the same seed, hence the same
batches and, in nets of one shape, the same first weights. With five seeds the truth is within 2.8 such errors in 95 %% of
cases, with two seeds only within 12.7, so two seeds give a hint. The number of comparisons is not corrected for.
'''


def number(mean, form='%.4f'):
    """With its error if there is one."""
    if mean is None:
        return ''
    return form % mean.value + (' ± ' + form.replace('+', '') % mean.error if mean.error is not None else '')


def difference(mean):
    return number(mean, '%+.4f')


def table(head, rows):
    return ['| %s |' % ' | '.join(head), '|%s|' % '|'.join('---' for _ in head), *('| %s |' % ' | '.join(map(str, row)) for row in rows), '']


def picture(folder, name, panels, text):
    path = os.path.join(folder, 'results-%s.png' % name)
    if plot.draw(path, panels):
        return ['![%s](%s)' % (text, os.path.basename(path)), '']
    return []


def machines(lines):
    """Which processors the runs were made on."""
    found = {}
    for line in lines:
        found[line['processor']] = found.get(line['processor'], 0) + 1
    return '; '.join('%d runs on %s' % (count, name) for name, count in sorted(found.items())) or 'no runs yet'


def title(arm):
    return arms.ARMS[arm].title


def restarts(options):
    """The updates after which a run with these options restarts."""
    words = options.split()
    steps, warm, count = (int(words[words.index(name) + 1]) if name in words else 0 for name in ('--steps', '--warm-start', '--restarts'))
    cycle = (steps - warm) // (count + 1)  # what is left over is of the warm start
    return [steps - cycle * k for k in range(count, 0, -1)]


BINS_AFTER = 4  # a restart, in which a rise is looked for
HIGH = 0.25  # losses so far above the least of a sweep are named, not drawn
LOW_RANK = (*arms.RESTARTS, *arms.BEST)


class Page:
    def __init__(self, record, folder):
        self.record, self.folder, self.task = record, folder, record.task

    def lines(self, part):
        return [line for line in self.record.done.values() if line['part'] == part]

    def best(self, arm, rank=0, task=None):
        """The runs of an arm at the rate that is best over all seeds, of the rates with the most seeds."""
        runs = [self.record.get(name, rank, task) for name in arms.AT_RATES.get(arm, (arm,))]
        most = max(map(len, runs))
        return min((found for found in runs if len(found) == most), key=lambda found: sum(run['val_loss'] for run in found.values()))

    def full(self, task=None):
        """One seed chose the rate of every other arm."""
        return self.best('full', 0, task)

    def headline(self):
        """The table of README.md."""
        full, rows = self.full(), []
        for arm in ('full', 'lora', 'relora', 'cold-1'):
            ranks = {rank: self.best(arm, rank) if rank else full if arm == 'full' else {} for rank in (0, *sorted(arms.RANKS, reverse=True))}
            losses = [stats.mean(run['val_loss'] for run in runs.values()) for runs in ranks.values()]
            shown = ranks[8] or ranks[0]
            if shown:
                line = next(iter(shown.values()))
                rows.append([title(arm), *(('%s (%d)' % (number(m, '%.3f'), m.count) if m else '') for m in losses),
                             '%.1f' % (line['moments_bytes'] / line['parameters'])])
        ranks = ['rank %d' % rank for rank in sorted(arms.RANKS, reverse=True)]
        return ['## In short', '', 'Validation loss after %d updates, with the number of seeds; bytes of optimizer state for each parameter of the net, at '
                'rank 8. %s in all, by %s.' % (self.task.steps, machines(self.record.done.values()), '; '.join(sorted({line['version'] for line in self.record.done.values()}))),
                '', *table(['', 'full rank', *ranks, 'state'], rows)] if rows else []

    # ---- upstream ----

    def upstream(self):
        task, get = self.task, self.best
        full, rows = self.full(), []
        for rank in (0, *sorted(arms.RANKS)):
            for arm in (arms.FULL if not rank else [*LOW_RANK, 'control', 'lowrank']):
                runs = get(arm, rank) if rank else self.record.get(arm)
                if runs:
                    line = next(iter(runs.values()))
                    rows.append([title(arm), rank or '', '%g' % line['lr'], len(runs), number(stats.mean(run['val_loss'] for run in runs.values())),
                                 difference(stats.difference(runs, full)) if runs is not full else '',
                                 difference(stats.difference(runs, get('lora', rank))) if rank and arm != 'lora' else '',
                                 '{:,}'.format(line['trained']), '%.1f' % (line['moments_bytes'] / line['parameters'])])
        size = next(iter(full.values()))['parameters'] if full else 0
        warm = plan.rates(arms.Cell(task, 'full', 0), self.record.done)[1] or 'the best of full rank'
        rate = 'is that of the table of arms' if task.rates == arms.FIRST else 'is the best of its sweep with seed 1, which also counts in the mean'
        if arms.UNSWEPT:
            rate += '; ranks %s take that of rank 8, or a better one that was tried' % ' and '.join(map(str, arms.UNSWEPT))
        return ['## Upstream: full rank and low rank', '',
                '%s parameters, %d updates of %d bytes of the King James Bible, warm start %d. The learning rate of each row %s. %s.' %
                ('{:,}'.format(size), task.steps, task.batch * task.seq, task.warm_start, rate, machines(self.lines('upstream'))), '',
                'Everything that an arm trains has its one rate: A and B, embedding, head and norms. A warm start has %s. B A is multiplied by 32 / rank, '
                'with an orthonormal A by 1. There is neither dropout nor weight decay. Gradients are clipped at a norm of 1.' % warm, '',
                'Full rank is AdamW, and what is above it is above its best row. A full-rank step, beside LoRA, moves W against the orthogonalised gradient of the last batch, as Muon does '
                'but without momentum, and keeps no state.', '',
                *table(['arm', 'rank', 'rate', 'seeds', 'loss', 'above full rank', 'above LoRA', 'trained at the end', 'moments, bytes per parameter'], rows),
                *self.curves(), *self.rates()]

    def curves(self):
        task, full, panels = self.task, self.full(), []
        shown = 'set xrange [%d:%d]' % (task.warm_start, task.steps)
        for rank in sorted(arms.RANKS):
            panel = plot.Panel('rank %d' % rank, 'updates of %d bytes' % (task.batch * task.seq), 'loss above full rank', settings=shown, zero=True)
            for arm in (*LOW_RANK, 'control', 'lowrank'):
                runs = self.best(arm, rank)
                paired = {seed: runs[seed] for seed in runs if seed in full}
                points = []
                for i in range(len(next(iter(paired.values()))['eval']) if paired else 0):
                    m = stats.mean(paired[seed]['eval'][i][1] - full[seed]['eval'][i][1] for seed in paired)
                    points.append((next(iter(paired.values()))['eval'][i][0], m.value, m.error or 0))
                panel.add(arm, points)
            panels.append(panel)
        return (picture(self.folder, 'upstream', panels, 'loss above full rank during the runs, at each rank') +
                picture(self.folder, 'time', [self.against('updates', 'updates of %d bytes' % (task.batch * task.seq)),
                                              self.against('seconds', 'seconds of one processor')],
                        'loss against updates and against processor time, at rank 8') +
                picture(self.folder, 'restarts', [self.around_restarts(rank) for rank in sorted(arms.RANKS)],
                        'training loss beside that of LoRA around the restarts'))

    def against(self, what, label):
        """Means over the seeds that all arms have."""
        panel, shown = plot.Panel('rank 8', label, 'loss'), {}
        for arm in ('full', *LOW_RANK):
            runs = self.best(arm, 8) if arm != 'full' else self.full()
            if runs and any(run.get('cpu_seconds') for run in runs.values()):
                shown[arm] = runs
        common = set.intersection(*(set(runs) for runs in shown.values())) if shown else set()
        for arm, runs in shown.items():
            seconds = stats.mean(run['cpu_seconds'] for run in runs.values() if run.get('cpu_seconds')).value
            steps = [step for step, _ in next(iter(runs.values()))['eval']]
            scale = 1 if what == 'updates' else seconds / steps[-1]
            panel.add(arm, [(step * scale, stats.mean(runs[seed]['eval'][i][1] for seed in common).value)
                            for i, step in enumerate(steps) if step > steps[-1] / 5 and common])
        return panel

    def around_restarts(self, rank):
        """The batches are the same, so the difference has little noise."""
        lora, published, task = self.best('lora', rank), self.best('relora', rank), self.task
        panel = plot.Panel('rank %d; restarts as published dashed' % rank, 'updates', 'training loss above LoRA', zero=True,
                           vertical=restarts(next(iter(published.values()))['options']) if published else (), settings='set xrange [%d:%d]' % (task.warm_start, task.steps))
        for arm in LOW_RANK:
            runs = self.best(arm, rank)
            paired = [(runs[seed], lora[seed]) for seed in runs if seed in lora]
            if arm == 'lora' or not paired:
                continue
            count = len(paired[0][0]['train'])
            points = [((i + 0.5) * task.bin, stats.mean(a['train'][i] - b['train'][i] for a, b in paired).value) for i in range(count)]
            panel.add(arm, points, 'lines')
        return panel

    def rates(self):
        panels, beyond = [], []
        for rank in (0, *(rank for rank in sorted(arms.RANKS) if rank not in arms.UNSWEPT)):
            found = {arm: self.record.swept(arms.Cell(self.task, arm, rank)) for arm in (['full'] if not rank else [*LOW_RANK, 'control', 'lowrank'])}
            tried = sorted({rate for losses in found.values() for rate in losses})
            if len(tried) < 2:
                continue
            least = min(loss for losses in found.values() for loss in losses.values() if loss is not None)
            ticks = ', '.join('"%g" %g' % (rate, rate) for rate in tried)
            panel = plot.Panel('rank %d' % rank if rank else 'full rank', 'learning rate', 'loss, seed 1', log=True,
                               settings='set xtics (%s); set xrange [%g:%g]' % (ticks, tried[0] / 1.3, tried[-1] * 1.3))
            for arm, losses in found.items():
                high = sorted(rate for rate, loss in losses.items() if loss is None or loss > least + HIGH)
                beyond += ['%s at %g (%s)' % (title(arm), rate, 'died' if losses[rate] is None else '%.3f' % losses[rate]) for rate in high]
                panel.add(arm, sorted((rate, loss) for rate, loss in losses.items() if rate not in high))
            panels.append(panel)
        text = ['Too high for the picture: %s.' % '; '.join(beyond), ''] if beyond else []
        return picture(self.folder, 'rates', panels, 'the sweep of learning rates') + text

    # ---- what is asked ----

    def rise(self, arm, rank):
        """(how much the loss rises over a restart at most, the bin after it): less what it does without restarts at the same updates
        on the same batches. The climb of the rate after a restart hides a rise for a while."""
        runs, still = self.best(arm, rank), self.best('cold-1' if arm == 'cold-restarts' else 'lora', rank)
        pairs = [(runs[seed], still[seed]) for seed in runs if seed in still]
        places = [update // run['bin'] for run, _ in pairs[:1] for update in restarts(run['options'])]

        def mean(later):
            return stats.mean(sum(a['train'][i + later] - a['train'][i - 1] - b['train'][i + later] + b['train'][i - 1] for i in places) / len(places)
                              for a, b in pairs)
        bins = min(BINS_AFTER, len(pairs[0][0]['train']) - places[-1]) if places else 0
        return max(((mean(later), later) for later in range(bins)), key=lambda found: found[0].value, default=None)

    def verdict(self):
        rows, full = [], self.full()
        for rank in sorted(arms.RANKS):
            published = self.best('relora', rank)
            for arm in LOW_RANK:
                runs = self.best(arm, rank)
                far = stats.difference({seed: published[seed] for seed in runs if seed in published}, full)
                if not far:
                    continue
                below, rise = stats.difference(runs, published), self.rise(arm, rank)
                near, line, other = stats.difference(runs, full), next(iter(runs.values())), next(iter(published.values()))
                rows.append([title(arm), rank, below.count if below else 0, '' if arm == 'relora' else difference(below),
                             '%+.1f' % (below.value / below.error) if below and below.error else '',
                             '%.2f' % (near.value / far.value) if near else '', difference(rise[0]) if rise else '',
                             '%d to %d' % (rise[1] * self.task.bin, (rise[1] + 1) * self.task.bin) if rise else '',
                             '%.2f' % (line['moments_bytes'] / other['moments_bytes'])])
        head = ['arm', 'rank', 'pairs', 'above the published recipe', 'in standard errors', 'share of its distance to full rank',
                'highest rise over a restart', 'updates after it', 'moments, share of its bytes']
        return ['## Beside the published recipe', '', 'A share of 0 in the sixth column is full rank, 1 is the published recipe, below 0 is better than '
                'full rank. The rise is that of the training loss: of %d updates after a restart less %d before it, and less the same difference without '
                'restarts (LoRA, or LoRA + full-rank steps). The highest of the first %d such means is shown.' % (self.task.bin, self.task.bin, BINS_AFTER), '',
                *table(head, rows)] if rows else []

    # ---- other parts ----

    def ablation(self):
        text = []
        for base, name, names in (('cold-1', 'LoRA + full-rank steps', arms.STEP_ABLATION), ('relora', 'the published recipe', arms.ABLATION)):
            rows, whole = [], self.record.get(base, 8)
            for arm in names:
                rank = 8 if 8 in arms.ARMS[arm].ranks else arms.ARMS[arm].ranks[0]
                runs = self.record.get(arm, rank)
                if runs and whole:
                    rows.append([title(arm), rank, '%g' % next(iter(runs.values()))['lr'], len(runs),
                                 number(stats.mean(run['val_loss'] for run in runs.values())), difference(stats.difference(runs, whole))])
            if rows:
                text += ['### %s' % (name[0].upper() + name[1:]), '', *table(['changed', 'rank', 'rate', 'seeds', 'loss', 'above ' + name], rows)]
        return ['## Ablation: one thing changed', '', 'Paired with the same recipe unchanged at rank 8. %s.' % machines(self.lines('ablation')), '',
                *text] if text else []

    def above(self, other, rank, tasks, x):
        """A panel of differences to another arm: by rank, or by the length of the run."""
        name = 'rank %d' % rank if rank else '%d updates' % self.task.steps
        panel = plot.Panel(name, 'rank' if not rank else 'updates of the whole run', 'loss above %s' % x, log=True, zero=True)
        for arm in LOW_RANK:
            points = []
            for task, r in tasks:
                m = stats.difference(self.best(arm, r, task), self.best(other, r if other != 'full' else 0, task))
                points += [(task.steps if rank else r, m.value, m.error or 0)] if m else []
            panel.add(arm, points if len(points) > 1 and arm != other else [])
        return panel

    def crossing(self):
        by_rank = [(self.task, rank) for rank in sorted(arms.RANKS)]
        panels = [self.above(other, 0, by_rank, x) for other, x in (('lora', 'LoRA'), ('full', 'full rank'))]
        for panel in panels:
            panel.settings = 'set xtics (%s); set xrange [%g:%g]' % (', '.join(map(str, sorted(arms.RANKS))), min(arms.RANKS) / 1.3, max(arms.RANKS) * 1.3)
        longer = [self.above(other, rank, [(task, rank) for task in (self.task, *arms.LONG)], x)
                  for rank in sorted(arms.RANKS) for other, x in (('lora', 'LoRA'), ('full', 'full rank'))]
        steps = [task.steps for task in (self.task, *arms.LONG)]
        for panel in longer:
            panel.settings = 'set xtics (%s); set xrange [%g:%g]' % (', '.join(map(str, steps)), steps[0] / 1.3, steps[-1] * 1.3)
        if not any(panel.series for panel in panels + longer):
            return []
        return ['## Where restarts begin to pay', '', 'ReLoRA against LoRA, by rank and by the length of the run. Longer runs have the rates of the base task, or the best of those in the table; full rank, the best of up to three. %s.' %
                machines(self.lines('upstream') + self.lines('length')), '',
                *self.lengths(),
                *picture(self.folder, 'ranks', panels, 'differences to LoRA and to full rank, by rank'),
                *picture(self.folder, 'length', longer, 'differences to LoRA and to full rank, by the length of the run')]

    def lengths(self):
        rows = []
        for task, rank in ((task, rank) for task in (self.task, *arms.LONG) for rank in sorted(arms.RANKS, reverse=True)):
            lora = self.best('lora', rank, task)
            for arm in (*arms.LORA, *arms.RELORA, *arms.COLD, 'cold-restarts'):
                runs = self.record.get(arm, rank, task)
                if runs and lora:
                    rows.append(['{:,}'.format(task.steps), rank, title(arm), '%g' % next(iter(runs.values()))['lr'], len(runs),
                                 number(stats.mean(run['val_loss'] for run in runs.values())),
                                 difference(stats.difference(runs, lora)) if runs is not lora else '',
                                 difference(stats.difference(runs, self.full(task)))])
        return table(['updates', 'rank', 'arm', 'rate', 'seeds', 'loss', 'above LoRA', 'above full rank'], rows) if rows else []

    def at_size(self, arm, task):
        """The recorded runs of an arm on a task of any size at the best of all rates tried, of those with the most seeds."""
        tried = {}
        for line in self.lines('scaling'):
            if line['task'] == task.name and line['arm'] in arms.AT_RATES.get(arm, (arm,)) and line['val_loss'] is not None:
                tried.setdefault(line['options'].rpartition(' --seed')[0], {})[line['seed']] = line
        most = max(map(len, tried.values()), default=0)
        best = [runs for runs in tried.values() if len(runs) == most]
        return min(best, key=lambda runs: stats.mean(map(plan.loss, runs.values())).value, default={}), len(tried)

    def scaling(self):
        """Loss against parameters, with the power law L = E + a N^-b where there are enough sizes."""
        both, rows = [plot.Panel('', 'parameters', 'loss', log=True), plot.Panel('', 'trained parameters', 'loss', log=True)], []
        for arm in arms.SCALED:
            points = [[], []]
            for task in arms.SCALING:
                runs, tried = self.at_size(arm, task)
                if runs:
                    loss, line = stats.mean(map(plan.loss, runs.values())), next(iter(runs.values()))
                    above = stats.difference(runs, self.at_size('full', task)[0], 'held_out') if arm != 'full' else None
                    points[0].append((line['parameters'], loss.value))
                    points[1].append((line['trained'], loss.value))
                    rows.append([title(arm), '{:,}'.format(line['parameters']), '{:,}'.format(line['trained']), '%g' % line['lr'], tried,
                                 len(runs), number(loss), difference(above)])
            for panel, found in zip(both, points):
                panel.add(arm, found if len(found) > 1 else [])
        if not rows:
            return []
        laws = [(arm, points, stats.power_law(points)) for arm, points, _ in both[0].series]
        laws = [[title(arm), len(points), *('%.3g (%.3g to %.3g)' % values for values in law)] for arm, points, law in laws if law]
        return ['## Scaling', '', 'In BF16, about 20 bytes for each parameter, rank an eighth of the width. Learning rates are swept at %s; other sizes '
                'have its best ones, or better ones that were tried. The loss is that of the trained net on the same 2 MB of other text for each size. %s.' %
                (arms.SWEPT.name, machines(self.lines('scaling'))), '',
                *table(['arm', 'parameters', 'trained', 'rate', 'rates tried', 'seeds', 'loss', 'above full rank'], rows),
                *picture(self.folder, 'scaling', both, 'loss against parameters, all and trained'),
                *(table(['arm', 'sizes', 'E', 'a', 'b of E + a N^-b, with bands of 90 %'], laws) if laws else [])]

    def fine_tuned(self):
        """{(set, way, arm): runs by seed at the best rate, of those with the most seeds}"""
        found = {}
        for line in self.lines('downstream'):
            found.setdefault((line['task'], line['way'], line['arm']), {}).setdefault(line['lr'], {})[line['seed']] = line
        return {key: max(rates.values(), key=lambda runs: (len(runs), stats.mean(run['accuracy'] for run in runs.values()).value))
                for key, rates in found.items()}

    def downstream(self):
        rows = []
        for (data, way, arm), runs in sorted(self.fine_tuned().items()):
            name = {'random': 'not trained before', 'bag': 'counts of bytes, logistic regression'}.get(arm) or title(arm)
            way = {'full': 'in full rank', 'lora': 'by LoRA', '': ''}[way]
            rows.append([data, name, way, '%g' % next(iter(runs.values()))['lr'] if way else '', len(runs),
                         number(stats.mean(100 * run['accuracy'] for run in runs.values()), '%.1f')])
        return ['## Downstream: fine-tuning on labelled texts', '', 'Nets of rank 8, fine-tuned on questions (trec, 6 classes) and on definitions of nouns '
                '(wordnet, 26 classes), seed by seed. Each net has the rate that is best with seed 1 on the same texts, or the best of those with five seeds. Accuracy in %% on a held-out fifth. %s.' %
                machines(self.lines('downstream')), '',
                *table(['set', 'first weights', 'fine-tuned', 'rate', 'seeds', 'accuracy, %'], rows)] if rows else []

    def spectrum(self):
        rows, panels = [], []
        for rank in sorted(arms.RANKS):
            panel = plot.Panel('rank %d' % rank, 'number of the singular value', 'share of the largest', settings='set logscale y; set yrange [1e-4:1]; set xrange [0:64]')
            for arm in arms.SPECTRUM:
                runs = self.record.get(arm, 0 if arm == 'full' else rank)
                line = next((line for line in runs.values() if 'spectrum' in line), None)
                if not line:
                    continue
                kinds = line['spectrum'].values()
                values = [stats.mean(kind['values'][i] / kind['values'][0] for kind in kinds).value
                          for i in range(min(len(kind['values']) for kind in kinds))]
                panel.add(arm, [(i + 1, max(value, 1e-5)) for i, value in enumerate(values)], 'lines')
                if arm != 'full' or rank == min(arms.RANKS):
                    rows.append([title(arm), '' if arm == 'full' else rank, '%g' % line['lr'], *('%.1f' % stats.mean(kind[key] for kind in kinds).value
                                                                             for key in ('stable', 'effective')),
                                 sum(value > 0.1 for value in values), sum(value > 0.01 for value in values)])
            panels += [panel] if len(panel.series) > 1 else []
        if not rows:
            return []
        return ['## Spectrum of what was learned', '',
                'Singular values of W + s B A at the end less the same after %d updates, where a warm start ends; seed %d, means over all projections. The stable rank is the '
                'sum of squares over the largest square. The effective rank is the exponential of the entropy of the values. A projection has %d '
                'singular values. %s.' % (self.task.warm_start, 2, 64, machines(line for line in self.record.done.values() if 'spectrum' in line)), '',
                *table(['arm', 'rank', 'rate', 'stable rank', 'effective rank', 'values above 0.1 of the largest', 'above 0.01'], rows),
                *picture(self.folder, 'spectrum', panels, 'singular values of the learned update')]

    def cost(self):
        rows = []
        for arm, rank in [('full', 0), *((arm, rank) for rank in sorted(arms.RANKS) for arm in (*LOW_RANK, 'control', 'lowrank'))]:
            timed = [run for run in self.record.get(arm, rank).values() if run.get('cpu_seconds')]
            if timed:
                rows.append([title(arm), rank or '', '{:,}'.format(timed[0]['trained']), '{:,}'.format(timed[0]['moments_bytes']),
                             '%.0f' % max(run['peak_mb'] for run in timed if 'peak_mb' in run) if any('peak_mb' in run for run in timed) else 'not measured',
                             number(stats.mean(run['tokens'] / run['cpu_seconds'] / 1000 for run in timed), '%.1f'),
                             '%.0f' % stats.mean(run['load'] for run in timed).value])
        return ['## Cost', '', 'Memory is the peak of the process, which with a warm start is that of full rank. Thousands of tokens for each second of '
                'processor time, evaluations included. Other programs ran beside these runs where the load is above the number of processors; '
                'they share caches, so only rows of like load compare. %s.' % machines(self.lines('upstream')), '',
                *table(['arm', 'rank', 'trained at the end', 'bytes of moments', 'peak, MB', 'thousand tokens/s', 'load'], rows)] if rows else []

    def missing(self):
        rows = [[part, title(cell.arm), cell.rank or '', cell.task.name, '%d of %d' % (done, wanted)]
                for part, cell, done, wanted in self.record.missing()]
        if not any(stage.part == 'downstream' for stage in self.record.stages):
            return self.not_done(rows)
        found = self.fine_tuned()
        for data in fetch.CLASSES:
            for init in downstream.INITS:
                for way in downstream.ways(init):
                    seeds = len(found.get((data, way, init), ()))
                    if seeds < downstream.SEEDS:
                        rows.append(['downstream', init, '', '%s, %s' % (data, way), '%d of %d' % (seeds, downstream.SEEDS)])
        return self.not_done(rows)

    @staticmethod
    def not_done(rows):
        return ['## Not done', '', *(table(['part', 'arm', 'rank', 'task', 'seeds recorded'], rows) if rows else ['Every run of the table is recorded.', ''])]


def main(path, results, quick=False):
    folder = os.path.dirname(results)
    page = Page(stats.Record(plan.read(path), arms.QUICK if quick else arms.STAGES), folder)
    relative = {'runs': os.path.relpath(path, folder), 'study': os.path.relpath(os.path.join(os.path.dirname(__file__), 'README.md'), folder)}
    parts = (page.headline, page.upstream, page.verdict, page.ablation, page.crossing, page.spectrum, page.scaling, page.downstream, page.cost, page.missing)
    text = '\n'.join([HEAD % relative, *(line for part in parts for line in part())])
    with open(results + '.new', 'w') as file:
        file.write(text.rstrip('\n') + '\n')
    os.replace(results + '.new', results)
    print('%s is written' % results)


if __name__ == '__main__':
    try:
        main(sys.argv[1], sys.argv[2], '--quick' in sys.argv)
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit('study: %s' % error)
