// Package relora has the building blocks of ReLoRA training: a layer W + s B A, Adam with a partial reset of its
// moments, the jagged learning rate, restarts and checkpoints. Each function is a call of librelora, whose headers
// are the manual.
//
// Close releases an object, in any order; what is not closed is released when the garbage collector finds it.
//
// An object stands for what it holds: an optimizer for its layers, a cycle for both. Objects that hang together
// may move between goroutines, but are used by one at a time; goroutines that compute at once need streams and
// layers of their own. With Threads above 1, call runtime.LockOSThread first: each thread of the system that calls
// gets a pool of its own.
//
// Memory of tensors is the library's, never Go's: With looks at it in place.
package relora

// #cgo pkg-config: relora
// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Error is a status below 0, with the sentence that says why.
type Error struct {
	Status Status
	Text   string
}

func (e *Error) Error() string {
	if e.Text == "" {
		return C.GoString(C.relora_status_text(C.relora_status(e.Status)))
	}
	return e.Text
}

// Is lets errors.Is(err, relora.ErrShape) ask for a status.
func (e *Error) Is(target error) bool {
	s, ok := target.(Status)
	return ok && s == e.Status
}

// String is the identifier of a status, "RELORA_E_SHAPE".
func (s Status) String() string { return C.GoString(C.relora_status_name(C.relora_status(s))) }

// Error makes a status a target for errors.Is.
func (s Status) Error() string { return s.String() }

// Version of the library that is loaded, as major<<16 | minor<<8 | patch.
func Version() uint32 { return uint32(C.relora_version()) }

// VersionString is such as "0.6.0".
func VersionString() string { return C.GoString(C.relora_version_string()) }

// BuildInfo is such as "gemm=onednn-2.6.3,threads=openmp".
func BuildInfo() string { return C.GoString(C.relora_build_info()) }

func contextError(status C.relora_status, ctx *C.relora_context) error {
	if status >= 0 {
		return nil
	}
	var length C.size_t
	C.relora_context_error(ctx, nil, 0, &length)
	buffer := make([]byte, length+1)
	C.relora_context_error(ctx, (*C.char)(unsafe.Pointer(&buffer[0])), length+1, &length)
	return &Error{Status(status), C.GoString((*C.char)(unsafe.Pointer(&buffer[0])))}
}

// The text of a stream is that of the caller's own call, whatever fails in other goroutines.
func streamError(status C.relora_status, s *Stream) error {
	if status >= 0 {
		return nil
	}
	if s == nil || s.c == nil {
		return &Error{Status(status), "relora: the stream is nil or closed"}
	}
	var length C.size_t
	C.relora_stream_error(s.c, nil, 0, &length)
	buffer := make([]byte, length+1)
	C.relora_stream_error(s.c, (*C.char)(unsafe.Pointer(&buffer[0])), length+1, &length)
	runtime.KeepAlive(s)
	return &Error{Status(status), C.GoString((*C.char)(unsafe.Pointer(&buffer[0])))}
}

// A handle and its context, which it keeps alive, for the text of failures.
type object[T any] struct {
	c   *T
	ctx *C.relora_context
}

func pointer[T any](o *object[T]) *T {
	if o == nil {
		return nil
	}
	return o.c
}

func refused(text string) error { return &Error{EArgument, text} }

func cString(text string) (*C.char, func()) {
	c := C.CString(text)
	return c, func() { C.free(unsafe.Pointer(c)) }
}

// Logger receives a level and a line, on the goroutine whose call has something to say.
type Logger func(level int32, line string)

// Context holds what is shared: the log, the number of threads, the devices.
type Context struct{ object[C.relora_context] }

// NewContext makes a context. log may be nil; moduleDir is the folder of the CUDA module, or "".
func NewContext(options ContextOptions, log Logger, moduleDir string) (*Context, error) {
	o := options.toC()
	if moduleDir != "" {
		folder, free := cString(moduleDir)
		defer free()
		o.module_dir = folder
	}
	if log == nil {
		log = func(int32, string) {}
	}
	user := cgo.NewHandle(log)
	C.bridge_context(&o, C.uintptr_t(user))
	var c *C.relora_context
	if status := C.relora_context_create(&c, &o); status < 0 {
		user.Delete()
		return nil, &Error{Status(status), refusal(o)}
	}
	ctx := &Context{object[C.relora_context]{c, c}}
	runtime.SetFinalizer(ctx, (*Context).Close)
	return ctx, nil
}

// refusal says why there is no context: only a log hears it.
func refusal(o C.relora_context_options) string {
	heard := ""
	user := cgo.NewHandle(Logger(func(_ int32, line string) { heard = line }))
	C.bridge_context(&o, C.uintptr_t(user))
	if o.log_level == C.RELORA_LOG_OFF {
		o.log_level = C.RELORA_LOG_ERROR
	}
	var c *C.relora_context
	if C.relora_context_create(&c, &o) < 0 {
		user.Delete()
	}
	C.relora_context_release(c)
	return heard
}

//export goLog
func goLog(user C.uintptr_t, level C.int32_t, message *C.char) {
	defer func() { _ = recover() }() // no panic may pass through the library
	cgo.Handle(user).Value().(Logger)(int32(level), C.GoString(message))
}

//export goDestroy
func goDestroy(user C.uintptr_t) { cgo.Handle(user).Delete() }

// Close gives the context back. What was made from it keeps what it needs.
func (c *Context) Close() {
	runtime.SetFinalizer(c, nil)
	C.relora_context_release(c.c)
	c.c = nil
}

// DeviceCount says how many devices of a kind there are.
func (c *Context) DeviceCount(kind DeviceKind) int {
	n := C.relora_device_count(c.c, C.relora_device_kind(kind))
	runtime.KeepAlive(c)
	return int(n)
}

// Device gives one of them.
func (c *Context) Device(kind DeviceKind, index int) (*Device, error) {
	d := C.relora_device_get(c.c, C.relora_device_kind(kind), C.int32_t(index))
	defer runtime.KeepAlive(c)
	if d == nil {
		return nil, contextError(C.relora_status(ENotFound), c.c)
	}
	return &Device{d, c}, nil
}

// CPU is the device that every context has.
func (c *Context) CPU() *Device {
	d, err := c.Device(DeviceCpu, 0)
	if err != nil {
		panic(err)
	}
	return d
}

// Device belongs to its context, and must not be used after that was closed.
type Device struct {
	c   *C.relora_device
	ctx *Context
}

// Kind is DeviceCpu or DeviceCuda.
func (d *Device) Kind() DeviceKind {
	defer runtime.KeepAlive(d.ctx)
	return DeviceKind(C.relora_device_get_kind(d.c))
}

// Name is for people.
func (d *Device) Name() string {
	defer runtime.KeepAlive(d.ctx)
	return C.GoString(C.relora_device_name(d.c))
}

// Memory gives the free and the total bytes.
func (d *Device) Memory() (free, total uint64, err error) {
	var f, t C.uint64_t
	err = contextError(C.relora_device_memory(d.c, &f, &t), d.ctx.c)
	runtime.KeepAlive(d.ctx)
	return uint64(f), uint64(t), err
}

// Stream is an ordered queue of work. On the CPU work is done when a call returns.
type Stream struct{ object[C.relora_stream] }

// NewStream makes a queue of its own.
func NewStream(d *Device) (*Stream, error) {
	var c *C.relora_stream
	return newStream(C.relora_stream_create(&c, d.c), &c, d)
}

// WrapStream uses a cudaStream_t of the host, which must outlive the stream.
func WrapStream(d *Device, native unsafe.Pointer) (*Stream, error) {
	var c *C.relora_stream
	return newStream(C.relora_stream_wrap(&c, d.c, native), &c, d)
}

func newStream(status C.relora_status, c **C.relora_stream, d *Device) (*Stream, error) {
	defer runtime.KeepAlive(d.ctx)
	if err := contextError(status, d.ctx.c); err != nil {
		return nil, err
	}
	s := &Stream{object[C.relora_stream]{*c, d.ctx.c}}
	runtime.SetFinalizer(s, (*Stream).Close)
	return s, nil
}

// Close releases the stream.
func (s *Stream) Close() {
	runtime.SetFinalizer(s, nil)
	C.relora_stream_release(s.c)
	s.c = nil
}

func (s *Stream) p() *C.relora_stream {
	if s == nil {
		return nil
	}
	return s.c
}

// Native is the cudaStream_t, or nil.
func (s *Stream) Native() unsafe.Pointer {
	defer runtime.KeepAlive(s)
	return C.relora_stream_native(s.p())
}

// Wait lets later work wait for what is queued on another stream.
func (s *Stream) Wait(other *Stream) error {
	err := streamError(C.relora_stream_wait(s.p(), other.p()), s)
	runtime.KeepAlive(other)
	return err
}

// Synchronize blocks until the queue is empty.
func (s *Stream) Synchronize() error { return streamError(C.relora_stream_synchronize(s.p()), s) }
