"""The package on any Python: memory that lives as long as it is used, callbacks, files, exchange, threads."""
import array
import gc
import io
import os
import sys
import tempfile
import threading
import unittest
import weakref

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
sys.dont_write_bytecode = True

import relora  # noqa: E402
import train  # noqa: E402
from relora import _objects, _tensor  # noqa: E402

try:
    import numpy
    numpy.ones(1).__dlpack__(max_version=(1, 0))
except (ImportError, TypeError):
    numpy = None
try:
    import torch
    torch.ones(1).__dlpack__(max_version=(1, 0))
except (ImportError, TypeError):
    torch = None


class Kit(unittest.TestCase):
    def setUp(self):
        self.lines = []
        self.context = relora.Context(log=lambda *line: self.lines.append(line), log_level=relora.LOG_ERROR)
        self.cpu = self.context.cpu
        self.stream = relora.Stream(self.cpu)

    def layer(self, **fields):
        return relora.Linear(self.cpu, **{'in_features': 3, 'out_features': 2, 'rank': 1, 'dropout': 0, **fields})


class Training(unittest.TestCase):
    def test_same_in_every_language(self):
        """A library that is broken is noticed here: `make check-pip` runs this test with one as well."""
        out = io.StringIO()
        train.run(out)
        with open(os.path.join(HERE, os.pardir, os.pardir, 'train.txt')) as f:
            self.assertEqual(out.getvalue(), f.read())


class Memory(Kit):
    def test_buffer_is_kept(self):
        values = array.array('f', [1] * 6)
        gone = weakref.ref(values)
        layer, tensor = self.layer(), relora.Tensor.borrow(self.cpu, values, (2, 3))
        layer.set_weight(tensor)
        tensor.fill(self.stream, 0.5)
        self.assertEqual(list(values), [0.5] * 6)
        with self.assertRaises(BufferError):
            values.append(1)  # it would move
        del values, tensor
        gc.collect()
        self.assertIsNotNone(gone())
        self.assertEqual(list(layer.param(relora.PARAM_WEIGHT).view()), [0.5] * 6)
        layer.close()
        gc.collect()
        self.assertIsNone(gone())

    def test_each_buffer_is_dropped_once(self):
        a, b = array.array('f', [1, 2]), array.array('f', [3, 4])
        kept = len(_tensor._owners.objects)
        tensor = relora.Tensor.borrow(self.cpu, a, (2,))
        tensor.set_buffer(b)
        a.append(5)  # free again
        tensor.set_buffer(b)
        tensor.fill(self.stream, 7)
        self.assertEqual((list(a), list(b)), ([1, 2, 5], [7, 7]))
        with self.assertRaises(ValueError):
            tensor.set_buffer(a)
        self.assertEqual(len(_tensor._owners.objects), kept + 1)
        tensor.close()
        self.assertEqual(len(_tensor._owners.objects), kept)
        with self.assertRaises(ValueError):
            relora.Tensor.borrow(self.cpu, a, (2,))
        with self.assertRaises(TypeError):
            relora.Tensor.borrow(self.cpu, b'12345678', (2,))  # not to be written to
        with self.assertRaises(relora.Error):
            relora.Tensor(self.cpu, (-1,))
        self.assertEqual(len(_tensor._owners.objects), kept)

    def test_view_keeps_the_tensor(self):
        tensor = relora.Tensor(self.cpu, (2, 2))
        tensor.fill(self.stream, 2)
        gone, view = weakref.ref(tensor), tensor.view()
        del tensor
        gc.collect()
        view[3] = 5.0
        self.assertEqual(list(view), [2, 2, 2, 5])
        del view
        gc.collect()
        self.assertIsNone(gone())

    def test_write_and_read(self):
        tensor = relora.Tensor(self.cpu, (2,), dtype=relora.BF16)
        tensor.write(self.stream, b'\x80\x3f\x00\x40')
        full = relora.Tensor(self.cpu, (2,))
        full.copy(self.stream, tensor)
        values = array.array('f', [0, 0])
        full.read(self.stream, values)
        self.assertEqual(list(values), [1, 2])
        self.assertEqual((tensor.shape, tensor.strides, tensor.nbytes, tensor.view().format), ((2,), (1,), 4, 'H'))


class Refusals(Kit):
    def test_what_is_not_meant(self):
        tensor, numbers = relora.Tensor(self.cpu, (2,)), array.array('i', [1, 2])
        for call in (lambda: relora.Tensor.borrow(self.cpu, numbers, (2,)), lambda: tensor.write(self.stream, numbers),
                     lambda: tensor.read(self.stream, numbers)):
            with self.assertRaisesRegex(ValueError, 'F32'):
                call()
        with self.assertRaisesRegex(TypeError, 'Group is no'):
            relora.State(self.context).add('model', relora.Group(self.cpu))
        with self.assertRaisesRegex(relora.Error, 'stream is None or closed'):
            tensor.fill(None, 1)
        self.stream.close()
        with self.assertRaisesRegex(relora.Error, 'stream is None or closed'):
            tensor.fill(self.stream, 1)

    def test_dlpack_of_another_version(self):
        class Old:
            def __dlpack__(self, stream=None):
                return None

        with self.assertRaisesRegex(BufferError, 'Old does not speak DLPack 1'):
            relora.from_dlpack(self.context, Old())


class Callbacks(Kit):
    def test_log_outlives_the_context(self):
        kept, tensor = len(_objects._logs.objects), relora.Tensor(self.cpu, (2,))
        self.context.close()
        del self.context, self.cpu
        gc.collect()
        with self.assertRaises(relora.Error) as e:
            tensor.write(self.stream, b'1')
        self.assertEqual(self.lines, [(relora.LOG_ERROR, str(e.exception))])
        self.assertEqual((e.exception.status, e.exception.name), (relora.E_SHAPE, 'RELORA_E_SHAPE'))
        tensor.close()
        self.stream.close()
        self.assertEqual(len(_objects._logs.objects), kept - 1)
        for log in (None, lambda *line: None):
            with self.assertRaisesRegex(relora.Error, 'options.threads is 0'):
                relora.Context(log=log, threads=0)
        self.assertEqual(len(_objects._logs.objects), kept - 1)

    def test_hooks(self):
        layer, seen = self.layer(), []

        def before(step, events):
            raise KeyError(step)

        layer.set_weight(relora.Tensor(self.cpu, (2, 3)))
        layer.param(relora.PARAM_WEIGHT).fill(self.stream, 1)
        cycle = relora.Cycle(self.context, before=before, after=lambda *what: seen.append(what), merge_every=2)
        cycle.add(layer)
        self.assertEqual(cycle.advance(self.stream, 2).events, 0)
        with self.assertRaises(KeyError):
            cycle.advance(self.stream, 3)
        self.assertEqual(seen, [(3, relora.CYCLE_MERGE)])  # the work was done
        with self.assertRaises(TypeError):
            relora.Cycle(self.context, every=2)
        rate = relora.Schedule(self.context, lr=1, total_steps=8, restart_every=4)
        self.assertEqual(relora.Cycle(self.context, follow=rate).due(5), relora.CYCLE_MERGE)
        each_second = relora.Cycle(self.context, follow=rate, merge_every=8)
        self.assertEqual([each_second.due(n) for n in (5, 9)], [0, relora.CYCLE_MERGE])
        gc.collect()
        kept = len(_objects._hooks.objects)
        del cycle
        gc.collect()
        self.assertEqual(len(_objects._hooks.objects), kept - 1)


class Files(Kit):
    def test_round_trip(self):
        tensor = relora.Tensor(self.cpu, (1, 2))
        tensor.fill(self.stream, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'file')
            with relora.Writer(self.context) as writer:
                writer.add('x', tensor)
                writer.add_bytes('n', 'I64', (1,), (5).to_bytes(8, 'little'))
                writer.set_metadata('who', 'python')
                writer.save(self.stream, path)
            self.assertIsNone(relora.Reader.if_there(self.context, path + '?'))
            self.assertEqual(len(relora.Reader.if_there(self.context, path).names), 2)
            with open(path, 'rb') as f:
                data = f.read()
            for reader in relora.Reader(self.context, path), relora.Reader(self.context, data=data):
                tensor.fill(self.stream, 0)
                self.assertEqual((sorted(reader.names), reader.metadata), (['n', 'x'], {'who': 'python'}))
                self.assertEqual((reader.shape('x'), reader.dtype('n'), reader.bytes('n')[0]), ((1, 2), 'I64', 5))
                reader.read(self.stream, 'x', tensor)
                self.assertEqual(list(tensor.view()), [2, 2])
                reader.close()
        with self.assertRaises(relora.Error):
            relora.Reader(self.context, data=data[:30])


    def test_bytes_in_a_state(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'state')
            saved, loaded = bytearray(b'position'), bytearray(8)
            for data in saved, loaded:
                state = relora.State(self.context)
                state.add_bytes('loader', data)
                gc.collect()
                with self.assertRaises(BufferError):
                    data.append(1)  # it would move
                if data is saved:
                    data[0] = ord('P')
                    state.save(self.stream, path)
                else:
                    state.load(self.stream, relora.Reader(self.context, path))
            self.assertEqual(loaded, b'Position')


class Exchange(Kit):
    @unittest.skipUnless(numpy, 'no numpy 2.1')
    def test_numpy(self):
        theirs = numpy.ones((3, 4), dtype=numpy.float32)
        tensor = relora.from_dlpack(self.context, theirs[::2, :3])
        tensor.fill(self.stream, 5)
        self.assertEqual(theirs[2].tolist(), [5, 5, 5, 1])
        ours = relora.Tensor(self.cpu, (2, 2))
        ours.fill(self.stream, 3)
        gone, seen = weakref.ref(ours), ours.numpy()
        del ours
        gc.collect()
        seen[1, 1] = 4
        self.assertEqual((gone(), seen.tolist()), (None, [[3, 3], [3, 4]]))

    @unittest.skipUnless(torch, 'no torch')
    def test_torch(self):
        theirs = torch.ones(3, 4)
        relora.from_dlpack(self.context, theirs).fill(self.stream, 5)
        self.assertEqual(theirs[2, 3].item(), 5)
        ours = relora.Tensor(self.cpu, (2, 2), dtype=relora.BF16)
        ours.fill(self.stream, 3)
        self.assertEqual(torch.from_dlpack(ours).float().tolist(), [[3, 3], [3, 3]])

    def test_capsule_nobody_takes(self):
        tensor = relora.Tensor(self.cpu, (2,))
        capsule = tensor.__dlpack__(max_version=(1, 0))
        del capsule
        with self.assertRaises(BufferError):
            tensor.__dlpack__()
        with self.assertRaises(BufferError):
            tensor.__dlpack__(max_version=(1, 0), copy=True)


class Threads(Kit):
    def test_each_gets_its_own_text(self):
        wrong = []

        def fail(number):
            stream, tensor = relora.Stream(self.cpu), relora.Tensor(self.cpu, (3,))
            for _ in range(200):
                try:
                    tensor.write(stream, bytes(100 + number))
                except relora.Error as e:
                    if 'bytes is %d,' % (100 + number) not in str(e):
                        wrong.append(str(e))

        threads = [threading.Thread(target=fail, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual((wrong, len(self.lines)), ([], 800))


class Optimizer(Kit):
    def test_parameters(self):
        adam = relora.Adam(self.cpu, max_norm=1)
        p, g = relora.Tensor(self.cpu, (4,)), relora.Tensor(self.cpu, (4,))
        p.fill(self.stream, 1)
        g.fill(self.stream, 1)
        index = adam.add('p', p, g)
        adam.flatten_grads(self.stream)
        self.assertEqual(len(adam.flat_grad.shape), 1)
        self.assertAlmostEqual(adam.grad_norm(self.stream), 2)
        self.assertAlmostEqual(adam.step(self.stream, 0.1, reported=True).grad_norm, 2)
        self.assertEqual((adam.steps(self.stream, index), adam.name(0), adam.find('p'), adam.count), (1, 'p', 0, 1))
        self.assertEqual(adam.reset(self.stream, [index]).zeroed_first, 3)
        self.assertIsNone(adam.moment(5, relora.MOMENT_FIRST))
        with self.assertRaises(relora.Error):
            adam.find('q')

    def test_restart(self):
        def ones(*shape):
            tensor = relora.Tensor(self.cpu, shape)
            tensor.fill(self.stream, 1)
            return tensor
        w, a, b = ones(2, 3), ones(1, 3), ones(2, 1)
        self.assertEqual(relora.merge(self.stream, w, a, b, scale=2).layers, 1)
        relora.draw_factors(self.stream, a, b, seed=1, layer=2, cycle=3)
        report = relora.renew_factors(self.stream, a, b, ones(1, 3), init=relora.INIT_GRADIENT)
        self.assertAlmostEqual(report.gradient_after, 1)
        relora.project_moments(self.stream, ones(2, 1), ones(2, 1), a, a, 0.9, 0.999, 5)
        self.assertEqual(relora.reset_moments(self.stream, ones(100), ones(100), 0).zeroed_first, 99)
        step = relora.full_rank_step(self.stream, w, ones(2, 3), 0.1)
        self.assertAlmostEqual(step.grad_rank, 1)
        self.assertAlmostEqual(step.delta_norm, 0.1 * 0.2 * 3 ** 0.5, places=3)
        layer, weight = self.layer(), ones(2, 3)
        layer.set_weight(weight)
        self.assertAlmostEqual(layer.full_rank_step(self.stream, ones(2, 3), 0.1, 1).grad_norm, 6 ** 0.5, places=5)
        with self.assertRaisesRegex(relora.Error, 'relora_merge: weight is'):
            relora.merge(self.stream, ones(2, 2), a, b)

    def test_memory_of_the_program(self):
        layer, adam = self.layer(), relora.Adam(self.cpu)
        a = layer.param(relora.PARAM_A)
        mine = [relora.Tensor(self.cpu, a.shape) for _ in range(4)]
        for tensor in mine:
            tensor.fill(self.stream, 0)
        layer.set_param(relora.PARAM_A, mine[0])
        layer.set_grad(relora.PARAM_A, mine[1])
        index = adam.add_moments('a', layer.param(relora.PARAM_A), layer.grad(relora.PARAM_A), mine[2], mine[3])
        with self.assertRaisesRegex(relora.Error, 'shares memory'):
            adam.set_moments(index, mine[0], mine[3])

    def test_carry(self):
        old, new = relora.Adam(self.cpu), relora.Adam(self.cpu)
        p = relora.Tensor.borrow(self.cpu, array.array('f', [1, 2]), (2,))
        g = relora.Tensor.borrow(self.cpu, array.array('f', [0.5, 0.25]), (2,))
        for adam in old, new:
            adam.add('norm', p, g)
        old.step(self.stream, 0.1)
        self.assertEqual(new.carry(self.stream, old), 1)
        self.assertEqual(new.carry(self.stream, old, [0]), 1)
        self.assertEqual(new.steps(self.stream, 0), 1)
        self.assertEqual(list(new.moment(0, relora.MOMENT_FIRST).view()), list(old.moment(0, relora.MOMENT_FIRST).view()))
        with self.assertRaises(relora.Error):
            new.carry(self.stream, old, [1])

    def test_target(self):
        layer = self.layer(mode=relora.MODE_LOWRANK, alpha=1)
        weight = relora.Tensor.borrow(self.cpu, array.array('f', [0] * 6), (2, 3))
        a, b = layer.param(relora.PARAM_A), layer.param(relora.PARAM_B)
        a.fill(self.stream, 2)
        b.fill(self.stream, 3)
        layer.set_target(weight)
        self.assertEqual(layer.merge(self.stream, 1).layers, 1)
        self.assertEqual(list(weight.view()), [6] * 6)
        layer.set_target(None)
        with self.assertRaises(relora.Error):
            layer.merge(self.stream, 2)

    def test_group(self):
        group, w = relora.Group(self.cpu), array.array('f', [1] * 6)
        layer = group.wrap('a', relora.Tensor.borrow(self.cpu, w, (2, 3)), rank=1, dropout=0)
        group.add('norm', relora.Tensor(self.cpu, (3,)))
        with self.assertRaises(relora.Error):
            group.add('a', self.layer())
        self.assertEqual((group.count, group.find('norm'), group.name(0)), (2, 1, 'a'))
        self.assertEqual((group.linear(1), group.value(0), group.grad(1)), (None, None, None))
        adam = relora.Adam(self.cpu)
        adam.add_group(group)
        self.assertEqual(adam.name(0), 'a.lora_A.weight')
        self.assertEqual(group.merge(self.stream, 1).layers, 1)
        del group
        gc.collect()
        x, y = relora.Tensor(self.cpu, (1, 3)), relora.Tensor(self.cpu, (1, 2))
        x.fill(self.stream, 1)
        layer.forward(self.stream, x, y, 0)
        self.assertEqual(list(y.view()), [3, 3])

    def test_wrap_and_layout(self):
        layer = relora.Linear.wrap(self.cpu, relora.Tensor(self.cpu, (2, 3)), rank=1)
        layer.param(relora.PARAM_WEIGHT).fill(self.stream, 1)
        with self.assertRaisesRegex(relora.Error, 'in_features'):
            relora.Linear.wrap(self.cpu, None, rank=1)
        state = relora.State(self.context)
        state.add('l', layer)
        state.set_export_layout(relora.LAYOUT_IN_OUT)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'merged')
            state.export_merged(self.stream, path)
            self.assertEqual(relora.Reader(self.context, path).shape('l.weight'), (3, 2))

    def test_layers_that_share_x(self):
        layers = [self.layer(layer=n) for n in (0, 1)]
        tensors = [relora.Tensor(self.cpu, (4, n)) for n in (3, 2, 2)]
        x, y = tensors[0], tensors[1:]
        w = relora.Tensor(self.cpu, (2, 3))
        w.fill(self.stream, 1)
        x.fill(self.stream, 1)
        for layer in layers:
            layer.set_weight(w)
        relora.Linear.forward_shared(layers, self.stream, x, y, 0)
        self.assertEqual(list(y[1].view()), [3] * 8)
        relora.Linear.backward_shared(layers, self.stream, x, y, None, 0, relora.OVERWRITE)
        with self.assertRaises(ValueError):
            relora.Linear.forward_shared(layers, self.stream, x, y[:1], 0)


if __name__ == '__main__':
    unittest.main()
