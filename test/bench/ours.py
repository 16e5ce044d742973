"""This library on PyTorch's memory and stream, through ctypes."""
import os
import sys

import torch

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, 'ffi'))
from binding import Binding  # noqa: E402
from authors import ALPHA  # noqa: E402


class Relora(Binding):
    def __init__(self, root, library, threads, stream=None):
        """On the CPU, or on the device of `stream`, a torch.cuda.Stream."""
        super().__init__(root, library)
        self.context = self.create('context_create', self.options('context', threads=threads))
        kind = self.DEVICE_CPU if stream is None else self.DEVICE_CUDA
        self.device = self.device_get(self.context, kind, 0)
        assert self.device, self.error()
        if stream is None:
            self.stream = self.create('stream_create', self.device)
        else:
            self.stream = self.create('stream_wrap', self.device, stream.cuda_stream)

    def borrow(self, tensor):
        shape = (self.types['int64_t'] * tensor.dim())(*tensor.shape)
        dtype = self.F32 if tensor.dtype == torch.float32 else self.BF16
        return self.create('tensor_borrow', self.device, dtype, tensor.dim(), shape, None, tensor.data_ptr(),
                           self.types['relora_deleter_fn'](), None)

    def layer(self, theirs, dropout):
        """A layer on the same W, with equal A and B."""
        weight = theirs.weight
        layer = self.create('linear_create', self.device, self.options(
            'linear', in_features=weight.shape[1], out_features=weight.shape[0], rank=theirs.lora_A.out_features,
            alpha=float(ALPHA), dropout=dropout, dtype=self.F32 if weight.dtype == torch.float32 else self.BF16))
        borrowed = self.borrow(weight.data)
        self.ok(self.linear_set_weight(layer, borrowed, None))
        self.tensor_release(borrowed)  # the layer keeps it
        for which, factor in (('A', theirs.lora_A), ('B', theirs.lora_B)):
            values = factor.weight.data.float().contiguous().cpu()
            param = self.linear_param(layer, getattr(self, 'PARAM_' + which))
            self.ok(self.tensor_write(param, self.stream, values.data_ptr(), values.numel() * 4))
        return layer

    def step(self, theirs, x, dy, dropout):
        """A function that runs forward and backward of a layer like `theirs`, the tensors for y and dx, and what to call
        at the end."""
        layer = self.layer(theirs, dropout)
        y, dx = torch.empty_like(dy), torch.empty_like(x.data)
        given, result, grad, back = (self.borrow(t.data) for t in (x, y, dy, dx))

        def run():
            self.ok(self.linear_forward(layer, self.stream, given, result, 0, self.TRAIN))
            self.ok(self.linear_backward(layer, self.stream, given, grad, back, 0, self.TRAIN | self.OVERWRITE))

        def close():
            for handle in (given, result, grad, back):
                self.tensor_release(handle)
            self.linear_release(layer)
        return run, y, dx, close
