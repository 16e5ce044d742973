"""Open an exported folder with Hugging Face transformers and compare its logits with ours.

usage: compare.py LOGITS_PROGRAM FOLDER...     (make check-transformers does it; needs torch and transformers)
"""
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM

TEXT = b'In the beginning God created the heaven and the earth. And the earth was without form'


def ours(program, folder, config, tokens):
    arguments = [config[k] for k in ('vocab_size', 'hidden_size', 'intermediate_size', 'num_attention_heads',
                                     'num_hidden_layers', 'torch_dtype')]
    out = subprocess.run([program, folder, *map(str, arguments), *map(str, tokens)], check=True,
                         stdout=subprocess.PIPE)
    return torch.tensor([float(line) for line in out.stdout.split()])


def compare(program, folder):
    with open(folder + '/config.json') as file:
        config = json.load(file)
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    worst = 0.0
    for length in (1, 2, 17, len(TEXT)):
        tokens = [t % config['vocab_size'] for t in TEXT[:length]]
        with torch.no_grad():
            theirs = model(torch.tensor([tokens])).logits[0, -1]
        worst = max(worst, (theirs - ours(program, folder, config, tokens)).abs().max().item())
    bound = 1e-4 if config['torch_dtype'] == 'float32' else 0.1  # our BF16 activations are rounded
    print('%s: %s, largest difference of a logit %.2e (allowed %.0e)'
          % (folder, config['torch_dtype'], worst, bound))
    return worst <= bound


if __name__ == '__main__':
    sys.exit(0 if all([compare(sys.argv[1], folder) for folder in sys.argv[2:]]) else 1)
