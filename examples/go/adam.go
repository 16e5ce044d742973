package relora

// #include "bridge.h"
import "C"

import "runtime"

// Adam is Adam or AdamW over registered parameters, with partial reset of its moments.
type Adam struct{ object[C.relora_adam] }

func (a *Adam) p() *C.relora_adam {
	if a == nil {
		return nil
	}
	return a.c
}

// NewAdam makes an optimizer without parameters.
func NewAdam(d *Device, options AdamOptions) (*Adam, error) {
	defer runtime.KeepAlive(d.ctx)
	o := options.toC()
	var c *C.relora_adam
	if err := contextError(C.relora_adam_create(&c, d.c, &o), d.ctx.c); err != nil {
		return nil, err
	}
	a := &Adam{object[C.relora_adam]{c, d.ctx.c}}
	runtime.SetFinalizer(a, (*Adam).Close)
	return a, nil
}

// Close drops this reference. A cycle keeps its own.
func (a *Adam) Close() {
	runtime.SetFinalizer(a, nil)
	C.relora_adam_release(a.c)
	a.c = nil
}

// Add registers one parameter and gives its index.
func (a *Adam) Add(name string, param, grad *Tensor) (int, error) {
	text, free := cString(name)
	defer free()
	index := C.int32_t(-1)
	err := contextError(C.relora_adam_add(a.p(), text, param.p(), grad.p(), &index), a.ctx)
	runtime.KeepAlive(a)
	runtime.KeepAlive(param)
	runtime.KeepAlive(grad)
	return int(index), err
}

// AddMoments is Add with moments of the program's, used as they are.
func (a *Adam) AddMoments(name string, param, grad, first, second *Tensor) (int, error) {
	text, free := cString(name)
	defer free()
	index := C.int32_t(-1)
	status := C.relora_adam_add_moments(a.p(), text, param.p(), grad.p(), first.p(), second.p(), &index)
	err := contextError(status, a.ctx)
	for _, t := range []*Tensor{param, grad, first, second} {
		runtime.KeepAlive(t)
	}
	runtime.KeepAlive(a)
	return int(index), err
}

// SetMoments lets a parameter that is registered already use moments of the program's.
func (a *Adam) SetMoments(index int, first, second *Tensor) error {
	err := contextError(C.relora_adam_set_moments(a.p(), C.int32_t(index), first.p(), second.p()), a.ctx)
	runtime.KeepAlive(a)
	runtime.KeepAlive(first)
	runtime.KeepAlive(second)
	return err
}

// AddLinear registers what a layer trains in its present mode.
func (a *Adam) AddLinear(prefix string, l *Linear) error {
	text, free := cString(prefix)
	defer free()
	err := contextError(C.relora_adam_add_linear(a.p(), text, l.p()), a.ctx)
	runtime.KeepAlive(a)
	runtime.KeepAlive(l)
	return err
}

// AddGroup registers what every member of a group trains.
func (a *Adam) AddGroup(g *Group) error {
	err := contextError(C.relora_adam_add_group(a.p(), g.p()), a.ctx)
	runtime.KeepAlive(a)
	runtime.KeepAlive(g)
	return err
}

// SetFactors gives one parameter its own step size and decay.
func (a *Adam) SetFactors(index int, lrFactor, weightDecay float64) error {
	err := contextError(C.relora_adam_set_factors(a.p(), C.int32_t(index), C.double(lrFactor), C.double(weightDecay)), a.ctx)
	runtime.KeepAlive(a)
	return err
}

// FlattenGrads moves all gradients into one buffer. No With may be looking at one.
func (a *Adam) FlattenGrads(s *Stream) error {
	err := streamError(C.relora_adam_flatten_grads(a.p(), s.p()), s)
	runtime.KeepAlive(a)
	return err
}

// FlatGrad is that buffer; nil before.
func (a *Adam) FlatGrad() *Tensor {
	defer runtime.KeepAlive(a)
	return retained(C.relora_adam_flat_grad(a.p()), a.ctx)
}

// ZeroGrad sets every gradient to 0.
func (a *Adam) ZeroGrad(s *Stream) error {
	err := streamError(C.relora_adam_zero_grad(a.p(), s.p()), s)
	runtime.KeepAlive(a)
	return err
}

// Step is one update of every parameter.
func (a *Adam) Step(s *Stream, lr, gradScale float64) error {
	err := streamError(C.relora_adam_step(a.p(), s.p(), C.double(lr), C.double(gradScale), nil), s)
	runtime.KeepAlive(a)
	return err
}

// StepReported is Step with a report, which waits for the stream.
func (a *Adam) StepReported(s *Stream, lr, gradScale float64) (StepReport, error) {
	c := newStepReportC()
	var r StepReport
	err := streamError(C.relora_adam_step(a.p(), s.p(), C.double(lr), C.double(gradScale), &c), s)
	r.fromC(&c)
	runtime.KeepAlive(a)
	return r, err
}

// StepLr reads the learning rate on the device.
func (a *Adam) StepLr(s *Stream, lr *Tensor, gradScale float64) error {
	err := streamError(C.relora_adam_step_lr(a.p(), s.p(), lr.p(), C.double(gradScale), nil), s)
	runtime.KeepAlive(a)
	runtime.KeepAlive(lr)
	return err
}

// GradNorm is the L2 norm over all gradients.
func (a *Adam) GradNorm(s *Stream) (float64, error) {
	var norm C.double
	err := streamError(C.relora_adam_grad_norm(a.p(), s.p(), &norm), s)
	runtime.KeepAlive(a)
	return float64(norm), err
}

// Reset partially resets moments. No index means every A and B that came with a layer.
func (a *Adam) Reset(s *Stream, options ResetOptions, indices ...int32) (ResetReport, error) {
	o, c := options.toC(), newResetReportC()
	var r ResetReport
	var list *C.int32_t
	copied := make([]C.int32_t, len(indices))
	for i, n := range indices {
		copied[i] = C.int32_t(n)
		list = &copied[0]
	}
	err := streamError(C.relora_adam_reset(a.p(), s.p(), list, C.int32_t(len(indices)), &o, &c), s)
	r.fromC(&c)
	runtime.KeepAlive(a)
	return r, err
}

// Carry copies the moments of parameters with the same names; without indices all of them. It gives their number.
func (a *Adam) Carry(s *Stream, from *Adam, indices ...int32) (int, error) {
	var list *C.int32_t
	copied := make([]C.int32_t, len(indices))
	for i, n := range indices {
		copied[i] = C.int32_t(n)
		list = &copied[0]
	}
	var carried C.int32_t
	err := streamError(C.relora_adam_carry(a.p(), s.p(), from.p(), list, C.int32_t(len(indices)), &carried), s)
	runtime.KeepAlive(a)
	runtime.KeepAlive(from)
	return int(carried), err
}

// Count is the number of parameters.
func (a *Adam) Count() int {
	defer runtime.KeepAlive(a)
	return int(C.relora_adam_count(a.p()))
}

// Name of a parameter; "" if there is none.
func (a *Adam) Name(index int) string {
	defer runtime.KeepAlive(a)
	return C.GoString(C.relora_adam_name(a.p(), C.int32_t(index)))
}

// Find gives the index of a parameter.
func (a *Adam) Find(name string) (int, error) {
	text, free := cString(name)
	defer free()
	index := C.int32_t(-1)
	err := contextError(C.relora_adam_find(a.p(), text, &index), a.ctx)
	runtime.KeepAlive(a)
	return int(index), err
}

// Moment is F32, of the shape of the parameter; nil if there is none.
func (a *Adam) Moment(index int, which Moment) *Tensor {
	defer runtime.KeepAlive(a)
	return retained(C.relora_adam_moment(a.p(), C.int32_t(index), C.relora_moment(which)), a.ctx)
}

// Steps counts the updates of a parameter.
func (a *Adam) Steps(s *Stream, index int) (int64, error) {
	var n C.int64_t
	err := streamError(C.relora_adam_steps(a.p(), s.p(), C.int32_t(index), &n), s)
	runtime.KeepAlive(a)
	return int64(n), err
}

// Refresh takes the layers as they are now; indices may change.
func (a *Adam) Refresh(s *Stream) error {
	err := streamError(C.relora_adam_refresh(a.p(), s.p()), s)
	runtime.KeepAlive(a)
	return err
}

// SetSteps sets that count.
func (a *Adam) SetSteps(s *Stream, index int, n int64) error {
	err := streamError(C.relora_adam_set_steps(a.p(), s.p(), C.int32_t(index), C.int64_t(n)), s)
	runtime.KeepAlive(a)
	return err
}
