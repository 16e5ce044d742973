package relora

// #include "bridge.h"
import "C"

import (
	"runtime"
	"runtime/cgo"
)

// Schedule is the learning rate as a pure function of the step.
type Schedule struct{ object[C.relora_schedule] }

// NewSchedule makes one.
func NewSchedule(ctx *Context, options ScheduleOptions) (*Schedule, error) {
	defer runtime.KeepAlive(ctx)
	o := options.toC()
	var c *C.relora_schedule
	if err := contextError(C.relora_schedule_create(&c, ctx.c, &o), ctx.c); err != nil {
		return nil, err
	}
	s := &Schedule{object[C.relora_schedule]{c, ctx.c}}
	runtime.SetFinalizer(s, (*Schedule).Close)
	return s, nil
}

// Close releases the schedule.
func (s *Schedule) Close() {
	runtime.SetFinalizer(s, nil)
	C.relora_schedule_release(s.c)
	s.c = nil
}

// Lr of the update that follows step finished ones.
func (s *Schedule) Lr(step int64) (float64, error) {
	var lr C.double
	err := contextError(C.relora_schedule_lr(s.c, C.int64_t(step), &lr), s.ctx)
	runtime.KeepAlive(s)
	return float64(lr), err
}

// CycleOptions are those of a cycle whose restarts are the schedule's.
func (s *Schedule) CycleOptions() (CycleOptions, error) {
	o := DefaultCycleOptions()
	c := o.toC()
	err := contextError(C.relora_cycle_options_follow(&c, s.c), s.ctx)
	o.fromC(&c)
	runtime.KeepAlive(s)
	return o, err
}

// NextRestart is the first step after step that begins a new cycle of the curve; -1 if there is none.
func (s *Schedule) NextRestart(step int64) (int64, error) {
	var next C.int64_t
	err := contextError(C.relora_schedule_next_restart(s.c, C.int64_t(step), &next), s.ctx)
	runtime.KeepAlive(s)
	return int64(next), err
}

// Hook is called around the work of a restart. It must not call into the cycle, its layers or its optimizer, except
// to read their tensors.
type Hook func(step int64, events uint32)

type hooks struct {
	hook   [2]Hook // before, after
	caught any
}

//export goHook
func goHook(user C.uintptr_t, which C.int, step C.int64_t, events C.uint32_t) {
	h := cgo.Handle(user).Value().(*hooks)
	defer func() {
		if caught := recover(); caught != nil { // no panic may pass through the library
			h.caught = caught
		}
	}()
	if hook := h.hook[which]; hook != nil {
		hook(int64(step), uint32(events))
	}
}

// Cycle is the ReLoRA restart: when to merge, when to reset, and doing both.
type Cycle struct {
	object[C.relora_cycle]
	hooks  *hooks
	handle cgo.Handle
}

// NewCycle makes a cycle. adam, reset and the hooks may be nil. A panic of a hook comes out of Advance or Finish.
func NewCycle(ctx *Context, options CycleOptions, adam *Adam, reset *ResetOptions, before, after Hook) (*Cycle, error) {
	defer runtime.KeepAlive(ctx)
	defer runtime.KeepAlive(adam)
	o := options.toC()
	h := &hooks{hook: [2]Hook{before, after}}
	handle := cgo.NewHandle(h)
	C.bridge_cycle(&o, C.uintptr_t(handle))
	var r *C.relora_reset_options
	if reset != nil {
		c := reset.toC()
		r = &c
	}
	var c *C.relora_cycle
	if err := contextError(C.relora_cycle_create(&c, ctx.c, &o, adam.p(), r), ctx.c); err != nil {
		handle.Delete()
		return nil, err
	}
	y := &Cycle{object[C.relora_cycle]{c, ctx.c}, h, handle}
	runtime.SetFinalizer(y, (*Cycle).Close)
	return y, nil
}

// Close releases the cycle.
func (y *Cycle) Close() {
	runtime.SetFinalizer(y, nil)
	if y.c != nil {
		C.relora_cycle_release(y.c)
		y.handle.Delete()
	}
	y.c = nil
}

// Add lets the cycle restart a layer.
func (y *Cycle) Add(l *Linear) error {
	err := contextError(C.relora_cycle_add(y.c, l.p()), y.ctx)
	runtime.KeepAlive(y)
	runtime.KeepAlive(l)
	return err
}

// AddGroup lets the cycle restart every layer of a group that can be.
func (y *Cycle) AddGroup(g *Group) error {
	err := contextError(C.relora_cycle_add_group(y.c, g.p()), y.ctx)
	runtime.KeepAlive(y)
	runtime.KeepAlive(g)
	return err
}

// Due says which events follow the update that makes step of them.
func (y *Cycle) Due(step int64) (uint32, error) {
	var events C.uint32_t
	err := contextError(C.relora_cycle_due(y.c, C.int64_t(step), &events), y.ctx)
	runtime.KeepAlive(y)
	return uint32(events), err
}

// Restart is what Advance did.
type Restart struct {
	Events uint32
	Merge  MergeReport
	Reset  ResetReport
}

// Advance does what is due after step updates.
func (y *Cycle) Advance(s *Stream, step int64) (Restart, error) {
	m, r := newMergeReportC(), newResetReportC()
	var events C.uint32_t
	var result Restart
	err := streamError(C.relora_cycle_advance(y.c, s.p(), C.int64_t(step), &events, &m, &r), s)
	y.panicAgain()
	result.Events = uint32(events)
	result.Merge.fromC(&m)
	result.Reset.fromC(&r)
	runtime.KeepAlive(y)
	return result, err
}

// Finish merges once more at the end of training.
func (y *Cycle) Finish(s *Stream, step int64) (MergeReport, error) {
	m := newMergeReportC()
	var report MergeReport
	err := streamError(C.relora_cycle_finish(y.c, s.p(), C.int64_t(step), &m), s)
	y.panicAgain()
	report.fromC(&m)
	runtime.KeepAlive(y)
	return report, err
}

func (y *Cycle) panicAgain() {
	if caught := y.hooks.caught; caught != nil {
		y.hooks.caught = nil
		panic(caught)
	}
}
