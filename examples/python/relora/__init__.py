"""ReLoRA training building blocks: librelora from Python.

    import relora
    context = relora.Context(threads=4)
    layer = relora.Linear(context.cpu, in_features=64, out_features=64, rank=8)
    layer.set_weight(relora.from_dlpack(context, weight))      # a torch or numpy array, used in place

Each function is a call of the C interface, whose headers are the manual. Objects release themselves, in any order.
An object stands for what it holds, an optimizer for its layers: what hangs together is used by one thread at a
time. The global lock is given up during a call, so threads with objects of their own compute side by side.

Constants have the names of the headers: relora.TRAIN, relora.MODE_LORA, relora.E_SHAPE."""
from ._api import *  # noqa: F401,F403
from ._library import Error, build_info, library_path, status_name, version, version_string
from ._objects import Adam, Context, Cycle, Device, Group, Linear, Reader, Restart, Schedule, State, Stream, Writer
from ._restart import draw_factors, full_rank_step, merge, project_moments, renew_factors, reset_moments
from ._tensor import Tensor, from_dlpack

__version__ = '0.5.0'
