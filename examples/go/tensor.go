package relora

// #include "bridge.h"
import "C"

import (
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Tensor is a dense array on one device.
type Tensor struct{ object[C.relora_tensor] }

func (t *Tensor) p() *C.relora_tensor {
	if t == nil {
		return nil
	}
	return t.c
}

func newTensor(status C.relora_status, c **C.relora_tensor, ctx *C.relora_context) (*Tensor, error) {
	if err := contextError(status, ctx); err != nil {
		return nil, err
	}
	t := &Tensor{object[C.relora_tensor]{*c, ctx}}
	runtime.SetFinalizer(t, (*Tensor).Close)
	return t, nil
}

// One more reference to a tensor of the library's own; nil for NULL.
func retained(c *C.relora_tensor, ctx *C.relora_context) *Tensor {
	if c == nil {
		return nil
	}
	C.relora_tensor_retain(c)
	t, _ := newTensor(0, &c, ctx)
	return t
}

func axes(shape []int64) (C.int32_t, *C.int64_t) {
	if len(shape) == 0 {
		return 0, nil
	}
	return C.int32_t(len(shape)), (*C.int64_t)(unsafe.Pointer(&shape[0]))
}

// NewTensor takes memory of the library's own. Its contents are undefined.
func NewTensor(d *Device, dtype Dtype, shape ...int64) (*Tensor, error) {
	defer runtime.KeepAlive(d.ctx)
	var c *C.relora_tensor
	n, p := axes(shape)
	return newTensor(C.relora_tensor_create(&c, d.c, C.relora_dtype(dtype), n, p), &c, d.ctx.c)
}

// BorrowTensor is a tensor over memory that is not Go's, such as that of C.malloc. done, which may be nil, is
// called once the library needs it no more. data may be nil for memory that comes later, by SetData.
func BorrowTensor(d *Device, dtype Dtype, data unsafe.Pointer, done func(), shape ...int64) (*Tensor, error) {
	defer runtime.KeepAlive(d.ctx)
	var c *C.relora_tensor
	n, p := axes(shape)
	owner := cgo.NewHandle(done)
	t, err := newTensor(C.bridge_borrow(&c, d.c, C.relora_dtype(dtype), n, p, nil, data, C.uintptr_t(owner)), &c, d.ctx.c)
	if err != nil {
		owner.Delete()
	}
	return t, err
}

// SetData points a borrowed tensor at other memory of the same size, which is not Go's. done of the old memory is
// called at once.
func (t *Tensor) SetData(data unsafe.Pointer, done func()) error {
	owner := cgo.NewHandle(done)
	err := contextError(C.bridge_set_data(t.p(), data, C.uintptr_t(owner)), t.ctx)
	if err != nil {
		owner.Delete()
	}
	runtime.KeepAlive(t)
	return err
}

//export goDelete
func goDelete(user C.uintptr_t) {
	h := cgo.Handle(user)
	done := h.Value().(func())
	h.Delete()
	defer func() { _ = recover() }()
	if done != nil {
		done()
	}
}

// Close drops this reference. Layers and optimizers keep their own.
func (t *Tensor) Close() {
	runtime.SetFinalizer(t, nil)
	C.relora_tensor_release(t.c)
	t.c = nil
}

// FromDLPack takes over a DLManagedTensorVersioned.
func FromDLPack(ctx *Context, managed unsafe.Pointer) (*Tensor, error) {
	defer runtime.KeepAlive(ctx)
	var c *C.relora_tensor
	return newTensor(C.relora_tensor_from_dlpack(&c, ctx.c, (*C.struct_DLManagedTensorVersioned)(managed)), &c, ctx.c)
}

// ToDLPack shares the tensor as a DLManagedTensorVersioned, whose deleter the consumer calls.
func (t *Tensor) ToDLPack(producer *Stream, consumer unsafe.Pointer) (unsafe.Pointer, error) {
	var out *C.struct_DLManagedTensorVersioned
	err := streamError(C.relora_tensor_to_dlpack(&out, t.p(), producer.p(), consumer), producer)
	runtime.KeepAlive(t)
	return unsafe.Pointer(out), err
}

// Dtype is F32 or BF16.
func (t *Tensor) Dtype() Dtype {
	defer runtime.KeepAlive(t)
	return Dtype(C.relora_tensor_dtype(t.p()))
}

// Shape is the size of each axis.
func (t *Tensor) Shape() []int64 {
	defer runtime.KeepAlive(t)
	shape := []int64{}
	for i := C.int32_t(0); i < C.relora_tensor_ndim(t.p()); i++ {
		shape = append(shape, int64(C.relora_tensor_dim(t.p(), i)))
	}
	return shape
}

// Stride of an axis, in elements.
func (t *Tensor) Stride(axis int) int64 {
	defer runtime.KeepAlive(t)
	return int64(C.relora_tensor_stride(t.p(), C.int32_t(axis)))
}

// Count is the number of elements.
func (t *Tensor) Count() int {
	defer runtime.KeepAlive(t)
	return int(C.relora_tensor_count(t.p()))
}

// Data is the address on the device. The tensor must be kept alive while it is used.
func (t *Tensor) Data() unsafe.Pointer { return C.relora_tensor_data(t.p()) }

// With calls look with the elements of an F32 tensor of the CPU, in place. The slice must not leave look, and
// nothing may be done meanwhile that moves or frees the memory.
func (t *Tensor) With(look func(values []float32)) error {
	defer runtime.KeepAlive(t)
	c := t.p()
	n := t.Count()
	gaps := C.relora_tensor_ndim(c) > 1 && int64(C.relora_tensor_stride(c, 0))*int64(C.relora_tensor_dim(c, 0)) != int64(n)
	if c == nil || t.Dtype() != F32 || gaps || C.relora_device_get_kind(C.relora_tensor_device(c)) != C.RELORA_DEVICE_CPU {
		return refused("relora: With needs F32 on the CPU without gaps")
	}
	if n > 0 && C.relora_tensor_data(c) == nil {
		return refused("relora: With needs a tensor that has memory")
	}
	if n == 0 {
		look(nil)
	} else {
		look(unsafe.Slice((*float32)(C.relora_tensor_data(c)), n))
	}
	return nil
}

// Write copies from the host.
func (t *Tensor) Write(s *Stream, from []float32) error {
	var p unsafe.Pointer
	if len(from) > 0 {
		p = unsafe.Pointer(&from[0])
	}
	err := streamError(C.relora_tensor_write(t.p(), s.p(), p, C.size_t(4*len(from))), s)
	runtime.KeepAlive(t)
	return err
}

// Read copies to the host.
func (t *Tensor) Read(s *Stream, to []float32) error {
	var p unsafe.Pointer
	if len(to) > 0 {
		p = unsafe.Pointer(&to[0])
	}
	err := streamError(C.relora_tensor_read(t.p(), s.p(), p, C.size_t(4*len(to))), s)
	runtime.KeepAlive(t)
	return err
}

// Copy takes the elements of a tensor of the same shape.
func (t *Tensor) Copy(s *Stream, source *Tensor) error {
	err := streamError(C.relora_tensor_copy(t.p(), source.p(), s.p()), s)
	runtime.KeepAlive(t)
	runtime.KeepAlive(source)
	return err
}

// Fill sets every element.
func (t *Tensor) Fill(s *Stream, value float64) error {
	err := streamError(C.relora_tensor_fill(t.p(), s.p(), C.double(value)), s)
	runtime.KeepAlive(t)
	return err
}
