"""--init of the program of examples/pretrain: Llama folders of every form that it takes, and what it says of those
that it does not. The folders are made here, by the standard library alone; check-transformers has Hugging Face's.

usage: init.py PRETRAIN_PROGRAM [NAME]...     (make check-init does it; NAME runs only the tests so called)
       init.py PRETRAIN_PROGRAM --cuda        (on a GPU, beside the CPU)
"""
import copy
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

PROGRAM = os.path.abspath(sys.argv[1])
HIDDEN, FFN, HEADS, LAYERS, VOCAB, DIM = 32, 40, 4, 2, 256, 8
CONFIG = {'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'vocab_size': VOCAB, 'hidden_size': HIDDEN,
          'intermediate_size': FFN, 'num_hidden_layers': LAYERS, 'num_attention_heads': HEADS,
          'num_key_value_heads': HEADS, 'head_dim': DIM, 'hidden_act': 'silu', 'rms_norm_eps': 1e-5,
          'rope_theta': 10000.0, 'rope_scaling': None, 'attention_bias': False, 'mlp_bias': False,
          'attention_dropout': 0.0, 'tie_word_embeddings': False, 'max_position_embeddings': 512, 'bos_token_id': 1,
          'eos_token_id': 2, 'torch_dtype': 'float32', 'transformers_version': '4.40.0', 'use_cache': True,
          '_name_or_path': 'somebody/something', 'pad_token_id': None, 'quantization_config': None}
LLAMA3 = {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
          'original_max_position_embeddings': 64}
SHORT = ['--threads', '1', '--seq', '48', '--batch', '2', '--accumulate', '1', '--eval-every', '0', '--eval-batches',
         '2', '--sample', '0', '--data', 'text']
ONCE = SHORT + ['--method', 'full', '--steps', '1', '--warmup', '1', '--lr', '1e-30']  # which changes no weight


class Wrong(Exception):
    pass


def want(condition, *what):
    if not condition:
        raise Wrong(' '.join(map(str, what)))


# ---- folders ----

def numbers(count, size):
    """Few bits each, so that F16, BF16, F32 and F64 have all of them."""
    return [size * random.randrange(-64, 65) / 64 for _ in range(count)]


def matrix(rows, cols, size):
    return [[rows, cols], numbers(rows * cols, size)]


def weights(kv_heads=HEADS, dim=DIM):
    random.seed(3)
    t = {'model.embed_tokens.weight': matrix(VOCAB, HIDDEN, 1),
         'model.norm.weight': [[HIDDEN], [1 + x for x in numbers(HIDDEN, 0.5)]]}
    for i in range(LAYERS):
        p = 'model.layers.%d.' % i
        for norm in 'input_layernorm', 'post_attention_layernorm':
            t[p + norm + '.weight'] = [[HIDDEN], [1 + x for x in numbers(HIDDEN, 0.5)]]
        for name, rows, cols in (('self_attn.q_proj', HEADS * dim, HIDDEN),
                                 ('self_attn.k_proj', kv_heads * dim, HIDDEN),
                                 ('self_attn.v_proj', kv_heads * dim, HIDDEN),
                                 ('self_attn.o_proj', HIDDEN, HEADS * dim),
                                 ('mlp.gate_proj', FFN, HIDDEN), ('mlp.up_proj', FFN, HIDDEN),
                                 ('mlp.down_proj', HIDDEN, FFN)):
            t[p + name + '.weight'] = matrix(rows, cols, 0.5)
    t['lm_head.weight'] = matrix(VOCAB, HIDDEN, 0.25)
    return t


def encode(values, dtype):
    if dtype == 'BF16':
        return b''.join(struct.pack('<f', x)[2:] for x in values)
    return struct.pack('<%d%s' % (len(values), {'F32': 'f', 'F16': 'e', 'F64': 'd', 'I32': 'i'}[dtype]),
                       *(map(int, values) if dtype == 'I32' else values))


def write_tensors(path, tensors, dtype='F32', dtypes=()):
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for name, (shape, values) in tensors.items():
        kind = dict(dtypes).get(name, dtype)
        part = encode(values, kind)
        header[name] = {'dtype': kind, 'shape': shape, 'data_offsets': [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


def write_json(path, value):
    with open(path, 'w') as file:
        json.dump(value, file)


def read_header(path):
    with open(path, 'rb') as file:
        data = file.read()
    size = struct.unpack('<Q', data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def folder(name, tensors=None, config=None, dtype='F32', without=(), dtypes=()):
    """Made anew, with these keys in config.json besides or instead."""
    shutil.rmtree(name, ignore_errors=True)
    os.mkdir(name)
    everything = dict(CONFIG, **(config or {}))
    write_json(name + '/config.json', {k: v for k, v in everything.items() if k not in without})
    write_tensors(name + '/model.safetensors', tensors or weights(), dtype, dtypes)
    return name


def shard(name, tensors, parts=3, config=None, dtype='F32'):
    folder(name, tensors, config, dtype)
    os.remove(name + '/model.safetensors')
    index, names = {}, sorted(tensors)
    for i in range(parts):
        file = 'model-%05d-of-%05d.safetensors' % (i + 1, parts)
        part = names[i::parts]
        write_tensors(name + '/' + file, {n: tensors[n] for n in part}, dtype)
        index.update({n: file for n in part})
    write_json(name + '/model.safetensors.index.json', {'metadata': {'total_size': 1}, 'weight_map': index})
    return name


# ---- runs ----

def run(*options):
    shutil.rmtree('out', ignore_errors=True)
    return subprocess.run([PROGRAM, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
                          universal_newlines=True)


def losses(*options):
    """Of all evaluations, with every digit."""
    out = run('--out', 'out', *options)
    want(out.returncode == 0, 'status', out.returncode, out.stdout)
    with open('out/eval.csv') as file:
        return [line.split(',')[1] for line in file.read().split()[1:]]


def loss(name, *options):
    return losses('--init', name, *ONCE, *options)[0]


def says(out, *words):
    lines = [line for line in out.stdout.splitlines() if line.startswith('pretrain: ')]
    want(out.returncode not in (0, -11, -6), 'status', out.returncode, words, out.stdout)
    want(any(all(word in line for word in words) for line in lines), 'no sentence with', words, 'but', out.stdout)


def refused(name, *words, options=ONCE):
    says(run('--out', 'out', '--init', name, *options), *words)


# ---- the tests ----

def test_types():
    """The same numbers in whatever type and however many files."""
    want_loss = loss(folder('f', weights()))
    for dtype in 'BF16', 'F16', 'F64':
        want(loss(folder('f', weights(), dtype=dtype)) == want_loss, dtype)
    some = {'lm_head.weight': 'F16', 'model.norm.weight': 'F64', 'model.layers.1.mlp.up_proj.weight': 'BF16'}
    want(loss(folder('f', weights(), dtypes=some)) == want_loss, 'mixed')
    want(loss(shard('f', weights())) == want_loss, 'shards')
    want(loss(shard('f', weights(), 23, dtype='F16')) == want_loss, 'F16 shards')
    want(loss(shard('f', weights(), 1)) == want_loss, 'one shard')
    folder('f')
    want(loss('f/') == want_loss and loss('f/model.safetensors') == want_loss, 'by its file')


def test_config_means_something():
    """Each key that is taken changes the loss, alone."""
    plain = loss(folder('f'))
    for change in ({'rope_theta': 500.0}, {'rms_norm_eps': 0.1}, {'rope_scaling': {'type': 'linear', 'factor': 4}},
                   {'rope_scaling': LLAMA3}, {'num_attention_heads': 8, 'num_key_value_heads': 8, 'head_dim': 4},
                   {'rope_parameters': {'rope_type': 'default', 'rope_theta': 500.0}, 'rope_theta': None}):
        want(loss(folder('f', config=change)) != plain, change, 'made no difference')
    for change in ({'rope_scaling': {'rope_type': 'linear', 'factor': 1.0}},
                   {'rope_scaling': dict(LLAMA3, factor=1.0)}, {'rope_scaling': {'rope_type': 'default'}},
                   {'rope_parameters': {'rope_type': 'default', 'rope_theta': 10000.0}}, {'hidden_act': 'swish'},
                   {'pretraining_tp': 2}, {'torch_dtype': 'bfloat16'}):
        want(loss(folder('f', config=change)) == plain, change, 'made a difference')
    twice = {'rope_scaling': LLAMA3, 'rope_parameters': LLAMA3, 'rope_theta': None}
    want(loss(folder('f', config=twice)) == loss(folder('f', config={'rope_scaling': LLAMA3})), twice)
    absent = ('num_key_value_heads', 'head_dim', 'rope_theta', 'rope_scaling', 'attention_bias', 'mlp_bias',
              'hidden_act', 'tie_word_embeddings', 'attention_dropout', 'torch_dtype', 'architectures',
              'max_position_embeddings')
    want(loss(folder('f', without=absent)) == plain, 'without', absent)
    want(loss(folder('f', without=('rms_norm_eps',))) == loss(folder('f', config={'rms_norm_eps': 1e-6})), 'eps')


def test_grouped_heads():
    """As a model with a copy of a head of k and v for each head of q."""
    for kv_heads in 1, 2:
        few = weights(kv_heads)
        many = copy.deepcopy(few)
        for name in few:
            if 'k_proj' in name or 'v_proj' in name:
                rows, each = few[name][1], DIM * HIDDEN
                many[name] = [[HEADS * DIM, HIDDEN],
                              [x for h in range(HEADS) for x in rows[h * kv_heads // HEADS * each:][:each]]]
        want(loss(folder('f', few, {'num_key_value_heads': kv_heads})) == loss(folder('g', many)), kv_heads)


def test_head_dim():
    """Wider heads, the rest of them zeros: the same scores but for their factor, which a larger q makes up for."""
    wide, half = weights(), DIM // 2
    for name, (shape, rows) in weights().items():
        lines = [rows[i * HIDDEN:(i + 1) * HIDDEN] for i in range(HIDDEN)] if 'attn' in name else []
        zero = [0.0] * HIDDEN
        if lines and 'o_proj' not in name:  # three zeros after each number, so that it keeps its pair and its angle
            factor = 2.0 if 'q_proj' in name else 1.0
            out = []
            for h in range(HEADS):
                for part in range(2):
                    for i in range(half):
                        out += [factor * x for x in lines[h * DIM + part * half + i]]
                        out += zero * 3
            wide[name] = [[HEADS * 4 * DIM, HIDDEN], out]
        elif lines:
            out = []
            for line in lines:
                for h in range(HEADS):
                    for part in range(2):
                        for i in range(half):
                            out += [line[h * DIM + part * half + i], 0.0, 0.0, 0.0]
            wide[name] = [[HIDDEN, HEADS * 4 * DIM], out]
    a, b = loss(folder('f', wide, {'head_dim': 4 * DIM})), loss(folder('g'))
    want(abs(float(a) - float(b)) < 1e-5, a, b)


def test_tied():
    untied = weights()
    untied['lm_head.weight'] = untied['model.embed_tokens.weight']
    tied = {k: v for k, v in untied.items() if k != 'lm_head.weight'}
    head = {k: v for k, v in untied.items() if k != 'model.embed_tokens.weight'}
    yes = {'tie_word_embeddings': True}
    plain = loss(folder('f', untied))
    for name, form in (('once', tied), ('as the head', head), ('twice', untied)):
        want(loss(folder('f', form, yes)) == plain, name)
    same = losses('--init', folder('f', untied), *ONCE, '--dtype', 'bf16')
    want(same == losses('--init', folder('f', tied, yes), *ONCE, '--dtype', 'bf16'), 'bf16')
    refused(folder('f', weights(), yes), 'tie_word_embeddings', 'lm_head.weight', 'not the same')
    refused(folder('f', tied), 'lm_head.weight')


KEYS = [  # what config.json says, and words of the sentence
    ({'model_type': 'qwen2'}, ['model_type', 'qwen2']),
    ({'model_type': 'gpt2', 'n_embd': 768}, ['model_type', 'gpt2']),
    ({'model_type': 'mixtral'}, ['model_type', 'mixtral']),
    ({'model_type': 'mistral'}, ['model_type', 'mistral']),
    ({'model_type': 7}, ['model_type', '7']),
    ({'model_type': None}, ['model_type']),
    ({'architectures': ['Qwen2ForCausalLM']}, ['architectures', 'Qwen2ForCausalLM']),
    ({'architectures': ['LlamaForSequenceClassification']}, ['architectures', 'LlamaForSequenceClassification']),
    ({'hidden_act': 'gelu'}, ['hidden_act', 'gelu']),
    ({'attention_bias': True}, ['attention_bias', 'true']),
    ({'mlp_bias': True}, ['mlp_bias', 'true']),
    ({'attention_dropout': 0.1}, ['attention_dropout', '0.1']),
    ({'partial_rotary_factor': 0.5}, ['partial_rotary_factor', '0.5']),
    ({'sliding_window': 4096}, ['sliding_window', '4096']),
    ({'use_sliding_window': True}, ['use_sliding_window', 'true']),
    ({'rope_interleaved': True}, ['rope_interleaved', 'true']),
    ({'quantization_config': {'quant_method': 'gptq', 'bits': 4}}, ['quantization_config', 'gptq']),
    ({'auto_map': {'AutoModelForCausalLM': 'modeling_x.X'}}, ['auto_map', 'modeling_x']),
    ({'torch_dtype': 'float8_e4m3fn'}, ['torch_dtype', 'float8_e4m3fn']),
    ({'dtype': 'int8'}, ['dtype', 'int8']),
    ({'num_local_experts': 8}, ['num_local_experts', '8']),
    ({'embedding_multiplier': 12.0}, ['embedding_multiplier', '12']),
    ({'logits_scaling': 8.0}, ['logits_scaling', '8']),
    ({'residual_multiplier': 0.22}, ['residual_multiplier', '0.22']),
    ({'attention_multiplier': 0.0078}, ['attention_multiplier', '0.0078']),
    ({'final_logit_softcapping': 30.0}, ['final_logit_softcapping', '30']),
    ({'no_rope_layers': [1, 0]}, ['no_rope_layers', '[1,0]']),
    ({'use_qk_norm': True}, ['use_qk_norm', 'true']),
    ({'rope_scaling': {'type': 'dynamic', 'factor': 2.0}}, ['rope_scaling', 'dynamic']),
    ({'rope_scaling': {'rope_type': 'yarn', 'factor': 2.0}}, ['rope_scaling', 'yarn']),
    ({'rope_scaling': {'rope_type': 'longrope', 'short_factor': [1]}}, ['rope_scaling', 'longrope']),
    ({'rope_scaling': {'rope_type': 'linear'}}, ['rope_scaling.factor']),
    ({'rope_scaling': {'rope_type': 'linear', 'factor': 0}}, ['rope_scaling.factor', 'is 0']),
    ({'rope_scaling': {'rope_type': 'linear', 'factor': '4'}}, ['rope_scaling.factor', '"4"']),
    ({'rope_scaling': {'rope_type': 'linear', 'type': 'llama3', 'factor': 4}}, ['rope_scaling', 'two types']),
    ({'rope_scaling': {'rope_type': 'linear', 'factor': 4.0, 'beta_fast': 32}}, ['rope_scaling.beta_fast', '32']),
    ({'rope_scaling': {k: v for k, v in LLAMA3.items() if k != 'low_freq_factor'}}, ['low_freq_factor']),
    ({'rope_scaling': {k: v for k, v in LLAMA3.items() if k[:4] != 'orig'}}, ['original_max_position_embeddings']),
    ({'rope_scaling': dict(LLAMA3, low_freq_factor=4.0)}, ['low_freq_factor', 'high_freq_factor', '4']),
    ({'rope_scaling': 'linear'}, ['rope_scaling', 'linear', 'not an object']),
    ({'rope_scaling': LLAMA3, 'rope_parameters': {'rope_type': 'default'}}, ['rope_scaling', 'rope_parameters']),
    ({'rope_parameters': {'rope_type': 'default', 'rope_theta': 5.0}}, ['rope_theta', '10000', '5']),
    ({'rope_parameters': {'full_attention': {'rope_type': 'default'}}}, ['rope_parameters.full_attention']),
    ({'rope_parameters': {'type': 'default', 'partial_rotary_factor': 0.25}}, ['partial_rotary_factor', '0.25']),
    ({'rope_theta': 0}, ['rope_theta', 'is 0']),
    ({'rope_theta': '1e4'}, ['rope_theta', '"1e4"']),
    ({'rms_norm_eps': -1e-5}, ['rms_norm_eps', '-1e-5']),
    ({'tie_word_embeddings': 1}, ['tie_word_embeddings', '1']),
    ({'hidden_size': '32'}, ['hidden_size', '"32"']),
    ({'hidden_size': 32.5}, ['hidden_size', '32.5']),
    ({'hidden_size': None}, ['hidden_size']),
    ({'intermediate_size': 0}, ['intermediate_size', 'is 0']),
    ({'num_hidden_layers': -1}, ['num_hidden_layers', '-1']),
    ({'vocab_size': 1}, ['vocab_size', 'is 1']),
    ({'num_key_value_heads': 3}, ['num_key_value_heads', '3', 'num_attention_heads', '4']),
    ({'num_key_value_heads': 8}, ['num_key_value_heads', '8']),
    ({'head_dim': 7}, ['head_dim', '7']),
    ({'head_dim': None, 'num_attention_heads': 5, 'num_key_value_heads': 5}, ['hidden_size', '32', '5']),
]


def test_keys():
    weights_once = weights()
    folder('f', weights_once)
    for change, words in KEYS:
        write_json('f/config.json', dict(CONFIG, **change))
        refused('f', 'config.json', *words)
    for key in 'model_type', 'vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', \
               'num_attention_heads':
        write_json('f/config.json', {k: v for k, v in CONFIG.items() if k != key})
        refused('f', 'config.json', key)
    write_json('f/config.json', dict(CONFIG, mlp_bias=True, hidden_act='relu'))
    for word in 'mlp_bias', 'relu':  # all of them at once
        refused('f', word)


def test_no_warm_start():
    """Layers that begin in low rank have the same weights."""
    everything('f')
    for dtype in 'f32', 'bf16':
        low = SHORT + ['--dtype', dtype, '--steps', '2', '--warm-start', '0', '--lora-lr', '1e-30', '--lr', '1e-30']
        for method in 'lora', 'relora':
            got = losses('--init', 'f', *low, '--method', method, '--restarts', '0', '--export', 'e')[-1]
            want(got == loss('f', '--dtype', dtype), method, dtype, got)
        want(loss('e', '--dtype', dtype) == got, 'exported')


def test_tensors():
    t = weights()
    up = 'model.layers.1.mlp.up_proj.weight'
    refused(folder('f', {k: v for k, v in t.items() if k != up}), 'no ' + up)
    refused(folder('f', {k: v for k, v in t.items() if 'layers.1.' not in k}), 'and 8 other tensors')
    bias = dict(t, **{'model.layers.0.self_attn.q_proj.bias': [[HIDDEN], [0.5] * HIDDEN]})
    refused(folder('f', bias), 'no place for model.layers.0.self_attn.q_proj.bias')
    refused(folder('f', t, {'num_hidden_layers': 1}), 'no place for model.layers.1.')
    refused(folder('f', t, {'num_hidden_layers': 3}), 'no model.layers.2.')
    refused(folder('f', t, {'num_key_value_heads': 2}), 'k_proj', '[16, 32]', '[32, 32]')
    refused(folder('f', t, dtypes={up: 'I32'}), up, 'I32')
    for value, word in ((float('nan'), 'NaN'), (float('inf'), 'infinity')):
        bad = dict(t, **{up: [t[up][0], t[up][1][:40] + [value] + t[up][1][41:]]})
        refused(folder('f', bad), up, word, '[1, 8]')
    bad = dict(t, **{up: [t[up][0], [1e300] + t[up][1][1:]]})
    refused(folder('f', bad, dtype='F64'), up)  # an infinity of F32
    old = dict(t)
    for i in range(LAYERS):
        old['model.layers.%d.self_attn.rotary_emb.inv_freq' % i] = [[DIM // 2], [1.0] * (DIM // 2)]
    want(loss(folder('f', old)) == loss(folder('g', t)), 'inv_freq')
    refused(folder('f', t), 'lowrank', options=SHORT + ['--method', 'lowrank', '--steps', '2'])


def test_files():
    lfs = 'version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 98765\n'
    html = '<!DOCTYPE html><html><body>Entry not found</body></html>'
    for text, word in ((lfs, 'Git LFS'), (html, 'HTML'), ('', 'safetensors'), ('{}', 'safetensors')):
        for config in True, False:
            folder('f')
            with open('f/model.safetensors', 'w') as file:
                file.write(text)
            if not config:
                os.remove('f/config.json')
            refused('f', 'f/model.safetensors' if config or len(text) > 2 else 'config.json',
                    word if config or len(text) > 2 else 'no config.json')
    for file, words in (('config.json', ['config.json']), ('model.safetensors.index.json', ['index.json']),
                        ('model-00002-of-00003.safetensors', ['00002'])):
        for text, word in ((lfs, 'Git LFS'), (html, 'HTML')):
            shard('f', weights())
            with open('f/' + file, 'w') as out:
                out.write(text)
            refused('f', word, *words)
    for text, word in (('{"a": ', 'line 1'), ('[1]', 'not a JSON object'), ('', 'not JSON'), ('{"a": NaN}', 'not JSON'),
                       ('{"hidden_size": 1, "hidden_size": 2}', 'duplicate')):
        folder('f')
        with open('f/config.json', 'w') as file:
            file.write(text)
        refused('f', 'f/config.json', word)
    folder('f')
    os.remove('f/config.json')
    refused('f', 'no config.json')
    refused('f/model.safetensors', 'no config.json')
    refused('nowhere', 'nowhere', 'no such')
    folder('f')
    os.rename('f/model.safetensors', 'f/pytorch_model.bin')
    refused('f', 'model.safetensors.index.json', 'pytorch_model.bin')


def test_false_shapes():
    """Found before a model of such a shape is made, which takes long or more memory than there is."""
    for key, value, words in (('hidden_size', 1 << 20, ['model.embed_tokens.weight', '[256, 32]', '[256, 1048576]', 'config.json']),
                              ('hidden_size', 16, ['[256, 32]', '[256, 16]']), ('vocab_size', 1 << 24, ['[256, 32]', '[16777216, 32]']),
                              ('intermediate_size', 1 << 22, ['gate_proj', ', 32]', '[4194304, 32]']),
                              ('num_hidden_layers', 1 << 14, ['no model.layers.2.'])):
        refused(folder('f', config={key: value}), *words, options=ONCE + (['--vocab', str(value)] if key == 'vocab_size' else []))
    t = weights()
    norm = 'model.norm.weight'
    for shape in ([1, HIDDEN], [HIDDEN, 1, 1], [HIDDEN // 2]):
        refused(folder('f', dict(t, **{norm: [shape, t[norm][1][:math.prod(shape)]]})), norm, '[%d' % shape[0], 'has [32]')


def test_pipes():
    """Nobody writes to them."""
    for name in 'config.json', 'model.safetensors', 'model.safetensors.index.json':
        folder('f')
        if name in os.listdir('f'):
            os.remove('f/' + name)
        if 'index' in name:
            os.remove('f/model.safetensors')
        os.mkfifo('f/' + name)
        refused('f', name, 'regular file')


def test_index():
    t = weights()
    index = 'f/model.safetensors.index.json'
    shard('f', t)
    os.remove('f/model-00002-of-00003.safetensors')
    refused('f', 'model-00002-of-00003.safetensors', 'not in the folder')
    shard('f', t)
    names = json.load(open(index))['weight_map']
    for broken in {}, {'weight_map': {}}, {'weight_map': 3}:
        write_json(index, broken)
        refused('f', 'weight_map')
    for file in 'model-00001-of-00003.safetensors', 'gone.safetensors', '../f/x.safetensors', '5':
        write_json(index, {'weight_map': dict(names, extra=json.loads(file) if file == '5' else file)})
        refused('f', 'extra', file)
    write_json(index, {'weight_map': {k: v for k, v in names.items() if '00003-of' not in v}})
    refused('f', 'there is no')
    shard('f', t)
    write_tensors('f/model-00001-of-00003.safetensors', t)
    refused('f', 'in two of its files')


def test_size_and_vocabulary():
    refused(folder('f'), '--size demo', 'hidden_size', '128', '32', options=ONCE + ['--size', 'demo'])
    refused('f', '--vocab is 300', 'vocab_size', '256', options=ONCE + ['--vocab', '300'])
    large = weights()
    for name in 'model.embed_tokens.weight', 'lm_head.weight':
        large[name] = matrix(1000, HIDDEN, 0.25)
    folder('f', large, {'vocab_size': 1000})
    refused('f', 'text', 'bytes', 'vocab_size', '1000')
    loss('f', '--vocab', '1000')  # somebody says that bytes will do
    with open('tokens.bin', 'wb') as file:
        file.write(struct.pack('<20000H', *(i * i % 1000 for i in range(20000))))
    tokens = ['tokens.bin' if option == 'text' else option for option in ONCE]
    losses('--init', 'f', *tokens)
    with open('tokens.bin', 'ab') as file:
        file.write(struct.pack('<H', 1000))
    refused('f', 'tokens.bin', '1000', options=tokens)


EVERYTHING = {'num_key_value_heads': 2, 'head_dim': 12, 'rms_norm_eps': 1e-4, 'rope_theta': 300.0,
              'rope_scaling': LLAMA3, 'tie_word_embeddings': True, 'eos_token_id': [2, 3], 'torch_dtype': 'float16'}


def everything(name):
    tensors = weights(2, 12)
    del tensors['lm_head.weight']
    return shard(name, tensors, 2, EVERYTHING, 'F16')


def test_export():
    everything('f')
    want(loss('f', '--export', 'e') == loss('e'), 'another loss')
    before, after = json.load(open('f/config.json')), json.load(open('e/config.json'))
    want(after.pop('torch_dtype') == 'float32' and before.pop('torch_dtype') and before == after, before, after)
    header, _ = read_header('e/model.safetensors')
    want(set(header) - {'__metadata__'} == set(weights()) - {'lm_head.weight'}, sorted(header))
    generation = json.load(open('e/generation_config.json'))
    want(generation['eos_token_id'] == [2, 3] and generation['bos_token_id'] == 1, generation)
    loss('f', '--export', 'e', '--dtype', 'bf16', '--seq', '600')
    after = json.load(open('e/config.json'))
    want(after['torch_dtype'] == 'bfloat16' and after['max_position_embeddings'] == 600, after)
    shutil.rmtree('f')
    os.rename('e', 'f')
    loss('f', '--dtype', 'bf16')


def test_resume():
    """Bit for bit, for each type; with the same --init, of which only config.json is needed."""
    everything('f')
    for dtype in 'f32', 'bf16':
        train = SHORT + ['--dtype', dtype, '--steps', '12', '--warm-start', '3', '--restarts', '2', '--rank', '4',
                         '--dropout', '0.1', '--keep', '0', '--save-every', '1']
        whole = losses('--init', 'f', *train, '--save', 'saved', '--export', 'whole')
        for step in 2, 3, 5, 6, 7:
            shutil.rmtree('part', ignore_errors=True)
            again = losses('--init', 'f', *train, '--resume', 'saved/step-%08d.safetensors' % step, '--export',
                           'part')
            want(again[-1:] == whole, dtype, step, again, whole)
            for file in 'model.safetensors', 'config.json':
                with open('part/' + file, 'rb') as a, open('whole/' + file, 'rb') as b:
                    want(a.read() == b.read(), dtype, step, file)
        says(run('--out', 'out', *train, '--size', 'demo', '--resume', 'saved/step-00000005.safetensors'),
             '--init', 'hidden_size=128', 'hidden_size=32')
        write_json('f/config.json', dict(CONFIG, **dict(EVERYTHING, rope_theta=301.0)))
        says(run('--out', 'out', *train, '--init', 'f', '--resume', 'saved/step-00000005.safetensors'),
             'rope_theta=301', 'rope_theta=300')
        everything('f')
        shutil.rmtree('saved')


def test_checkpoint():
    """One of this program as first weights, and one from before checkpoints said what their model is."""
    train = SHORT + ['--method', 'full', '--steps', '3', '--save', 'saved', '--save-every', '1', '--seed', '5']
    whole = losses(*train, '--export', 'whole')
    path = 'saved/step-00000003.safetensors'
    want(losses(*ONCE, '--init', path) == losses(*ONCE, '--init', 'whole'), 'first weights')
    refused(path, 'hidden_size', options=ONCE + ['--size', '20m'])
    header, data = read_header('saved/step-00000002.safetensors')
    del header['__metadata__']['model'], header['__metadata__']['texts_sum']  # as before 0.5
    text = json.dumps(header).encode()
    with open('old.safetensors', 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)
    again = losses(*train[:-6], *train[-2:], '--resume', 'old.safetensors')
    want(again[-1:] == whole, 'resumed', again, whole)
    says(run('--out', 'out', '--init', folder('f'), *train[:-6], *train[-2:], '--resume', 'old.safetensors'), 'hidden_size')
    shutil.rmtree('saved')


def device():
    """Training in each type from a folder with everything, to the loss of the CPU; and what kernels cannot do."""
    everything('f')
    for dtype, near in (('f32', 2e-4), ('bf16', 2e-2)):
        train = SHORT + ['--init', 'f', '--dtype', dtype, '--steps', '6', '--warm-start', '2', '--restarts', '1',
                         '--rank', '4', '--recompute', 'blocks', '--lr', '1e-4']
        cpu, gpu = (float(losses(*train, '--device', name)[-1]) for name in ('cpu', 'cuda'))
        want(abs(cpu - gpu) < near, dtype, cpu, gpu)
    folder('f', weights(dim=136), {'head_dim': 136})
    refused('f', '--device cuda', '128 columns', '136', options=ONCE + ['--device', 'cuda'])


def main():
    tests = {name[5:]: test for name, test in sorted(globals().items()) if name.startswith('test_')}
    if sys.argv[2:] == ['--cuda']:
        tests, sys.argv[2:] = {'device': device}, []
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        random.seed(1)
        with open('text', 'w') as file:
            file.write(' '.join(random.choice(['in', 'the', 'beginning', 'god', 'created']) for _ in range(4000)))
        for name in sys.argv[2:] or tests:
            try:
                tests[name]()
            except Wrong as wrong:
                failed += 1
                print('%s: %s' % (name, wrong))
        os.chdir('/')
    print('--init: %d of %d good' % (len(sys.argv[2:] or tests) - failed, len(sys.argv[2:] or tests)))
    return failed != 0


if __name__ == '__main__':
    sys.exit(main())
