// The trainer of examples/train.md in Go.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strconv"

	"relora"
)

const (
	rows, in, hidden, out = 32, 12, 16, 4
	steps, saved          = 24, 12
)

// SplitMix64, as values of [-1, 1) that a float32 holds exactly.
type numbers uint64

func (n *numbers) next() float32 {
	*n += 0x9E3779B97F4A7C15
	z := uint64(*n)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float32(float64((z^z>>31)>>40)/8388608 - 1)
}

func (n *numbers) matrix(count int, scale float32) []float32 {
	m := make([]float32, count)
	for i := range m {
		m[i] = scale * n.next()
	}
	return m
}

// must turns an error into a panic, which run() hands out.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func layer(cpu *relora.Device, inputs, outputs int64, number uint64) *relora.Linear {
	o := relora.DefaultLinearOptions()
	o.Flags = relora.LinearBias
	o.InFeatures, o.OutFeatures, o.Rank = inputs, outputs, 2
	o.Alpha, o.Seed, o.Layer = 4, 7, number
	o.Dropout = 0
	if number == 1 {
		o.Dropout = 0.1
	}
	return must(relora.NewLinear(cpu, o))
}

// trainer is everything of one run.
type trainer struct {
	context        *relora.Context
	stream         *relora.Stream
	wanted         []float32
	x, h, y        *relora.Tensor
	dy, dh, w1, w2 *relora.Tensor
	first, second  *relora.Linear
	adam           *relora.Adam
	rate           *relora.Schedule
	cycle          *relora.Cycle
	state          *relora.State
}

func newTrainer(logger relora.Logger) *trainer {
	o := relora.DefaultContextOptions()
	o.LogLevel = relora.LogError
	t := &trainer{context: must(relora.NewContext(o, logger, ""))}
	cpu := t.context.CPU()
	t.stream = must(relora.NewStream(cpu))
	tensor := func(values []float32, shape ...int64) *relora.Tensor {
		n := must(relora.NewTensor(cpu, relora.F32, shape...))
		if values != nil {
			check(n.Write(t.stream, values))
		}
		return n
	}
	draw := numbers(1)
	t.w1 = tensor(draw.matrix(hidden*in, 0.5), hidden, in)
	t.w2 = tensor(draw.matrix(out*hidden, 0.5), out, hidden)
	given, teacher := draw.matrix(rows*in, 1), draw.matrix(out*in, 1)
	for r := 0; r < rows; r++ {
		for o := 0; o < out; o++ {
			sum := 0.0
			for i := 0; i < in; i++ {
				sum += float64(float64(given[r*in+i]) * float64(teacher[o*in+i])) // not fused
			}
			t.wanted = append(t.wanted, float32(sum))
		}
	}
	t.x, t.h, t.y = tensor(given, rows, in), tensor(nil, rows, hidden), tensor(nil, rows, out)
	t.dy, t.dh = tensor(nil, rows, out), tensor(nil, rows, hidden)
	t.first, t.second = layer(cpu, in, hidden, 1), layer(cpu, hidden, out, 2)
	check(t.first.SetWeight(t.w1, nil))
	check(t.second.SetWeight(t.w2, nil))
	t.plan(cpu)
	return t
}

// Optimizer, rate and restarts, and the state that has them all.
func (t *trainer) plan(cpu *relora.Device) {
	a := relora.DefaultAdamOptions()
	a.Beta2, a.MaxNorm = 0.99, 1
	t.adam = must(relora.NewAdam(cpu, a))
	check(t.adam.AddLinear("first", t.first))
	check(t.adam.AddLinear("second", t.second))
	s := relora.DefaultScheduleOptions()
	s.Lr, s.TotalSteps, s.RestartEvery = 0.05, steps, 8
	s.WarmupSteps, s.RestartWarmupSteps = 2, 2
	t.rate = must(relora.NewSchedule(t.context, s))
	c, reset := relora.DefaultCycleOptions(), relora.DefaultResetOptions()
	c.MergeEvery, reset.Ratio = 8, 0.9
	t.cycle = must(relora.NewCycle(t.context, c, t.adam, &reset, nil, nil))
	check(t.cycle.Add(t.first))
	check(t.cycle.Add(t.second))
	t.state = must(relora.NewState(t.context))
	for name, part := range map[string]any{
		"first": t.first, "second": t.second, "adam": t.adam, "rate": t.rate, "cycle": t.cycle,
	} {
		check(t.state.Add(name, part))
	}
}

// Both layers with max(0, h) between them; dy gets the gradient of the loss.
func (t *trainer) forward(call uint64, flags uint32) (loss float64) {
	check(t.first.Forward(t.stream, t.x, t.h, call, flags))
	check(t.h.With(func(h []float32) {
		for i := range h {
			if h[i] < 0 {
				h[i] = 0
			}
		}
	}))
	check(t.second.Forward(t.stream, t.h, t.y, call, flags))
	check(t.y.With(func(y []float32) {
		check(t.dy.With(func(dy []float32) {
			for i := range y {
				e := float64(y[i]) - float64(t.wanted[i])
				loss += e * e / (2 * rows)
				dy[i] = float32(e / rows)
			}
		}))
	}))
	return loss
}

func (t *trainer) backward(call uint64) {
	check(t.second.Backward(t.stream, t.h, t.dy, t.dh, call, relora.Train|relora.Overwrite))
	check(t.h.With(func(h []float32) {
		check(t.dh.With(func(dh []float32) {
			for i := range h {
				if h[i] <= 0 {
					dh[i] = 0
				}
			}
		}))
	}))
	check(t.first.Backward(t.stream, t.x, t.dh, nil, call, relora.Train|relora.Overwrite))
}

func (t *trainer) train(from int64, path string, say io.Writer) {
	for step := from; step < steps; step++ {
		if step == saved && say != nil {
			check(t.state.Set("step", strconv.FormatInt(step, 10)))
			check(t.state.Save(t.stream, path, 0))
		}
		loss, lr := t.forward(uint64(step), relora.Train), must(t.rate.Lr(step))
		t.backward(uint64(step))
		check(t.adam.Step(t.stream, lr, 1))
		r := must(t.cycle.Advance(t.stream, step+1))
		if say != nil && step%4 == 0 {
			fmt.Fprintf(say, "step %2d  loss %.5f  rate %.5f\n", step, loss, lr)
		}
		if say != nil && r.Events != 0 {
			fmt.Fprintf(say, "restart after %d: %d layers, |dW| %.4f, %d moments kept\n", step+1, r.Merge.Layers,
				r.Merge.DeltaNorm, r.Reset.Elements-r.Reset.ZeroedFirst)
		}
	}
	must(t.cycle.Finish(t.stream, steps))
}

func (t *trainer) weights() [2][]float32 {
	w := [2][]float32{make([]float32, t.w1.Count()), make([]float32, t.w2.Count())}
	check(t.w1.Read(t.stream, w[0]))
	check(t.w2.Read(t.stream, w[1]))
	return w
}

func run(w io.Writer) (err error) {
	defer func() {
		if e, ok := recover().(error); ok {
			err = e
		}
	}()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("relora-train-go-%d.safetensors", os.Getpid()))
	defer os.Remove(path)
	lines := 0
	whole := newTrainer(func(int32, string) { lines++ })
	whole.train(0, path, w)
	fmt.Fprintf(w, "trained: loss %.5f\n", whole.forward(steps, 0))

	resumed := newTrainer(nil)
	file := must(relora.OpenReader(resumed.context, path))
	check(resumed.state.Load(resumed.stream, file))
	resumed.train(must(strconv.ParseInt(file.Metadata()["step"], 10, 64)), path, nil)
	same := "other"
	if reflect.DeepEqual(whole.weights(), resumed.weights()) {
		same = "the same"
	}
	fmt.Fprintf(w, "resumed: loss %.5f, %s weights\n", resumed.forward(steps, 0), same)

	wrong := whole.second.Forward(whole.stream, whole.x, whole.y, 0, 0)
	if e, ok := wrong.(*relora.Error); ok {
		fmt.Fprintf(w, "%v: %v\n", e.Status, e)
	}
	fmt.Fprintf(w, "%d line in the log\n", lines)
	return nil
}

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}
