"""check.py PROGRAM [unittest's arguments]: the tests of the pretraining program as a process: what it does with signals,
folders, files, terminals, processors and its command line. What it computes is tested elsewhere."""

import os
import signal
import sys
import unittest

import harness

SUITES = ['stopping', 'prolonging', 'folders', 'inputs', 'screen', 'dying', 'command', 'processors', 'classify']


def main():
    harness.PROGRAM = os.path.abspath(sys.argv[1])
    for name in ('OMP_NUM_THREADS', 'OMP_THREAD_LIMIT', 'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME', 'COLUMNS'):
        os.environ.pop(name, None)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and programs keep it so
    names = sys.argv[2:] or SUITES
    tests = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2 if sys.argv[2:] else 1).run(tests)
    print('100%%: Checks: %d, Failures: %d, Errors: %d' % (result.testsRun - len(result.skipped), len(result.failures),
                                                          len(result.errors)))
    return not result.wasSuccessful()


if __name__ == '__main__':
    sys.exit(main())
