"""Everything but tensors: each class is one kind of handle, each method one function."""
import ctypes
import weakref
from collections import namedtuple

from . import _api
from ._library import Error, Kept, Object, check, check_stream, decode, handle, lib, options, report
from ._tensor import Tensor

_logs = Kept()
_hooks = Kept()


@_api.relora_log_fn
def _log(user, level, message):
    _logs.objects[user](level, message.decode(errors='replace'))


@_api.relora_destroy_fn
def _destroyed(user):
    _logs.pop(user)


def _refusal(o):
    """Why there is no context: only a log hears it."""
    heard, out = [], ctypes.c_void_p()
    o.log, o.log_user = _log, _logs.put(lambda level, line: heard.append(line))
    o.on_destroy, o.destroy_user = _destroyed, o.log_user
    o.log_level = o.log_level or _api.LOG_ERROR
    if lib.relora_context_create(ctypes.byref(out), ctypes.byref(o)) < 0:
        _logs.pop(o.log_user)
    lib.relora_context_release(out)
    return ''.join(heard)


class Context(Object):
    """What is shared. `log(level, line)` is called on whichever thread has something to say, as long as an object of
    the context lives. Other options: threads, log_level."""

    _release = 'relora_context_release'

    def __init__(self, log=None, module_dir=None, **fields):
        o = options('context', fields)
        o.module_dir = None if module_dir is None else str(module_dir).encode()
        if log:
            o.log, o.log_user = _log, _logs.put(log)
            o.on_destroy, o.destroy_user = _destroyed, o.log_user
            o.log_level = fields.get('log_level', _api.LOG_WARN)
        out = ctypes.c_void_p()
        status = lib.relora_context_create(ctypes.byref(out), ctypes.byref(o))
        if status < 0:
            if log:
                _logs.pop(o.log_user)
            raise Error(status, _refusal(o))
        self._own(out.value, out.value)

    def device_count(self, kind):
        return lib.relora_device_count(self._handle, kind)

    def device(self, kind, index=0):
        device = lib.relora_device_get(self._handle, kind, index)
        if device is None:
            check(_api.E_NOT_FOUND, self._handle)
        return Device(self, device)

    @property
    def cpu(self):
        return self.device(_api.DEVICE_CPU)


class Device:
    """Belongs to its context, and keeps it."""

    def __init__(self, context, handle):
        self.context, self._context, self._handle = context, context._context, handle

    @property
    def kind(self):
        return lib.relora_device_get_kind(self._handle)

    @property
    def name(self):
        return decode(lib.relora_device_name(self._handle))

    @property
    def memory(self):
        """Free and total bytes."""
        free, total = ctypes.c_uint64(), ctypes.c_uint64()
        check(lib.relora_device_memory(self._handle, ctypes.byref(free), ctypes.byref(total)), self._context)
        return free.value, total.value


class Stream(Object):
    """An ordered queue of work. `native` is an address of a cudaStream_t of the host, which must outlive it."""

    _release = 'relora_stream_release'

    def __init__(self, device, native=None):
        if native is None:
            self._make(lib.relora_stream_create, device._context, device._handle)
        else:
            self._make(lib.relora_stream_wrap, device._context, device._handle, native)

    @property
    def native(self):
        return lib.relora_stream_native(self._handle)

    def wait(self, other):
        check_stream(lib.relora_stream_wait(self._handle, handle(other)), self)

    def synchronize(self):
        check_stream(lib.relora_stream_synchronize(self._handle), self)


class Linear(Object):
    """y = x W^T + b + s * drop(x) A^T B^T. Options: in_features, out_features, rank, alpha, dropout, ..."""

    _release = 'relora_linear_release'

    def __init__(self, device, **fields):
        self._make(lib.relora_linear_create, device._context, device._handle, ctypes.byref(options('linear', fields)))

    @classmethod
    def wrap(cls, device, weight, bias=None, **fields):
        """A layer over a weight, whose sizes and type it takes."""
        layer = cls.__new__(cls)
        layer._make(lib.relora_linear_wrap, device._context, device._handle, handle(weight), handle(bias),
                    ctypes.byref(options('linear', fields)))
        return layer

    def set_weight(self, weight, bias=None):
        """The layer trains and merges in these tensors."""
        self._ok(lib.relora_linear_set_weight(self._handle, handle(weight), handle(bias)))

    def forward_at(self, stream, rows, x, ldx, y, ldy, call, flags=0):
        """A pass on addresses of the layer's device; each row is ld elements behind the last."""
        check_stream(lib.relora_linear_forward_at(self._handle, handle(stream), rows, x, ldx, y, ldy, call, flags), stream)

    def backward_at(self, stream, rows, x, ldx, dy, lddy, dx, lddx, call, flags=0):
        """The backward pass of it; dx may be None."""
        check_stream(lib.relora_linear_backward_at(self._handle, handle(stream), rows, x, ldx, dy, lddy, dx, lddx, call,
                                                   flags), stream)

    def weight_grad(self, stream, x, dy, dw, flags=0):
        """dw (+)= dy^T x, of a frozen W too."""
        check_stream(lib.relora_linear_weight_grad(self._handle, handle(stream), handle(x), handle(dy), handle(dw),
                                                   flags), stream)

    def set_param(self, param, tensor):
        """A parameter in memory of the program's."""
        self._ok(lib.relora_linear_set_param(self._handle, param, handle(tensor)))

    def set_target(self, weight):
        """What a LOWRANK layer is merged into; None for nothing."""
        self._ok(lib.relora_linear_set_target(self._handle, handle(weight), _api.relora_merge_fn(), None))

    def set_grad(self, param, tensor):
        """A gradient in memory of the program's."""
        self._ok(lib.relora_linear_set_grad(self._handle, param, handle(tensor)))

    def set_mode(self, stream, mode):
        check_stream(lib.relora_linear_set_mode(self._handle, handle(stream), mode), stream)

    @property
    def mode(self):
        return lib.relora_linear_get_mode(self._handle)

    def param(self, param):
        """None if the layer has no such parameter now."""
        return Tensor._retained(lib.relora_linear_param(self._handle, param), self._context)

    def grad(self, param):
        """None if it is not trained in the present mode."""
        return Tensor._retained(lib.relora_linear_grad(self._handle, param), self._context)

    def forward(self, stream, x, y, call, flags=0):
        check_stream(lib.relora_linear_forward(self._handle, handle(stream), handle(x), handle(y), call, flags), stream)

    def backward(self, stream, x, dy, dx, call, flags=0):
        check_stream(lib.relora_linear_backward(self._handle, handle(stream), handle(x), handle(dy), handle(dx), call,
                                                flags), stream)

    @staticmethod
    def forward_shared(layers, stream, x, y, call, flags=0):
        """Layers that read the same x, and one y for each."""
        check_stream(lib.relora_linear_forward_shared(_list(layers, y), len(layers), handle(stream), handle(x),
                                                      _list(y, layers), call, flags), stream)

    @staticmethod
    def backward_shared(layers, stream, x, dy, dx, call, flags=0):
        check_stream(lib.relora_linear_backward_shared(_list(layers, dy), len(layers), handle(stream), handle(x),
                                                       _list(dy, layers), handle(dx), call, flags), stream)

    def plan(self, rows, flags=0):
        r = report('plan')
        self._ok(lib.relora_linear_plan(self._handle, rows, flags, ctypes.byref(r)))
        return r

    def set_order(self, forward, backward):
        self._ok(lib.relora_linear_set_order(self._handle, forward, backward))

    def zero_grad(self, stream):
        check_stream(lib.relora_linear_zero_grad(self._handle, handle(stream)), stream)

    def merge(self, stream, cycle):
        r = report('merge')
        check_stream(lib.relora_linear_merge(self._handle, handle(stream), cycle, ctypes.byref(r)), stream)
        return r

    def full_rank_step(self, stream, grad, lr, step):
        """One step of the frozen W down the direction of its gradient, which is overwritten."""
        r = report('full_rank')
        check_stream(lib.relora_linear_full_rank_step(self._handle, handle(stream), handle(grad), lr, step,
                                                      ctypes.byref(r)), stream)
        return r

    def reset(self, stream, cycle):
        check_stream(lib.relora_linear_reset(self._handle, handle(stream), cycle), stream)


def _list(things, others):
    if len(things) != len(others):
        raise ValueError('as many tensors as layers are needed')
    return (ctypes.c_void_p * len(things))(*[handle(t) for t in things])


class Group(Object):
    """The layers and other parameters of a model, each under a name of its own."""

    _release = 'relora_group_release'

    def __init__(self, device):
        self._make(lib.relora_group_create, device._context, device._handle)

    def _lent(self, linear):
        if linear is None:
            return None
        layer = Linear.__new__(Linear)
        layer._handle, layer._context, layer._group = linear, self._context, self  # which keeps the layer
        layer._finalizer = lambda: None
        return layer

    def wrap(self, name, weight, bias=None, **fields):
        """Make a layer over a weight and add it; the group fills in what tells layers apart."""
        linear = ctypes.c_void_p()
        self._ok(lib.relora_group_wrap(self._handle, name.encode(), handle(weight), handle(bias),
                                       ctypes.byref(options('linear', fields)), ctypes.byref(linear)))
        return self._lent(linear.value)

    def add(self, name, member, grad=None):
        """A layer, or a parameter of none; without a gradient it is only saved and read."""
        if isinstance(member, Linear):
            self._ok(lib.relora_group_add_linear(self._handle, name.encode(), member._handle))
        else:
            self._ok(lib.relora_group_add_param(self._handle, name.encode(), handle(member), handle(grad)))

    @property
    def count(self):
        return lib.relora_group_count(self._handle)

    def find(self, name):
        index = ctypes.c_int32()
        self._ok(lib.relora_group_find(self._handle, name.encode(), ctypes.byref(index)))
        return index.value

    def name(self, index):
        return decode(lib.relora_group_name(self._handle, index))

    def linear(self, index):
        """None if the member is no layer."""
        return self._lent(lib.relora_group_linear(self._handle, index))

    def value(self, index):
        """None if the member is a layer."""
        return Tensor._retained(lib.relora_group_value(self._handle, index), self._context)

    def grad(self, index):
        return Tensor._retained(lib.relora_group_grad(self._handle, index), self._context)

    def set_mode(self, stream, mode):
        check_stream(lib.relora_group_set_mode(self._handle, handle(stream), mode), stream)

    def merge(self, stream, cycle):
        r = report('merge')
        check_stream(lib.relora_group_merge(self._handle, handle(stream), cycle, ctypes.byref(r)), stream)
        return r

    def reset(self, stream, cycle):
        check_stream(lib.relora_group_reset(self._handle, handle(stream), cycle), stream)

    def zero_grad(self, stream):
        check_stream(lib.relora_group_zero_grad(self._handle, handle(stream)), stream)


class Adam(Object):
    """Adam or AdamW over registered parameters. Options: beta1, beta2, eps, weight_decay, max_norm, flags (in place of
    ADAM_DECOUPLED), ..."""

    _release = 'relora_adam_release'

    def __init__(self, device, **fields):
        self._make(lib.relora_adam_create, device._context, device._handle, ctypes.byref(options('adam', fields)))

    def add(self, name, param, grad):
        """Register one parameter; its index."""
        index = ctypes.c_int32()
        self._ok(lib.relora_adam_add(self._handle, name.encode(), handle(param), handle(grad), ctypes.byref(index)))
        return index.value

    def add_moments(self, name, param, grad, first, second):
        """Register one parameter with moments of the program's; its index."""
        index = ctypes.c_int32()
        self._ok(lib.relora_adam_add_moments(self._handle, name.encode(), handle(param), handle(grad), handle(first),
                                             handle(second), ctypes.byref(index)))
        return index.value

    def set_moments(self, index, first, second):
        """Moments of the program's for a parameter that is registered already."""
        self._ok(lib.relora_adam_set_moments(self._handle, index, handle(first), handle(second)))

    def add_linear(self, prefix, linear):
        """Register what a layer trains in its present mode."""
        self._ok(lib.relora_adam_add_linear(self._handle, prefix.encode(), handle(linear)))

    def add_group(self, group):
        """Register what every member of a group trains."""
        self._ok(lib.relora_adam_add_group(self._handle, handle(group)))

    def set_factors(self, index, lr_factor, weight_decay):
        self._ok(lib.relora_adam_set_factors(self._handle, index, lr_factor, weight_decay))

    def flatten_grads(self, stream):
        check_stream(lib.relora_adam_flatten_grads(self._handle, handle(stream)), stream)

    @property
    def flat_grad(self):
        return Tensor._retained(lib.relora_adam_flat_grad(self._handle), self._context)

    def zero_grad(self, stream):
        check_stream(lib.relora_adam_zero_grad(self._handle, handle(stream)), stream)

    def step(self, stream, lr, grad_scale=1.0, reported=False):
        """One update of every parameter; a report if asked for, which waits for the stream. A tensor as `lr` is read
        on the device."""
        r = report('step') if reported else None
        to = ctypes.byref(r) if reported else None
        if isinstance(lr, Tensor):
            status = lib.relora_adam_step_lr(self._handle, handle(stream), lr._handle, grad_scale, to)
        else:
            status = lib.relora_adam_step(self._handle, handle(stream), lr, grad_scale, to)
        check_stream(status, stream)
        return r

    def grad_norm(self, stream):
        norm = ctypes.c_double()
        check_stream(lib.relora_adam_grad_norm(self._handle, handle(stream), ctypes.byref(norm)), stream)
        return norm.value

    def reset(self, stream, indices=(), **fields):
        """Without indices every A and B that came with a layer. Options: mode, ratio, flags, seed, cycle."""
        r, listed = report('reset'), (ctypes.c_int32 * len(indices))(*indices)
        check_stream(lib.relora_adam_reset(self._handle, handle(stream), listed if indices else None, len(indices),
                                           ctypes.byref(options('reset', fields)), ctypes.byref(r)), stream)
        return r

    def carry(self, stream, other, indices=()):
        """Moments of parameters with the same names; without indices all of them. Returns how many."""
        carried, listed = ctypes.c_int32(), (ctypes.c_int32 * len(indices))(*indices)
        check_stream(lib.relora_adam_carry(self._handle, handle(stream), handle(other), listed if indices else None,
                                           len(indices), ctypes.byref(carried)), stream)
        return carried.value

    @property
    def count(self):
        return lib.relora_adam_count(self._handle)

    def name(self, index):
        return decode(lib.relora_adam_name(self._handle, index))

    def find(self, name):
        index = ctypes.c_int32()
        self._ok(lib.relora_adam_find(self._handle, name.encode(), ctypes.byref(index)))
        return index.value

    def moment(self, index, which):
        return Tensor._retained(lib.relora_adam_moment(self._handle, index, which), self._context)

    def steps(self, stream, index):
        n = ctypes.c_int64()
        check_stream(lib.relora_adam_steps(self._handle, handle(stream), index, ctypes.byref(n)), stream)
        return n.value

    def refresh(self, stream):
        """Take the layers as they are now; indices may change."""
        check_stream(lib.relora_adam_refresh(self._handle, handle(stream)), stream)

    def set_steps(self, stream, index, steps):
        check_stream(lib.relora_adam_set_steps(self._handle, handle(stream), index, steps), stream)


class Schedule(Object):
    """The learning rate as a function of the step. Options: lr, total_steps, kind, restart_every, ..."""

    _release = 'relora_schedule_release'

    def __init__(self, context, **fields):
        self._make(lib.relora_schedule_create, context._context, context._handle,
                   ctypes.byref(options('schedule', fields)))

    def lr(self, step):
        lr = ctypes.c_double()
        self._ok(lib.relora_schedule_lr(self._handle, step, ctypes.byref(lr)))
        return lr.value

    def next_restart(self, step):
        """None if there is none any more."""
        n = ctypes.c_int64()
        self._ok(lib.relora_schedule_next_restart(self._handle, step, ctypes.byref(n)))
        return None if n.value < 0 else n.value


Restart = namedtuple('Restart', 'events merge reset')


def _call_hook(user, which, step, events):
    hooks = _hooks.objects[user]
    try:
        if hooks[which]:
            hooks[which](step, events)
    except BaseException as e:  # no exception may pass through the library
        hooks['raised'] = e


@_api.relora_cycle_hook_fn
def _before(user, step, events):
    _call_hook(user, 'before', step, events)


@_api.relora_cycle_hook_fn
def _after(user, step, events):
    _call_hook(user, 'after', step, events)


class Cycle(Object):
    """The ReLoRA restart. `before(step, events)` and `after` are called around its work; what they raise comes out of
    advance() or finish(). `reset` holds the options of Adam.reset(). Options: merge_every, reset_every, first_step,
    or those of `follow`, a schedule with restarts, where none is given."""

    _release = 'relora_cycle_release'

    def __init__(self, context, adam=None, reset=None, before=None, after=None, follow=None, **fields):
        o, self._hooks = options('cycle', fields), {'before': before, 'after': after}
        if follow:
            check(lib.relora_cycle_options_follow(ctypes.byref(o), follow._handle), context._context)
            for field, value in fields.items():  # such as every second restart
                setattr(o, field, value)
        o.before, o.after, o.hook_user = _before, _after, _hooks.put(self._hooks)
        self._user = o.hook_user
        how = None if reset is None else ctypes.byref(options('reset', reset))
        try:
            self._make(lib.relora_cycle_create, context._context, context._handle, ctypes.byref(o), handle(adam), how)
        except BaseException:
            _hooks.pop(self._user)
            raise

    def _own(self, handle, context):
        super()._own(handle, context)
        weakref.finalize(self, _hooks.pop, self._user)

    def add(self, linear):
        self._ok(lib.relora_cycle_add(self._handle, handle(linear)))

    def add_group(self, group):
        self._ok(lib.relora_cycle_add_group(self._handle, handle(group)))

    def due(self, step):
        events = ctypes.c_uint32()
        self._ok(lib.relora_cycle_due(self._handle, step, ctypes.byref(events)))
        return events.value

    def advance(self, stream, step):
        """Do what is due after `step` updates."""
        events, merge, reset = ctypes.c_uint32(), report('merge'), report('reset')
        status = lib.relora_cycle_advance(self._handle, handle(stream), step, ctypes.byref(events),
                                          ctypes.byref(merge), ctypes.byref(reset))
        self._raise_again()
        check_stream(status, stream)
        return Restart(events.value, merge, reset)

    def finish(self, stream, step):
        merge = report('merge')
        status = lib.relora_cycle_finish(self._handle, handle(stream), step, ctypes.byref(merge))
        self._raise_again()
        check_stream(status, stream)
        return merge

    def _raise_again(self):
        raised = self._hooks.pop('raised', None)
        if raised is not None:
            raise raised


class Writer(Object):
    """Collects tensors and saves them as safetensors."""

    _release = 'relora_writer_release'

    def __init__(self, context):
        self._make(lib.relora_writer_create, context._context, context._handle)
        self._added = []

    def add(self, name, tensor):
        self._ok(lib.relora_writer_add(self._handle, name.encode(), handle(tensor)))

    def add_bytes(self, name, dtype, shape, data):
        """`dtype` is the format's own name, "I64". The bytes are copied."""
        memory = memoryview(data).cast('B')
        copy = (ctypes.c_char * memory.nbytes).from_buffer_copy(memory)
        self._added.append(copy)
        dims = (ctypes.c_int64 * len(shape))(*shape)
        self._ok(lib.relora_writer_add_bytes(self._handle, name.encode(), dtype.encode(), len(shape), dims, copy,
                                             memory.nbytes))

    def set_metadata(self, key, value):
        self._ok(lib.relora_writer_set_metadata(self._handle, key.encode(), value.encode()))

    def save(self, stream, path, flags=0):
        check_stream(lib.relora_writer_save(self._handle, handle(stream), str(path).encode(), flags), stream)


class Reader(Object):
    """Gives out the tensors of a file, which is mapped, or of bytes in memory. All of it was checked before."""

    _release = 'relora_reader_release'

    def __init__(self, context, path=None, data=None):
        if data is None:
            self._make(lib.relora_reader_open, context._context, context._handle, str(path).encode())
            return
        memory = memoryview(data).cast('B')
        self._data = (ctypes.c_char * memory.nbytes).from_buffer_copy(memory)
        self._make(lib.relora_reader_open_memory, context._context, context._handle, self._data, memory.nbytes)

    @classmethod
    def if_there(cls, context, path):
        """None for a file that does not exist."""
        out = ctypes.c_void_p()
        check(lib.relora_reader_open_if_there(ctypes.byref(out), context._handle, str(path).encode()), context._context)
        if not out.value:
            return None
        self = cls.__new__(cls)
        self._own(out.value, context._context)
        return self

    @property
    def names(self):
        return [decode(lib.relora_reader_name(self._handle, i)) for i in range(lib.relora_reader_count(self._handle))]

    def dtype(self, name):
        return decode(lib.relora_reader_dtype(self._handle, name.encode()))

    def shape(self, name):
        n, dims = ctypes.c_int32(), (ctypes.c_int64 * 64)()
        self._ok(lib.relora_reader_shape(self._handle, name.encode(), ctypes.byref(n), dims, len(dims)))
        return tuple(dims[:n.value])

    def bytes(self, name):
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        self._ok(lib.relora_reader_bytes(self._handle, name.encode(), ctypes.byref(data), ctypes.byref(size)))
        return ctypes.string_at(data, size.value)

    @property
    def metadata(self):
        keys = [lib.relora_reader_metadata_key(self._handle, i)
                for i in range(lib.relora_reader_metadata_count(self._handle))]
        return {decode(k): decode(lib.relora_reader_metadata(self._handle, k)) for k in keys}

    def read(self, stream, name, target, flags=0):
        check_stream(lib.relora_reader_read(self._handle, handle(stream), name.encode(), handle(target), flags), stream)

    def read_group(self, stream, group, flags=0):
        """The weights of a model by their names."""
        r = report('read')
        check_stream(lib.relora_reader_read_group(self._handle, handle(stream), handle(group), flags, ctypes.byref(r)),
                     stream)
        return r

    def verify(self):
        """Check every checksum the file has."""
        self._ok(lib.relora_reader_verify(self._handle))


class State(Object):
    """Everything a training run consists of, saved and restored in one call each."""

    _release = 'relora_state_release'

    def __init__(self, context):
        self._bytes = []
        self._make(lib.relora_state_create, context._context, context._handle)

    def add(self, name, part):
        """A Tensor, Linear, Adam, Schedule or Cycle."""
        for kind, add in ((Tensor, lib.relora_state_add_tensor), (Linear, lib.relora_state_add_linear),
                          (Adam, lib.relora_state_add_adam), (Schedule, lib.relora_state_add_schedule),
                          (Cycle, lib.relora_state_add_cycle)):
            if isinstance(part, kind):
                return self._ok(add(self._handle, name.encode(), part._handle))
        raise TypeError('%s is no Tensor, Linear, Adam, Schedule or Cycle (add_group() and add_bytes() take others)' %
                        type(part).__name__)

    def add_bytes(self, name, data):
        """A bytearray, or other writable bytes, saved from and restored to where it is."""
        view = (ctypes.c_ubyte * memoryview(data).nbytes).from_buffer(data)
        self._ok(lib.relora_state_add_bytes(self._handle, name.encode(), view, len(view)))
        self._bytes.append(view)

    def add_group(self, group):
        """Every member of a group."""
        self._ok(lib.relora_state_add_group(self._handle, handle(group)))

    def set(self, key, value):
        """Metadata of the host's own."""
        self._ok(lib.relora_state_set(self._handle, key.encode(), value.encode()))

    def save(self, stream, path, flags=0):
        check_stream(lib.relora_state_save(self._handle, handle(stream), str(path).encode(), flags), stream)

    def load(self, stream, reader):
        check_stream(lib.relora_state_load(self._handle, handle(stream), handle(reader)), stream)

    def set_export_layout(self, layout):
        """How exports write the weights of layers: LAYOUT_OWN, LAYOUT_OUT_IN or LAYOUT_IN_OUT."""
        self._ok(lib.relora_state_set_export_layout(self._handle, layout))

    def export_merged(self, stream, path):
        check_stream(lib.relora_state_export_merged(self._handle, handle(stream), str(path).encode()), stream)

    def export_adapter(self, stream, folder, base_model=''):
        check_stream(lib.relora_state_export_adapter(self._handle, handle(stream), str(folder).encode(),
                                                     base_model.encode()), stream)

    def export_delta(self, stream, path):
        check_stream(lib.relora_state_export_delta(self._handle, handle(stream), str(path).encode()), stream)
