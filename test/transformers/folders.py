"""Made-up Llama folders, tiny, with random weights, each of a form that such folders are published in."""
import json
import os

import torch
from transformers import LlamaConfig, LlamaForCausalLM

LLAMA3 = {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
          'original_max_position_embeddings': 32}
SHAPE = {'vocab_size': 256, 'hidden_size': 64, 'intermediate_size': 88, 'num_hidden_layers': 2,
         'num_attention_heads': 4, 'initializer_range': 0.1, 'max_position_embeddings': 256}

# name: (what config.json has besides, how it is saved)
FORMS = {
    'f32': ({}, {}),
    'bf16': ({}, {'dtype': torch.bfloat16}),
    'f16': ({}, {'dtype': torch.float16}),
    'f64': ({}, {'dtype': torch.float64}),
    'sharded': ({}, {'max_shard_size': '60KB'}),
    'sharded_f16': ({}, {'dtype': torch.float16, 'max_shard_size': '60KB'}),
    'tied': ({'tie_word_embeddings': True}, {}),
    'gqa': ({'num_key_value_heads': 2}, {}),
    'mqa': ({'num_key_value_heads': 1}, {}),
    'rope_theta': ({'rope_theta': 500.0}, {}),
    'linear': ({'rope_scaling': {'rope_type': 'linear', 'factor': 4.0}}, {}),
    'linear_formerly': ({'rope_scaling': {'type': 'linear', 'factor': 4.0}}, {}),
    'llama3': ({'rope_theta': 100.0, 'rope_scaling': LLAMA3}, {}),
    'rope_parameters': ({'rope_parameters': dict(LLAMA3, rope_theta=100.0)}, {}),
    'head_dim': ({'head_dim': 24}, {}),
    'narrow': ({'head_dim': 8}, {}),
    'rms_norm_eps': ({'rms_norm_eps': 0.1}, {}),
    'all': ({'tie_word_embeddings': True, 'num_key_value_heads': 2, 'head_dim': 24, 'rms_norm_eps': 1e-5,
             'rope_theta': 100.0, 'rope_scaling': LLAMA3, 'bos_token_id': 3, 'eos_token_id': [4, 5]},
            {'dtype': torch.bfloat16, 'max_shard_size': '40KB'}),
}


def make(form, folder):
    """Write one. Its config.json has the keys of published files, not those of this release of transformers."""
    extra, saving = FORMS[form]
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, **extra)).eval()
    for name, weight in model.named_parameters():
        if 'norm' in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    saving = dict(saving)
    model.to(saving.pop('dtype', torch.float32)).save_pretrained(folder, **saving)
    path = os.path.join(folder, 'config.json')
    with open(path) as file:
        config = json.load(file)
    if 'rope_parameters' not in extra:
        config.pop('rope_parameters', None)
        config.update({key: extra[key] for key in ('rope_theta', 'rope_scaling') if key in extra})
    with open(path, 'w') as file:
        json.dump(config, file, indent=2)
