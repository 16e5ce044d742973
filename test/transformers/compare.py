"""The model of examples/pretrain beside Hugging Face transformers: logits of the folders it exported, and of
folders of every form that transformers made, before and after they went through the program.

usage: compare.py LOGITS_PROGRAM PRETRAIN_PROGRAM WORK EXPORTED...
(make check-transformers does it; needs torch and transformers)
"""
import json
import os
import shutil
import subprocess
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM

import folders

transformers.utils.logging.disable_progress_bar()

TEXT = b'In the beginning God created the heaven and the earth. And the earth was without form'


def tokens_of(length, config):
    return [t % config['vocab_size'] for t in TEXT[:length]]


def config_of(folder):
    with open(folder + '/config.json') as file:
        return json.load(file)


def ours(program, folder, dtype, tokens):
    out = subprocess.run([program, folder, dtype, *map(str, tokens)], check=True, stdout=subprocess.PIPE)
    lines = [line for line in out.stdout.decode().splitlines() if ' ' not in line]
    return torch.tensor([float(line) for line in lines])


def theirs(folder, lengths):
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    config = config_of(folder)
    with torch.no_grad():
        return [model(torch.tensor([tokens_of(n, config)])).logits[0, -1] for n in lengths]


def compare(program, folder, dtype):
    lengths = (1, 2, 17, len(TEXT))
    config = config_of(folder)
    worst = max((want - ours(program, folder, dtype, tokens_of(n, config))).abs().max().item()
                for n, want in zip(lengths, theirs(folder, lengths)))
    bound = 1e-4 if dtype == 'f32' else 0.1  # our BF16 activations are rounded
    print('%s: %s, largest difference of a logit %.2e (allowed %.0e)' % (folder, dtype, worst, bound))
    return worst <= bound


def pretrain(program, *options):
    out = subprocess.run([program, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if out.returncode:
        sys.exit('%s: %s' % (' '.join(options), out.stdout.decode()))


# Through the program without training, to the same logits; keys that say how it computes come out as they were.
def passes(program, folder, work):
    copy = folder + '-copy'
    pretrain(program, '--init', folder, '--data', 'README.md', '--method', 'full', '--steps', '1', '--warmup', '1',
             '--lr', '1e-30', '--seq', '32', '--batch', '1', '--accumulate', '1', '--eval-batches', '1', '--sample',
             '0', '--out', work, '--export', copy)
    before, after = config_of(folder), config_of(copy)
    for config in (before, after):
        for key in ('dtype', 'torch_dtype', 'transformers_version', 'max_position_embeddings'):
            config.pop(key, None)
    same = all(torch.equal(a, b) for a, b in zip(theirs(folder, (1, 85)), theirs(copy, (1, 85))))
    if not same or before != after:
        print('%s: another model than that of --init: %s, %s' % (copy, before, after))
    return same and before == after


# A few updates with a restart, from it; and the logits of that.
def trains(logits, program, folder, dtype, work):
    trained = folder + '-trained-' + dtype
    pretrain(program, '--init', folder, '--data', 'README.md', '--dtype', dtype, '--steps', '8', '--warm-start', '2',
             '--restarts', '1', '--seq', '32', '--batch', '2', '--accumulate', '1', '--eval-batches', '1', '--sample',
             '0', '--out', work, '--export', trained)
    return compare(logits, trained, dtype)


def main(logits, program, work, *exported):
    good = [compare(logits, folder, 'f32' if config_of(folder)['torch_dtype'] == 'float32' else 'bf16')
            for folder in exported]
    for form in folders.FORMS:
        folder = os.path.join(work, form)
        for old in (folder, folder + '-copy', folder + '-trained-f32', folder + '-trained-bf16'):
            shutil.rmtree(old, ignore_errors=True)
        folders.make(form, folder)
        good += [compare(logits, folder, 'f32'), passes(program, folder, work),
                 trains(logits, program, folder, 'f32', work), trains(logits, program, folder, 'bf16', work)]
    return all(good)


if __name__ == '__main__':
    sys.exit(0 if main(*sys.argv[1:]) else 1)
