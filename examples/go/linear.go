package relora

// #include "bridge.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Linear is y = x W^T + b + s * drop(x) A^T B^T.
type Linear struct {
	object[C.relora_linear]
	group *Group // whose layer it is, if it is not our own
}

func (l *Linear) p() *C.relora_linear {
	if l == nil {
		return nil
	}
	return l.c
}

// NewLinear makes a layer. W is missing until SetWeight.
func NewLinear(d *Device, options LinearOptions) (*Linear, error) {
	defer runtime.KeepAlive(d.ctx)
	o := options.toC()
	var c *C.relora_linear
	if err := contextError(C.relora_linear_create(&c, d.c, &o), d.ctx.c); err != nil {
		return nil, err
	}
	l := &Linear{object[C.relora_linear]{c, d.ctx.c}, nil}
	runtime.SetFinalizer(l, (*Linear).Close)
	return l, nil
}

// WrapLinear makes a layer over a weight; the sizes and the type are those of the weight. bias may be nil.
func WrapLinear(d *Device, weight, bias *Tensor, options LinearOptions) (*Linear, error) {
	defer runtime.KeepAlive(d.ctx)
	defer runtime.KeepAlive(weight)
	defer runtime.KeepAlive(bias)
	o := options.toC()
	var c *C.relora_linear
	if err := contextError(C.relora_linear_wrap(&c, d.c, weight.p(), bias.p(), &o), d.ctx.c); err != nil {
		return nil, err
	}
	l := &Linear{object[C.relora_linear]{c, d.ctx.c}, nil}
	runtime.SetFinalizer(l, (*Linear).Close)
	return l, nil
}

// Close drops this reference. Optimizers and cycles keep their own.
func (l *Linear) Close() {
	if l.group == nil {
		runtime.SetFinalizer(l, nil)
		C.relora_linear_release(l.c)
	}
	l.c, l.group = nil, nil
}

// SetWeight lets the layer train and merge in these tensors. bias may be nil.
func (l *Linear) SetWeight(weight, bias *Tensor) error {
	err := contextError(C.relora_linear_set_weight(l.p(), weight.p(), bias.p()), l.ctx)
	runtime.KeepAlive(l)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(bias)
	return err
}

// ForwardAt is a pass on memory of the layer's device, in its type; each row is ld elements behind the last.
func (l *Linear) ForwardAt(s *Stream, rows int64, x unsafe.Pointer, ldx int64, y unsafe.Pointer, ldy int64, call uint64, flags uint32) error {
	err := streamError(C.relora_linear_forward_at(l.p(), s.p(), C.int64_t(rows), x, C.int64_t(ldx), y, C.int64_t(ldy),
		C.uint64_t(call), C.uint32_t(flags)), s)
	runtime.KeepAlive(l)
	return err
}

// BackwardAt is the backward pass of it; dx may be nil.
func (l *Linear) BackwardAt(s *Stream, rows int64, x unsafe.Pointer, ldx int64, dy unsafe.Pointer, lddy int64, dx unsafe.Pointer, lddx int64, call uint64, flags uint32) error {
	err := streamError(C.relora_linear_backward_at(l.p(), s.p(), C.int64_t(rows), x, C.int64_t(ldx), dy, C.int64_t(lddy),
		dx, C.int64_t(lddx), C.uint64_t(call), C.uint32_t(flags)), s)
	runtime.KeepAlive(l)
	return err
}

// WeightGrad adds dy^T x to dw, or stores it with OVERWRITE, of a frozen W too.
func (l *Linear) WeightGrad(s *Stream, x, dy, dw *Tensor, flags uint32) error {
	err := streamError(C.relora_linear_weight_grad(l.p(), s.p(), x.p(), dy.p(), dw.p(), C.uint32_t(flags)), s)
	runtime.KeepAlive(l)
	runtime.KeepAlive(x)
	runtime.KeepAlive(dy)
	runtime.KeepAlive(dw)
	return err
}

// SetParam lets a parameter be memory of the program's.
func (l *Linear) SetParam(param Param, t *Tensor) error {
	err := contextError(C.relora_linear_set_param(l.p(), C.relora_param(param), t.p()), l.ctx)
	runtime.KeepAlive(l)
	runtime.KeepAlive(t)
	return err
}

// SetTarget says what a LOWRANK layer is merged into; nil for nothing.
func (l *Linear) SetTarget(weight *Tensor) error {
	err := contextError(C.relora_linear_set_target(l.p(), weight.p(), nil, nil), l.ctx)
	runtime.KeepAlive(l)
	runtime.KeepAlive(weight)
	return err
}

// SetGrad lets a gradient be memory of the program's.
func (l *Linear) SetGrad(param Param, t *Tensor) error {
	err := contextError(C.relora_linear_set_grad(l.p(), C.relora_param(param), t.p()), l.ctx)
	runtime.KeepAlive(l)
	runtime.KeepAlive(t)
	return err
}

// SetMode ends a warm start.
func (l *Linear) SetMode(s *Stream, mode LinearMode) error {
	err := streamError(C.relora_linear_set_mode(l.p(), s.p(), C.relora_linear_mode(mode)), s)
	runtime.KeepAlive(l)
	return err
}

// Mode is ModeFull, ModeLora or ModeLowrank.
func (l *Linear) Mode() LinearMode {
	defer runtime.KeepAlive(l)
	return LinearMode(C.relora_linear_get_mode(l.p()))
}

// Param is nil if the layer has no such parameter now.
func (l *Linear) Param(which Param) *Tensor {
	defer runtime.KeepAlive(l)
	return retained(C.relora_linear_param(l.p(), C.relora_param(which)), l.ctx)
}

// Grad is nil if the parameter is not trained in the present mode.
func (l *Linear) Grad(which Param) *Tensor {
	defer runtime.KeepAlive(l)
	return retained(C.relora_linear_grad(l.p(), C.relora_param(which)), l.ctx)
}

// Forward computes y. Dropout is a function of call.
func (l *Linear) Forward(s *Stream, x, y *Tensor, call uint64, flags uint32) error {
	err := streamError(C.relora_linear_forward(l.p(), s.p(), x.p(), y.p(), C.uint64_t(call), C.uint32_t(flags)), s)
	runtime.KeepAlive(l)
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	return err
}

// Backward adds to the gradients and computes dx, unless it is nil.
func (l *Linear) Backward(s *Stream, x, dy, dx *Tensor, call uint64, flags uint32) error {
	err := streamError(C.relora_linear_backward(l.p(), s.p(), x.p(), dy.p(), dx.p(), C.uint64_t(call), C.uint32_t(flags)), s)
	runtime.KeepAlive(l)
	runtime.KeepAlive(x)
	runtime.KeepAlive(dy)
	runtime.KeepAlive(dx)
	return err
}

func lists(layers []*Linear, tensors []*Tensor) ([]*C.relora_linear, []*C.relora_tensor, error) {
	if len(layers) != len(tensors) || len(layers) == 0 {
		return nil, nil, refused("relora: as many tensors as layers are needed, and one or more")
	}
	var ls []*C.relora_linear
	var ts []*C.relora_tensor
	for i := range layers {
		ls, ts = append(ls, layers[i].p()), append(ts, tensors[i].p())
	}
	return ls, ts, nil
}

// ForwardShared is Forward of layers that read the same x.
func ForwardShared(layers []*Linear, s *Stream, x *Tensor, y []*Tensor, call uint64, flags uint32) error {
	ls, ys, err := lists(layers, y)
	if err != nil {
		return err
	}
	err = streamError(C.relora_linear_forward_shared(&ls[0], C.int32_t(len(ls)), s.p(), x.p(), &ys[0],
		C.uint64_t(call), C.uint32_t(flags)), s)
	runtime.KeepAlive(layers)
	runtime.KeepAlive(x)
	runtime.KeepAlive(y)
	return err
}

// BackwardShared is Backward of them; dx, which may be nil, receives the sum.
func BackwardShared(layers []*Linear, s *Stream, x *Tensor, dy []*Tensor, dx *Tensor, call uint64, flags uint32) error {
	ls, dys, err := lists(layers, dy)
	if err != nil {
		return err
	}
	err = streamError(C.relora_linear_backward_shared(&ls[0], C.int32_t(len(ls)), s.p(), x.p(), &dys[0], dx.p(),
		C.uint64_t(call), C.uint32_t(flags)), s)
	runtime.KeepAlive(layers)
	runtime.KeepAlive(x)
	runtime.KeepAlive(dy)
	runtime.KeepAlive(dx)
	return err
}

// Plan says which order of products is taken for a number of rows, and what it costs.
func (l *Linear) Plan(rows int64, flags uint32) (PlanReport, error) {
	c := newPlanReportC()
	var r PlanReport
	err := contextError(C.relora_linear_plan(l.p(), C.int64_t(rows), C.uint32_t(flags), &c), l.ctx)
	r.fromC(&c)
	runtime.KeepAlive(l)
	return r, err
}

// SetOrder takes these orders from now on.
func (l *Linear) SetOrder(forward, backward Order) error {
	err := contextError(C.relora_linear_set_order(l.p(), C.relora_order(forward), C.relora_order(backward)), l.ctx)
	runtime.KeepAlive(l)
	return err
}

// ZeroGrad sets every gradient of the layer to 0.
func (l *Linear) ZeroGrad(s *Stream) error {
	err := streamError(C.relora_linear_zero_grad(l.p(), s.p()), s)
	runtime.KeepAlive(l)
	return err
}

// Merge does W += s B A.
func (l *Linear) Merge(s *Stream, cycle uint64) (MergeReport, error) {
	c := newMergeReportC()
	var r MergeReport
	err := streamError(C.relora_linear_merge(l.p(), s.p(), C.uint64_t(cycle), &c), s)
	r.fromC(&c)
	runtime.KeepAlive(l)
	return r, err
}

// FullRankStep moves the frozen W down the direction of its gradient, which is overwritten.
func (l *Linear) FullRankStep(s *Stream, grad *Tensor, lr float64, step uint64) (FullRankReport, error) {
	c := newFullRankReportC()
	var r FullRankReport
	err := streamError(C.relora_linear_full_rank_step(l.p(), s.p(), grad.p(), C.double(lr), C.uint64_t(step), &c), s)
	r.fromC(&c)
	runtime.KeepAlive(l)
	runtime.KeepAlive(grad)
	return r, err
}

// Reset draws A afresh and sets B to 0.
func (l *Linear) Reset(s *Stream, cycle uint64) error {
	err := streamError(C.relora_linear_reset(l.p(), s.p(), C.uint64_t(cycle)), s)
	runtime.KeepAlive(l)
	return err
}
