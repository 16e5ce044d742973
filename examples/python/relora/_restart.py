"""Restarts of a program with factors, moments and an optimizer of its own."""
import ctypes

from ._library import check_stream, handle, lib, options, report


def merge(stream, weight, a, b, **fields):
    """W += s B A. Options: scale, flags, seed, layer, cycle, rounding."""
    r = report('merge')
    check_stream(lib.relora_merge(handle(stream), handle(weight), handle(a), handle(b),
                                  ctypes.byref(options('merge', fields)), ctypes.byref(r)), stream)
    return r


def full_rank_step(stream, weight, grad, lr, **fields):
    """One step of W down the direction of its gradient, which is overwritten. Options: scale, flags, seed, layer, cycle,
    rounding."""
    r = report('full_rank')
    check_stream(lib.relora_full_rank_step(handle(stream), handle(weight), handle(grad), lr,
                                           ctypes.byref(options('merge', fields)), ctypes.byref(r)), stream)
    return r


def draw_factors(stream, a, b, seed, layer, cycle):
    """A drawn afresh for a cycle, B := 0."""
    check_stream(lib.relora_factors_draw(handle(stream), handle(a), handle(b), seed, layer, cycle), stream)


def renew_factors(stream, a, b, gradient=None, **fields):
    """A new A by one of the inits, B := 0. Options: init, seed, layer, cycle."""
    r = report('merge')
    check_stream(lib.relora_factors_renew(handle(stream), handle(a), handle(b), handle(gradient),
                                          ctypes.byref(options('factors', fields)), ctypes.byref(r)), stream)
    return r


def project_moments(stream, first, second, a_old, a_new, beta1, beta2, steps):
    """The moments of B, carried from one A to another."""
    check_stream(lib.relora_moments_project(handle(stream), handle(first), handle(second), handle(a_old),
                                            handle(a_new), beta1, beta2, steps), stream)


def reset_moments(stream, first, second, index, **fields):
    """The partial reset of two moments. Options: mode, ratio, flags, seed, cycle."""
    r = report('reset')
    check_stream(lib.relora_moments_reset(handle(stream), handle(first), handle(second), index,
                                          ctypes.byref(options('reset', fields)), ctypes.byref(r)), stream)
    return r
