package relora

// #include "bridge.h"
import "C"

import "runtime"

// Merge is W += s B A, for a program with factors of its own.
func Merge(s *Stream, weight, a, b *Tensor, options MergeOptions) (MergeReport, error) {
	o, c := options.toC(), newMergeReportC()
	var r MergeReport
	err := streamError(C.relora_merge(s.p(), weight.p(), a.p(), b.p(), &o, &c), s)
	r.fromC(&c)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	return r, err
}

// FullRankStep moves W down the direction of its gradient, which is overwritten.
func FullRankStep(s *Stream, weight, grad *Tensor, lr float64, options MergeOptions) (FullRankReport, error) {
	o, c := options.toC(), newFullRankReportC()
	var r FullRankReport
	err := streamError(C.relora_full_rank_step(s.p(), weight.p(), grad.p(), C.double(lr), &o, &c), s)
	r.fromC(&c)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(grad)
	return r, err
}

// DrawFactors draws A afresh for a cycle and sets B to 0.
func DrawFactors(s *Stream, a, b *Tensor, seed, layer, cycle uint64) error {
	err := streamError(C.relora_factors_draw(s.p(), a.p(), b.p(), C.uint64_t(seed), C.uint64_t(layer), C.uint64_t(cycle)), s)
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	return err
}

// RenewFactors begins a new A by one of the inits and sets B to 0. The gradient of A may be nil.
func RenewFactors(s *Stream, a, b, gradient *Tensor, options FactorsOptions) (MergeReport, error) {
	o, c := options.toC(), newMergeReportC()
	var r MergeReport
	err := streamError(C.relora_factors_renew(s.p(), a.p(), b.p(), gradient.p(), &o, &c), s)
	r.fromC(&c)
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	runtime.KeepAlive(gradient)
	return r, err
}

// ProjectMoments carries the moments of B from one A to another.
func ProjectMoments(s *Stream, first, second, aOld, aNew *Tensor, beta1, beta2 float64, steps int64) error {
	err := streamError(C.relora_moments_project(s.p(), first.p(), second.p(), aOld.p(), aNew.p(), C.double(beta1),
		C.double(beta2), C.int64_t(steps)), s)
	runtime.KeepAlive(first)
	runtime.KeepAlive(second)
	runtime.KeepAlive(aOld)
	runtime.KeepAlive(aNew)
	return err
}

// ResetMoments partially resets two moments, for a program with an optimizer of its own.
func ResetMoments(s *Stream, first, second *Tensor, index uint64, options ResetOptions) (ResetReport, error) {
	o, c := options.toC(), newResetReportC()
	var r ResetReport
	err := streamError(C.relora_moments_reset(s.p(), first.p(), second.p(), C.uint64_t(index), &o, &c), s)
	r.fromC(&c)
	runtime.KeepAlive(first)
	runtime.KeepAlive(second)
	return r, err
}
