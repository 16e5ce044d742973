package relora

// #include "bridge.h"
import "C"

import "runtime"

// Group has the layers and other parameters of a model, each under a name of its own.
type Group struct{ object[C.relora_group] }

func (g *Group) p() *C.relora_group {
	if g == nil {
		return nil
	}
	return g.c
}

// NewGroup makes an empty one.
func NewGroup(d *Device) (*Group, error) {
	defer runtime.KeepAlive(d.ctx)
	var c *C.relora_group
	if err := contextError(C.relora_group_create(&c, d.c), d.ctx.c); err != nil {
		return nil, err
	}
	g := &Group{object[C.relora_group]{c, d.ctx.c}}
	runtime.SetFinalizer(g, (*Group).Close)
	return g, nil
}

// Close lets go of all members. Layers that the group made and nobody else holds must not be used any more.
func (g *Group) Close() {
	runtime.SetFinalizer(g, nil)
	C.relora_group_release(g.c)
	g.c = nil
}

// A layer of the group, which it keeps; nil for NULL.
func (g *Group) lent(c *C.relora_linear) *Linear {
	if c == nil {
		return nil
	}
	return &Linear{object[C.relora_linear]{c, g.ctx}, g}
}

// Wrap makes a layer over a weight and adds it; the group fills in what tells layers apart. bias may be nil.
func (g *Group) Wrap(name string, weight, bias *Tensor, options LinearOptions) (*Linear, error) {
	text, free := cString(name)
	defer free()
	o := options.toC()
	var c *C.relora_linear
	err := contextError(C.relora_group_wrap(g.p(), text, weight.p(), bias.p(), &o, &c), g.ctx)
	runtime.KeepAlive(g)
	runtime.KeepAlive(weight)
	runtime.KeepAlive(bias)
	return g.lent(c), err
}

// AddLinear adds a layer.
func (g *Group) AddLinear(name string, l *Linear) error {
	text, free := cString(name)
	defer free()
	err := contextError(C.relora_group_add_linear(g.p(), text, l.p()), g.ctx)
	runtime.KeepAlive(g)
	runtime.KeepAlive(l)
	return err
}

// AddParam adds a parameter of no layer; without a gradient it is only saved and read.
func (g *Group) AddParam(name string, param, grad *Tensor) error {
	text, free := cString(name)
	defer free()
	err := contextError(C.relora_group_add_param(g.p(), text, param.p(), grad.p()), g.ctx)
	runtime.KeepAlive(g)
	runtime.KeepAlive(param)
	runtime.KeepAlive(grad)
	return err
}

// Count is the number of members.
func (g *Group) Count() int {
	defer runtime.KeepAlive(g)
	return int(C.relora_group_count(g.p()))
}

// Find gives the index of a member.
func (g *Group) Find(name string) (int, error) {
	text, free := cString(name)
	defer free()
	index := C.int32_t(-1)
	err := contextError(C.relora_group_find(g.p(), text, &index), g.ctx)
	runtime.KeepAlive(g)
	return int(index), err
}

// Name of a member; "" if there is none.
func (g *Group) Name(index int) string {
	defer runtime.KeepAlive(g)
	return C.GoString(C.relora_group_name(g.p(), C.int32_t(index)))
}

// Linear is nil if the member is no layer.
func (g *Group) Linear(index int) *Linear {
	defer runtime.KeepAlive(g)
	return g.lent(C.relora_group_linear(g.p(), C.int32_t(index)))
}

// Value is nil if the member is a layer.
func (g *Group) Value(index int) *Tensor {
	defer runtime.KeepAlive(g)
	return retained(C.relora_group_value(g.p(), C.int32_t(index)), g.ctx)
}

// Grad is the gradient of such a member, or nil.
func (g *Group) Grad(index int) *Tensor {
	defer runtime.KeepAlive(g)
	return retained(C.relora_group_grad(g.p(), C.int32_t(index)), g.ctx)
}

// SetMode ends a warm start, for every layer or none.
func (g *Group) SetMode(s *Stream, mode LinearMode) error {
	err := streamError(C.relora_group_set_mode(g.p(), s.p(), C.relora_linear_mode(mode)), s)
	runtime.KeepAlive(g)
	return err
}

// Merge merges every layer.
func (g *Group) Merge(s *Stream, cycle uint64) (MergeReport, error) {
	c := newMergeReportC()
	var r MergeReport
	err := streamError(C.relora_group_merge(g.p(), s.p(), C.uint64_t(cycle), &c), s)
	r.fromC(&c)
	runtime.KeepAlive(g)
	return r, err
}

// Reset draws the factors of every layer afresh.
func (g *Group) Reset(s *Stream, cycle uint64) error {
	err := streamError(C.relora_group_reset(g.p(), s.p(), C.uint64_t(cycle)), s)
	runtime.KeepAlive(g)
	return err
}

// ZeroGrad sets every gradient to 0.
func (g *Group) ZeroGrad(s *Stream) error {
	err := streamError(C.relora_group_zero_grad(g.p(), s.p()), s)
	runtime.KeepAlive(g)
	return err
}
