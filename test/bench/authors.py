"""The authors' layer (Guitaricet/relora, relora.py), as far as a step executes it, in plain PyTorch, and the model of
examples/pretrain made of it."""
import torch
import torch.nn.functional as F
from torch import nn

ALPHA = 32


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


class Size:
    def __init__(self, hidden, ffn, heads, layers, seq, batch, vocab, rank):
        self.hidden, self.ffn, self.heads, self.layers = hidden, ffn, heads, layers
        self.seq, self.batch, self.vocab, self.rank = seq, batch, vocab, rank


class Block(nn.Module):
    def __init__(self, size, linear):
        super().__init__()
        h, f = size.hidden, size.ffn
        self.heads = size.heads
        self.q, self.k, self.v, self.o = (linear(h, h) for _ in range(4))
        self.gate, self.up, self.down = linear(h, f), linear(h, f), linear(f, h)
        self.norm1, self.norm2 = nn.RMSNorm(h, eps=1e-6), nn.RMSNorm(h, eps=1e-6)

    def forward(self, x, cos, sin):
        batch, seq, hidden = x.shape

        def heads(t):
            return t.view(batch, seq, self.heads, -1).transpose(1, 2)

        def rotate(t):
            a, b = t.chunk(2, -1)
            return t * cos + torch.cat((-b, a), -1) * sin

        n = self.norm1(x)
        q, k, v = rotate(heads(self.q(n))), rotate(heads(self.k(n))), heads(self.v(n))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, seq, hidden))
        n = self.norm2(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


class Head(nn.Module):
    """The last norm, the logits and the loss."""
    def __init__(self, size):
        super().__init__()
        self.norm = nn.RMSNorm(size.hidden, eps=1e-6)
        self.logits = nn.Linear(size.hidden, size.vocab, bias=False)

    def forward(self, x, targets):
        return F.cross_entropy(self.logits(self.norm(x)).float().flatten(0, 1), targets.flatten())


class Llama(nn.Module):
    def __init__(self, size, method, dropout=0.0):
        super().__init__()

        def linear(i, o):
            return nn.Linear(i, o, bias=False) if method == 'full' else ReLoRaLinear(i, o, size.rank, dropout)
        self.embedding = nn.Embedding(size.vocab, size.hidden)
        self.blocks = nn.ModuleList(Block(size, linear) for _ in range(size.layers))
        self.head = Head(size)
        width = size.hidden // size.heads
        angles = torch.outer(torch.arange(size.seq).float(), 10000 ** -(torch.arange(0, width, 2) / width))
        angles = torch.cat((angles, angles), -1)
        self.register_buffer('cos', angles.cos())
        self.register_buffer('sin', angles.sin())

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(x, targets)


def trainer(model, run, tokens):
    """A function that does one update: forward, backward, clipping, fused AdamW; it returns the loss."""
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.0, fused=True)

    def update():
        optimizer.zero_grad(set_to_none=True)
        loss = run(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        return loss.item()
    return update
