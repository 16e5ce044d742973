package relora

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Writer collects tensors and saves them as safetensors.
type Writer struct {
	object[C.relora_writer]
	copies []unsafe.Pointer // of bytes that were added
}

// NewWriter makes an empty one.
func NewWriter(ctx *Context) (*Writer, error) {
	defer runtime.KeepAlive(ctx)
	var c *C.relora_writer
	if err := contextError(C.relora_writer_create(&c, ctx.c), ctx.c); err != nil {
		return nil, err
	}
	w := &Writer{object: object[C.relora_writer]{c, ctx.c}}
	runtime.SetFinalizer(w, (*Writer).Close)
	return w, nil
}

// Close releases the writer.
func (w *Writer) Close() {
	runtime.SetFinalizer(w, nil)
	C.relora_writer_release(w.c)
	w.c = nil
	for _, p := range w.copies {
		C.free(p)
	}
	w.copies = nil
}

// Add puts a tensor into the file. Its values are read by Save.
func (w *Writer) Add(name string, t *Tensor) error {
	text, free := cString(name)
	defer free()
	err := contextError(C.relora_writer_add(w.c, text, t.p()), w.ctx)
	runtime.KeepAlive(w)
	runtime.KeepAlive(t)
	return err
}

// AddBytes puts bytes of any type the format knows into the file. They are copied.
func (w *Writer) AddBytes(name, dtype string, bytes []byte, shape ...int64) error {
	text, free := cString(name)
	defer free()
	kind, freeKind := cString(dtype)
	defer freeKind()
	n, p := axes(shape)
	data := C.CBytes(bytes)
	err := contextError(C.relora_writer_add_bytes(w.c, text, kind, n, p, data, C.size_t(len(bytes))), w.ctx)
	w.copies = append(w.copies, data)
	runtime.KeepAlive(w)
	return err
}

// SetMetadata sets one pair of the file's metadata.
func (w *Writer) SetMetadata(key, value string) error {
	k, free := cString(key)
	defer free()
	v, freeValue := cString(value)
	defer freeValue()
	err := contextError(C.relora_writer_set_metadata(w.c, k, v), w.ctx)
	runtime.KeepAlive(w)
	return err
}

// Save writes the file, whole or not at all.
func (w *Writer) Save(s *Stream, path string, flags uint32) error {
	text, free := cString(path)
	defer free()
	err := streamError(C.relora_writer_save(w.c, s.p(), text, C.uint32_t(flags)), s)
	runtime.KeepAlive(w)
	return err
}

// Reader gives out the tensors of a safetensors file, which was checked whole before.
type Reader struct {
	object[C.relora_reader]
	copied unsafe.Pointer
}

func newReader(status C.relora_status, c **C.relora_reader, ctx *Context, copied unsafe.Pointer) (*Reader, error) {
	defer runtime.KeepAlive(ctx)
	if err := contextError(status, ctx.c); err != nil {
		C.free(copied)
		return nil, err
	}
	r := &Reader{object[C.relora_reader]{*c, ctx.c}, copied}
	runtime.SetFinalizer(r, (*Reader).Close)
	return r, nil
}

// OpenReader maps a file, which must not be shortened meanwhile.
func OpenReader(ctx *Context, path string) (*Reader, error) {
	text, free := cString(path)
	defer free()
	var c *C.relora_reader
	return newReader(C.relora_reader_open(&c, ctx.c, text), &c, ctx, nil)
}

// OpenReaderIfThere gives nil for a file that does not exist.
func OpenReaderIfThere(ctx *Context, path string) (*Reader, error) {
	text, free := cString(path)
	defer free()
	var c *C.relora_reader
	status := C.relora_reader_open_if_there(&c, ctx.c, text)
	if status >= 0 && c == nil {
		runtime.KeepAlive(ctx)
		return nil, nil
	}
	return newReader(status, &c, ctx, nil)
}

// ReadBytes reads a file that is in memory. The bytes are copied.
func ReadBytes(ctx *Context, bytes []byte) (*Reader, error) {
	var c *C.relora_reader
	data := C.CBytes(bytes)
	return newReader(C.relora_reader_open_memory(&c, ctx.c, data, C.size_t(len(bytes))), &c, ctx, data)
}

// Close releases the reader.
func (r *Reader) Close() {
	runtime.SetFinalizer(r, nil)
	C.relora_reader_release(r.c)
	C.free(r.copied)
	r.c, r.copied = nil, nil
}

// Count is the number of tensors.
func (r *Reader) Count() int {
	defer runtime.KeepAlive(r)
	return int(C.relora_reader_count(r.c))
}

// Name of a tensor, in the order of the file; "" if there is none.
func (r *Reader) Name(index int) string {
	defer runtime.KeepAlive(r)
	return C.GoString(C.relora_reader_name(r.c, C.int32_t(index)))
}

// Dtype is the format's name, "F32"; "" if there is no such tensor.
func (r *Reader) Dtype(name string) string {
	text, free := cString(name)
	defer free()
	defer runtime.KeepAlive(r)
	return C.GoString(C.relora_reader_dtype(r.c, text))
}

// Shape of a tensor.
func (r *Reader) Shape(name string) ([]int64, error) {
	text, free := cString(name)
	defer free()
	defer runtime.KeepAlive(r)
	var n C.int32_t
	if err := contextError(C.relora_reader_shape(r.c, text, &n, nil, 0), r.ctx); err != nil || n == 0 {
		return nil, err
	}
	shape := make([]int64, n)
	return shape, contextError(C.relora_reader_shape(r.c, text, &n, (*C.int64_t)(unsafe.Pointer(&shape[0])), n), r.ctx)
}

// Bytes of a tensor, copied.
func (r *Reader) Bytes(name string) ([]byte, error) {
	text, free := cString(name)
	defer free()
	defer runtime.KeepAlive(r)
	var data unsafe.Pointer
	var size C.size_t
	if err := contextError(C.relora_reader_bytes(r.c, text, &data, &size), r.ctx); err != nil || size == 0 {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(data), int(size))...), nil
}

// Metadata gives all pairs.
func (r *Reader) Metadata() map[string]string {
	defer runtime.KeepAlive(r)
	pairs := map[string]string{}
	for i := C.int32_t(0); i < C.relora_reader_metadata_count(r.c); i++ {
		key := C.relora_reader_metadata_key(r.c, i)
		pairs[C.GoString(key)] = C.GoString(C.relora_reader_metadata(r.c, key))
	}
	return pairs
}

// Read copies a tensor of the file into target.
func (r *Reader) Read(s *Stream, name string, target *Tensor, flags uint32) error {
	text, free := cString(name)
	defer free()
	err := streamError(C.relora_reader_read(r.c, s.p(), text, target.p(), C.uint32_t(flags)), s)
	runtime.KeepAlive(r)
	runtime.KeepAlive(target)
	return err
}

// ReadGroup copies the weights of a model by their names.
func (r *Reader) ReadGroup(s *Stream, g *Group, flags uint32) (ReadReport, error) {
	c := newReadReportC()
	var report ReadReport
	err := streamError(C.relora_reader_read_group(r.c, s.p(), g.p(), C.uint32_t(flags), &c), s)
	report.fromC(&c)
	runtime.KeepAlive(r)
	runtime.KeepAlive(g)
	return report, err
}

// Verify checks every checksum the file has.
func (r *Reader) Verify() error {
	defer runtime.KeepAlive(r)
	return contextError(C.relora_reader_verify(r.c), r.ctx)
}

// State is everything a training run consists of, saved and restored in one call each.
type State struct {
	object[C.relora_state]
	bytes []unsafe.Pointer // that AddBytes gave out
}

// NewState makes an empty one.
func NewState(ctx *Context) (*State, error) {
	defer runtime.KeepAlive(ctx)
	var c *C.relora_state
	if err := contextError(C.relora_state_create(&c, ctx.c), ctx.c); err != nil {
		return nil, err
	}
	s := &State{object: object[C.relora_state]{c, ctx.c}}
	runtime.SetFinalizer(s, (*State).Close)
	return s, nil
}

// Close releases the state.
func (t *State) Close() {
	runtime.SetFinalizer(t, nil)
	C.relora_state_release(t.c)
	t.c = nil
	for _, p := range t.bytes {
		C.free(p)
	}
	t.bytes = nil
}

// AddBytes gives memory that is saved and restored with the state, and is the program's to use until Close. Keep the
// State as long as the slice.
func (t *State) AddBytes(name string, size int) ([]byte, error) {
	text, free := cString(name)
	defer free()
	defer runtime.KeepAlive(t)
	data := C.calloc(C.size_t(size)+1, 1)
	if err := contextError(C.relora_state_add_bytes(t.c, text, data, C.size_t(size)), t.ctx); err != nil {
		C.free(data)
		return nil, err
	}
	t.bytes = append(t.bytes, data)
	return unsafe.Slice((*byte)(data), size), nil
}

// Add puts a *Tensor, *Linear, *Adam, *Schedule or *Cycle into the state.
func (t *State) Add(name string, part any) error {
	text, free := cString(name)
	defer free()
	defer runtime.KeepAlive(t)
	defer runtime.KeepAlive(part)
	switch p := part.(type) {
	case *Tensor:
		return contextError(C.relora_state_add_tensor(t.c, text, p.p()), t.ctx)
	case *Linear:
		return contextError(C.relora_state_add_linear(t.c, text, p.p()), t.ctx)
	case *Adam:
		return contextError(C.relora_state_add_adam(t.c, text, p.p()), t.ctx)
	case *Schedule:
		return contextError(C.relora_state_add_schedule(t.c, text, pointer(&p.object)), t.ctx)
	case *Cycle:
		return contextError(C.relora_state_add_cycle(t.c, text, pointer(&p.object)), t.ctx)
	}
	return refused("relora: a state takes *Tensor, *Linear, *Adam, *Schedule and *Cycle")
}

// AddGroup puts every member of a group into the state.
func (t *State) AddGroup(g *Group) error {
	defer runtime.KeepAlive(t)
	defer runtime.KeepAlive(g)
	return contextError(C.relora_state_add_group(t.c, g.p()), t.ctx)
}

// Set keeps metadata of the host's own.
func (t *State) Set(key, value string) error {
	k, free := cString(key)
	defer free()
	v, freeValue := cString(value)
	defer freeValue()
	defer runtime.KeepAlive(t)
	return contextError(C.relora_state_set(t.c, k, v), t.ctx)
}

// Save writes all of it.
func (t *State) Save(s *Stream, path string, flags uint32) error {
	text, free := cString(path)
	defer free()
	defer runtime.KeepAlive(t)
	return streamError(C.relora_state_save(t.c, s.p(), text, C.uint32_t(flags)), s)
}

// Load restores all of it, or changes nothing.
func (t *State) Load(s *Stream, r *Reader) error {
	defer runtime.KeepAlive(t)
	defer runtime.KeepAlive(r)
	return streamError(C.relora_state_load(t.c, s.p(), r.c), s)
}

// SetExportLayout chooses how exports write the weights of layers.
func (t *State) SetExportLayout(layout Layout) error {
	defer runtime.KeepAlive(t)
	return contextError(C.relora_state_set_export_layout(t.c, C.relora_layout(layout)), t.ctx)
}

// ExportMerged writes plain weights.
func (t *State) ExportMerged(s *Stream, path string) error {
	text, free := cString(path)
	defer free()
	defer runtime.KeepAlive(t)
	return streamError(C.relora_state_export_merged(t.c, s.p(), text), s)
}

// ExportAdapter writes A and B of every layer as PEFT reads them.
func (t *State) ExportAdapter(s *Stream, folder, baseModel string) error {
	text, free := cString(folder)
	defer free()
	base, freeBase := cString(baseModel)
	defer freeBase()
	defer runtime.KeepAlive(t)
	return streamError(C.relora_state_export_adapter(t.c, s.p(), text, base), s)
}

// ExportDelta writes the sum of all merges.
func (t *State) ExportDelta(s *Stream, path string) error {
	text, free := cString(path)
	defer free()
	defer runtime.KeepAlive(t)
	return streamError(C.relora_state_export_delta(t.c, s.p(), text), s)
}
