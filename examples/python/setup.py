"""A wheel that carries librelora.so (`make wheel`) is one of this platform, for every Python 3; without it, of any."""
import glob
import os

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

carries = bool(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'relora', '*.so*')))


class Carrier(Distribution):
    def has_ext_modules(self):
        return carries


class Wheel(bdist_wheel):
    def get_tag(self):
        _, _, platform = super().get_tag()
        return 'py3', 'none', platform


setup(distclass=Carrier, cmdclass={'bdist_wheel': Wheel})
