package relora

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

func open(t *testing.T, log Logger) (*Context, *Device, *Stream) {
	t.Helper()
	o := DefaultContextOptions()
	o.LogLevel = LogError
	ctx, err := NewContext(o, log, "")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStream(ctx.CPU())
	if err != nil {
		t.Fatal(err)
	}
	return ctx, ctx.CPU(), s
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func floats(t *testing.T, d *Device, s *Stream, value float64, shape ...int64) *Tensor {
	t.Helper()
	x, err := NewTensor(d, F32, shape...)
	ok(t, err)
	ok(t, x.Fill(s, value))
	return x
}

func layer(t *testing.T, d *Device) *Linear {
	t.Helper()
	o := DefaultLinearOptions()
	o.InFeatures, o.OutFeatures, o.Rank, o.Dropout = 3, 2, 1, 0
	l, err := NewLinear(d, o)
	ok(t, err)
	return l
}

func TestErrors(t *testing.T) {
	var lines []string
	_, d, s := open(t, func(level int32, line string) { lines = append(lines, fmt.Sprint(level, line)) })
	x := floats(t, d, s, 1, 2)
	err := x.Write(s, make([]float32, 3))
	var e *Error
	if !errors.Is(err, EShape) || !errors.As(err, &e) || !strings.Contains(e.Text, "relora_tensor_write: bytes is 12") {
		t.Error(err)
	}
	if len(lines) != 1 || lines[0] != fmt.Sprint(LogError, e.Text) {
		t.Error(lines)
	}
	if _, err = NewLinear(d, DefaultLinearOptions()); !errors.Is(err, EArgument) {
		t.Error(err)
	}
	if err = x.Fill(nil, 1); err == nil {
		t.Error("a stream that is nil")
	}
	o := DefaultContextOptions()
	o.Threads = 0
	if _, err = NewContext(o, nil, ""); !errors.Is(err, EArgument) || !strings.Contains(err.Error(), "options.threads is 0") {
		t.Error(err)
	}
}

// What a context was given lives until the last object made from it has gone.
func TestLogOutlivesContext(t *testing.T) {
	lines := 0
	ctx, d, s := open(t, func(int32, string) { lines++; panic("in the log") })
	x := floats(t, d, s, 0, 2)
	ctx.Close()
	runtime.GC()
	if x.Write(s, nil) == nil || lines != 1 {
		t.Error(lines)
	}
	x.Close()
	s.Close()
	s.Close()
}

// Each buffer that was lent is given back once.
func TestBorrowed(t *testing.T) {
	_, d, s := open(t, nil)
	done := map[string]int{}
	a, b := Malloc(8), Malloc(8)
	defer Free(a)
	defer Free(b)
	x, err := BorrowTensor(d, F32, a, func() { done["a"]++ }, 2)
	ok(t, err)
	ok(t, x.SetData(b, func() { done["b"]++ }))
	ok(t, x.Fill(s, 3))
	if *(*float32)(unsafe.Add(b, 4)) != 3 || !reflect.DeepEqual(done, map[string]int{"a": 1}) {
		t.Error(done)
	}
	ok(t, x.SetData(b, func() { done["c"]++ }))
	if x.SetData(nil, func() { done["d"]++ }) == nil {
		t.Error("no memory")
	}
	l := layer(t, d)
	if err := l.SetWeight(x, nil); !errors.Is(err, EShape) {
		t.Error(err)
	}
	x.Close()
	if !reflect.DeepEqual(done, map[string]int{"a": 1, "b": 1, "c": 1}) {
		t.Error(done)
	}
	if _, err := BorrowTensor(d, F32, nil, func() { done["e"]++ }, -2); err == nil || done["e"] != 0 {
		t.Error(err)
	}
	hollow, err := BorrowTensor(d, F32, nil, func() { done["e"]++ }, 2)
	ok(t, err)
	if err := hollow.Fill(s, 1); !errors.Is(err, EState) {
		t.Error(err)
	}
	if err := hollow.With(func([]float32) {}); err == nil {
		t.Error("memory that does not exist was shown")
	}
	ok(t, hollow.SetData(a, nil))
	ok(t, hollow.Fill(s, 1))
	hollow.Close()
	if done["e"] != 1 {
		t.Error(done)
	}
}

func TestHooks(t *testing.T) {
	ctx, d, s := open(t, nil)
	l := layer(t, d)
	ok(t, l.SetWeight(floats(t, d, s, 1, 2, 3), nil))
	o := DefaultCycleOptions()
	o.MergeEvery = 2
	var seen []int64
	y, err := NewCycle(ctx, o, nil, nil, func(step int64, events uint32) { seen = append(seen, step) },
		func(step int64, events uint32) { panic(fmt.Sprint("after ", step)) })
	ok(t, err)
	ok(t, y.Add(l))
	_, err = y.Advance(s, 2)
	ok(t, err)
	defer func() {
		if r := recover(); r != "after 3" || !reflect.DeepEqual(seen, []int64{3}) {
			t.Error(r, seen)
		}
		y.Close()
		y.Close()
	}()
	_, err = y.Advance(s, 3)
	t.Error("no panic", err)
}

func TestFiles(t *testing.T) {
	ctx, d, s := open(t, nil)
	path := filepath.Join(t.TempDir(), "file")
	w, err := NewWriter(ctx)
	ok(t, err)
	ok(t, w.Add("x", floats(t, d, s, 2, 1, 2)))
	ok(t, w.AddBytes("n", "I64", []byte{5, 0, 0, 0, 0, 0, 0, 0}, 1))
	ok(t, w.SetMetadata("who", "go"))
	ok(t, w.Save(s, path, 0))
	w.Close()
	bytes, err := os.ReadFile(path)
	ok(t, err)
	for _, open := range []func() (*Reader, error){
		func() (*Reader, error) { return OpenReader(ctx, path) }, func() (*Reader, error) { return ReadBytes(ctx, bytes) },
	} {
		r, err := open()
		ok(t, err)
		shape, err := r.Shape("x")
		n, _ := r.Bytes("n")
		if err != nil || !reflect.DeepEqual(shape, []int64{1, 2}) || n[0] != 5 || r.Count() != 2 || r.Metadata()["who"] != "go" {
			t.Error(shape, n, r.Metadata())
		}
		x := floats(t, d, s, 0, 1, 2)
		ok(t, r.Read(s, "x", x, 0))
		ok(t, x.With(func(v []float32) {
			if v[1] != 2 {
				t.Error(v)
			}
		}))
		r.Close()
	}
	if r, err := OpenReaderIfThere(ctx, path+"?"); r != nil || err != nil {
		t.Error(r, err)
	}
	if _, err := ReadBytes(ctx, bytes[:20]); !errors.Is(err, EFormat) {
		t.Error(err)
	}
}

// Goroutines with streams of their own compute side by side, and each gets the text of its own failures.
func TestGoroutines(t *testing.T) {
	ctx, d, _ := open(t, nil)
	var wait sync.WaitGroup
	results := make([]float64, 8)
	for g := range results {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			s, err := NewStream(d)
			if err != nil {
				t.Error(err)
				return
			}
			l := layer(t, d)
			w, x, y := floats(t, d, s, 1, 2, 3), floats(t, d, s, 2, 4, 3), floats(t, d, s, 0, 4, 2)
			if err := l.SetWeight(w, nil); err != nil {
				t.Error(err)
			}
			for i := 0; i < 200; i++ {
				if err := l.Forward(s, x, y, uint64(i), Train); err != nil {
					t.Error(err)
				}
				bytes := 100 + 10*g
				err := x.Write(s, make([]float32, bytes))
				if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("relora_tensor_write: bytes is %d,", 4*bytes)) {
					t.Error(g, err)
					return
				}
				if i%50 == 0 {
					runtime.GC()
				}
			}
			if err := y.With(func(v []float32) { results[g] = float64(v[7]) }); err != nil {
				t.Error(err)
			}
		}(g)
	}
	wait.Wait()
	for _, r := range results {
		if r != 6 {
			t.Error(results)
		}
	}
	ctx.Close()
}

// Objects that nobody closed are released by the collector, in its own order, and the log after all of them.
func TestCollected(t *testing.T) {
	gone := make(chan bool, 1)
	func() {
		marker := new([64]int)
		runtime.SetFinalizer(marker, func(*[64]int) { gone <- true })
		ctx, d, s := open(t, func(int32, string) { marker[0]++ })
		a, err := NewAdam(d, DefaultAdamOptions())
		ok(t, err)
		l := layer(t, d)
		ok(t, l.SetWeight(floats(t, d, s, 1, 2, 3), nil))
		ok(t, a.AddLinear("l", l))
		o := DefaultCycleOptions()
		o.MergeEvery = 2
		y, err := NewCycle(ctx, o, a, nil, nil, nil)
		ok(t, err)
		ok(t, y.Add(l))
	}()
	for i := 0; i < 100; i++ {
		runtime.GC()
		select {
		case <-gone:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Error("the log of the context was never released")
}

func TestGroup(t *testing.T) {
	_, d, s := open(t, nil)
	g, err := NewGroup(d)
	ok(t, err)
	o := DefaultLinearOptions()
	o.Rank, o.Dropout = 1, 0
	l, err := g.Wrap("a", floats(t, d, s, 1, 2, 3), nil, o)
	ok(t, err)
	ok(t, g.AddParam("norm", floats(t, d, s, 1, 3), nil))
	if err := g.AddLinear("a", layer(t, d)); !errors.Is(err, EExists) {
		t.Error(err)
	}
	i, err := g.Find("norm")
	if err != nil || i != 1 || g.Count() != 2 || g.Name(0) != "a" || g.Linear(1) != nil || g.Value(0) != nil || g.Grad(1) != nil {
		t.Error(i, err)
	}
	a, err := NewAdam(d, DefaultAdamOptions())
	ok(t, err)
	ok(t, a.AddGroup(g))
	m, err := g.Merge(s, 1)
	if err != nil || m.Layers != 1 || a.Name(0) != "a.lora_A.weight" {
		t.Error(m, err, a.Name(0))
	}
	g = nil
	runtime.GC()
	runtime.GC()
	x, y := floats(t, d, s, 1, 1, 3), floats(t, d, s, 0, 1, 2)
	ok(t, l.Forward(s, x, y, 0, 0)) // the layer keeps the group
	ok(t, y.With(func(v []float32) {
		if v[1] != 3 {
			t.Error(v)
		}
	}))
	l.Close()
}

func TestLayouts(t *testing.T) {
	ctx, d, s := open(t, nil)
	o := DefaultLinearOptions()
	o.Rank, o.Dropout = 1, 0
	l, err := WrapLinear(d, floats(t, d, s, 1, 2, 3), nil, o)
	ok(t, err)
	if _, err := WrapLinear(d, nil, nil, o); !errors.Is(err, EArgument) {
		t.Error(err)
	}
	state, err := NewState(ctx)
	ok(t, err)
	ok(t, state.Add("l", l))
	ok(t, state.SetExportLayout(LayoutInOut))
	path := filepath.Join(t.TempDir(), "merged")
	ok(t, state.ExportMerged(s, path))
	r, err := OpenReader(ctx, path)
	ok(t, err)
	if shape, err := r.Shape("l.weight"); err != nil || shape[0] != 3 || shape[1] != 2 {
		t.Error(shape, err)
	}
}

func TestRestart(t *testing.T) {
	_, d, s := open(t, nil)
	w, a, b := floats(t, d, s, 1, 2, 3), floats(t, d, s, 1, 1, 3), floats(t, d, s, 1, 2, 1)
	r, err := Merge(s, w, a, b, DefaultMergeOptions())
	if err != nil || r.Layers != 1 || math.Abs(r.DeltaNorm-math.Sqrt(6)) > 1e-6 {
		t.Error(r, err)
	}
	ok(t, DrawFactors(s, a, b, 1, 2, 3))
	o := DefaultFactorsOptions()
	o.Init = InitGradient
	renewed, err := RenewFactors(s, a, b, floats(t, d, s, 1, 1, 3), o)
	if err != nil || math.Abs(renewed.GradientAfter-1) > 1e-6 {
		t.Error(renewed, err)
	}
	ok(t, ProjectMoments(s, floats(t, d, s, 1, 2, 1), floats(t, d, s, 1, 2, 1), a, a, 0.9, 0.999, 5))
	m, v := floats(t, d, s, 1, 100), floats(t, d, s, 1, 100)
	step, err := FullRankStep(s, w, floats(t, d, s, 1, 2, 3), 0.1, DefaultMergeOptions())
	if err != nil || math.Abs(step.GradRank-1) > 1e-6 || math.Abs(step.DeltaNorm-0.02*math.Sqrt(3)) > 1e-3 {
		t.Error(step, err)
	}
	reset, err := ResetMoments(s, m, v, 0, DefaultResetOptions())
	if err != nil || reset.Params != 1 || reset.ZeroedFirst != 99 {
		t.Error(reset, err)
	}
}

func TestOptimizer(t *testing.T) {
	_, d, s := open(t, nil)
	a, err := NewAdam(d, DefaultAdamOptions())
	ok(t, err)
	p, g := floats(t, d, s, 1, 4), floats(t, d, s, 1, 4)
	i, err := a.Add("p", p, g)
	ok(t, err)
	ok(t, a.FlattenGrads(s))
	ok(t, a.FlatGrad().Fill(s, 2))
	norm, err := a.GradNorm(s)
	if err != nil || math.Abs(norm-4) > 1e-6 {
		t.Error(norm, err)
	}
	r, err := a.StepReported(s, 0.1, 0.5)
	if err != nil || math.Abs(r.GradNorm-norm/2) > 1e-6 {
		t.Error(r, err)
	}
	n, err := a.Steps(s, i)
	if err != nil || n != 1 || a.Count() != 1 || a.Name(i) != "p" || a.Name(9) != "" || a.Moment(9, MomentFirst) != nil {
		t.Error(n, err)
	}
	reset, err := a.Reset(s, DefaultResetOptions(), int32(i))
	if err != nil || reset.Params != 1 || reset.ZeroedFirst != 3 {
		t.Error(reset, err)
	}
}
