//! The trainer of examples/train.md in Rust.
use relora::*;
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

const ROWS: usize = 32;
const IN: usize = 12;
const HIDDEN: usize = 16;
const OUT: usize = 4;
const STEPS: u64 = 24;
const SAVED: u64 = 12;

/// SplitMix64, as values of [-1, 1) that a float holds exactly.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 40) as f64 / 8388608.0 - 1.0) as f32
    }

    fn matrix(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }
}

fn layer(cpu: &Device, inputs: usize, outputs: usize, number: u64) -> Result<Linear> {
    Linear::new(
        cpu,
        &LinearOptions {
            flags: sys::RELORA_LINEAR_BIAS,
            in_features: inputs as i64,
            out_features: outputs as i64,
            rank: 2,
            alpha: 4.0,
            dropout: if number == 1 { 0.1 } else { 0.0 },
            seed: 7,
            layer: number,
            ..LinearOptions::default()
        },
    )
}

/// Everything of one run. W is ours, and the layers write into it.
struct Trainer {
    context: Context,
    stream: Stream,
    w: [Rc<[Cell<f32>]>; 2],
    wanted: Vec<f32>,
    x: Tensor,
    h: Tensor,
    y: Tensor,
    dy: Tensor,
    dh: Tensor,
    layers: [Linear; 2],
    adam: Adam,
    rate: Schedule,
    cycle: Cycle,
    state: State,
}

impl Trainer {
    fn new(log: impl Fn(i32, &str) + 'static) -> Result<Trainer> {
        let options = ContextOptions { log_level: sys::RELORA_LOG_ERROR, ..ContextOptions::default() };
        let context = Context::with(&options, None, log)?;
        let cpu = context.cpu();
        let stream = Stream::new(&cpu)?;
        let mut draw = Numbers(1);
        let mut cells =
            |n, scale| -> Rc<[Cell<f32>]> { draw.matrix(n, scale).into_iter().map(Cell::new).collect() };
        let w = [cells(HIDDEN * IN, 0.5), cells(OUT * HIDDEN, 0.5)];
        let given = draw.matrix(ROWS * IN, 1.0);
        let teacher = draw.matrix(OUT * IN, 1.0);
        let mut wanted = Vec::new();
        for row in given.chunks(IN) {
            for weights in teacher.chunks(IN) {
                wanted.push(row.iter().zip(weights).fold(0.0, |sum, (&a, &b)| sum + a as f64 * b as f64) as f32);
            }
        }

        let matrix = |columns| Tensor::zeros(&stream, F32, &[ROWS as i64, columns as i64]);
        let (h, y, dy, dh) = (matrix(HIDDEN)?, matrix(OUT)?, matrix(OUT)?, matrix(HIDDEN)?);
        let x = Tensor::from_vec(&cpu, given, &[ROWS as i64, IN as i64])?;
        let layers = [layer(&cpu, IN, HIDDEN, 1)?, layer(&cpu, HIDDEN, OUT, 2)?];
        let shapes = [[HIDDEN as i64, IN as i64], [OUT as i64, HIDDEN as i64]];
        let mut adam =
            Adam::new(&cpu, &AdamOptions { beta2: 0.99, max_norm: 1.0, ..AdamOptions::default() })?;
        let rate = Schedule::new(
            &context,
            &ScheduleOptions {
                lr: 0.05,
                total_steps: STEPS as i64,
                warmup_steps: 2,
                restart_warmup_steps: 2,
                restart_every: 8,
                ..ScheduleOptions::default()
            },
        )?;
        let mut state = State::new(&context)?;
        for (i, name) in ["first", "second"].iter().enumerate() {
            layers[i].set_weight(Some(&Tensor::share(&cpu, w[i].clone(), &shapes[i])?), None)?;
            adam.add_linear(name, &layers[i])?;
            state.add_linear(name, &layers[i])?;
        }
        let reset = ResetOptions { ratio: 0.9, ..ResetOptions::default() };
        let options = CycleOptions { merge_every: 8, ..CycleOptions::default() };
        let mut cycle = Cycle::new(&context, &options, Some(&adam), Some(&reset), Hooks::default())?;
        cycle.add(&layers[0])?;
        cycle.add(&layers[1])?;
        state.add_adam("adam", &adam)?;
        state.add_schedule("rate", &rate)?;
        state.add_cycle("cycle", &cycle)?;
        Ok(Trainer { context, stream, w, wanted, x, h, y, dy, dh, layers, adam, rate, cycle, state })
    }

    /// Both layers with max(0, h) between them; dy gets the gradient of the loss.
    fn forward(&self, call: u64, flags: u32) -> Result<f64> {
        let s = &self.stream;
        self.layers[0].forward(s, &self.x, &self.h, call, flags)?;
        for v in self.h.cells()? {
            if v.get() < 0.0 {
                v.set(0.0);
            }
        }
        self.layers[1].forward(s, &self.h, &self.y, call, flags)?;
        let mut loss = 0.0;
        for ((out, wanted), grad) in self.y.cells()?.iter().zip(&self.wanted).zip(self.dy.cells()?) {
            let e = out.get() as f64 - *wanted as f64;
            loss += e * e / (2 * ROWS) as f64;
            grad.set((e / ROWS as f64) as f32);
        }
        Ok(loss)
    }

    fn backward(&self, call: u64) -> Result<()> {
        let (s, flags) = (&self.stream, TRAIN | OVERWRITE);
        self.layers[1].backward(s, &self.h, &self.dy, Some(&self.dh), call, flags)?;
        for (hidden, grad) in self.h.cells()?.iter().zip(self.dh.cells()?) {
            if hidden.get() <= 0.0 {
                grad.set(0.0);
            }
        }
        self.layers[0].backward(s, &self.x, &self.dh, None, call, flags)
    }

    fn train(&mut self, from: u64, path: &str, mut say: Option<&mut dyn Write>) -> Result<()> {
        for step in from..STEPS {
            if step == SAVED && say.is_some() {
                self.state.set("step", &step.to_string())?;
                self.state.save(&self.stream, path, 0)?;
            }
            let loss = self.forward(step, TRAIN)?;
            let lr = self.rate.lr(step as i64)?;
            self.backward(step)?;
            self.adam.step(&self.stream, lr, 1.0)?;
            let r = self.cycle.advance(&self.stream, step as i64 + 1)?;
            if let Some(out) = &mut say {
                if step % 4 == 0 {
                    writeln!(out, "step {:2}  loss {:.5}  rate {:.5}", step, loss, lr).unwrap();
                }
                if r.events != 0 {
                    let kept = r.reset.elements - r.reset.zeroed_first;
                    let (layers, norm) = (r.merge.layers, r.merge.delta_norm);
                    writeln!(
                        out,
                        "restart after {}: {} layers, |dW| {:.4}, {} moments kept",
                        step + 1,
                        layers,
                        norm,
                        kept
                    )
                    .unwrap();
                }
            }
        }
        self.cycle.finish(&self.stream, STEPS as i64).map(|_| ())
    }
}

pub fn run(out: &mut dyn Write) -> Result<()> {
    let path = std::env::temp_dir().join(format!("relora-train-rust-{}.safetensors", std::process::id()));
    let path = path.to_str().expect("a path in UTF-8");
    let lines = Rc::new(Cell::new(0));
    let counter = lines.clone();
    let mut whole = Trainer::new(move |_, _| counter.set(counter.get() + 1))?;
    whole.train(0, path, Some(out))?;
    writeln!(out, "trained: loss {:.5}", whole.forward(STEPS, 0)?).unwrap();

    let mut resumed = Trainer::new(|_, _| ())?;
    let file = Reader::open(&resumed.context, path)?;
    resumed.state.load(&resumed.stream, &file)?;
    let step = file.metadata("step").and_then(|s| s.parse().ok()).expect("a step");
    resumed.train(step, path, None)?;
    let same = if whole.w == resumed.w { "the same" } else { "other" };
    writeln!(out, "resumed: loss {:.5}, {} weights", resumed.forward(STEPS, 0)?, same).unwrap();

    let wrong = whole.layers[1].forward(&whole.stream, &whole.x, &whole.y, 0, 0);
    let error = wrong.expect_err("x has the wrong shape");
    writeln!(out, "{}: {}", error.name(), error).unwrap();
    writeln!(out, "{} line in the log", lines.get()).unwrap();
    std::fs::remove_file(path).ok();
    Ok(())
}

#[allow(dead_code)] // the test calls run() itself
fn main() -> Result<()> {
    run(&mut std::io::stdout())
}
