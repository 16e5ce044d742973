//! What Rust adds: memory that lives as long as it is used, callbacks that go when the context goes, panics that
//! do not pass through C.
use relora::*;
use std::cell::{Cell, RefCell};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

fn cells(n: usize, value: f32) -> Rc<[Cell<f32>]> {
    (0..n).map(|_| Cell::new(value)).collect()
}

fn kit() -> (Context, Stream) {
    let context = Context::new().unwrap();
    let stream = Stream::new(&context.cpu()).unwrap();
    (context, stream)
}

fn layer(context: &Context) -> Linear {
    let o =
        LinearOptions { in_features: 3, out_features: 2, rank: 1, dropout: 0.0, ..LinearOptions::default() };
    Linear::new(&context.cpu(), &o).unwrap()
}

#[test]
fn shared_memory_lives_as_long_as_the_layer() {
    let (context, stream) = kit();
    let w = cells(6, 2.0);
    let linear = layer(&context);
    let tensor = Tensor::share(&context.cpu(), w.clone(), &[2, 3]).unwrap();
    linear.set_weight(Some(&tensor), None).unwrap();
    let other = tensor.clone();
    drop((tensor, context));
    assert_eq!(Rc::strong_count(&w), 2);
    other.fill(&stream, 0.5).unwrap();
    assert!(w.iter().all(|v| v.get() == 0.5));
    drop(other);
    assert_eq!(Rc::strong_count(&w), 2); // the layer holds it
    assert_eq!(linear.param(sys::RELORA_PARAM_WEIGHT).unwrap().to_vec(&stream).unwrap(), [0.5; 6]);
    drop(linear);
    assert_eq!(Rc::strong_count(&w), 1);
}

#[test]
fn each_buffer_is_given_back_once() {
    let (context, stream) = kit();
    let (a, b) = (cells(4, 1.0), cells(4, 2.0));
    let tensor = Tensor::share(&context.cpu(), a.clone(), &[4]).unwrap();
    tensor.set_shared(b.clone()).unwrap();
    assert_eq!((Rc::strong_count(&a), Rc::strong_count(&b)), (1, 2));
    tensor.set_shared(b.clone()).unwrap(); // the same memory, another owner
    assert_eq!(Rc::strong_count(&b), 2);
    assert_eq!(tensor.to_vec(&stream).unwrap(), [2.0; 4]);
    assert!(tensor.cells().is_err()); // it might move
    assert!(tensor.set_shared(cells(3, 0.0)).is_err());
    drop(tensor);
    assert_eq!(Rc::strong_count(&b), 1);
    let wrong = Tensor::share(&context.cpu(), a.clone(), &[5]).unwrap_err();
    assert_eq!(wrong.status, sys::RELORA_E_SHAPE);
    let wrong = Tensor::share(&context.cpu(), a.clone(), &[-2, -2]).unwrap_err();
    assert_eq!(wrong.status, sys::RELORA_E_ARGUMENT);
    assert_eq!(Rc::strong_count(&a), 1);
}

#[test]
fn the_log_lives_as_long_as_the_context() {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let sink = lines.clone();
    let options = ContextOptions { log_level: sys::RELORA_LOG_ERROR, ..ContextOptions::default() };
    let context =
        Context::with(&options, None, move |level, line| sink.borrow_mut().push((level, line.to_owned())));
    let context = context.unwrap();
    let stream = Stream::new(&context.cpu()).unwrap();
    let t = Tensor::zeros(&stream, F32, &[2]).unwrap();
    drop(context);
    let error = t.write(&stream, &[1.0f32]).unwrap_err();
    assert_eq!(error.status, sys::RELORA_E_SHAPE);
    assert_eq!(*lines.borrow(), [(sys::RELORA_LOG_ERROR, error.text)]);
    drop((t, stream));
    assert_eq!(Rc::strong_count(&lines), 1);

    let options = ContextOptions { threads: 0, ..options };
    let sink = lines.clone();
    let refused = Context::with(&options, None, move |_, _| sink.borrow_mut().clear());
    let error = refused.err().unwrap();
    assert_eq!(error.status, sys::RELORA_E_ARGUMENT);
    assert!(error.text.contains("options.threads is 0"), "{}", error);
    assert_eq!(Rc::strong_count(&lines), 1);
}

/// What safe code writes into options can be no pointer that C follows.
#[test]
fn pointers_in_options_are_not_followed() {
    let context = Context::new().unwrap();
    let comm = 8 as *const sys::relora_comm;
    let adam = Adam::new(&context.cpu(), &AdamOptions { comm, ..AdamOptions::default() }).unwrap();
    let options = CycleOptions { merge_every: 2, comm, ..CycleOptions::default() };
    assert!(Cycle::new(&context, &options, Some(&adam), None, Hooks::default()).is_ok());
}

#[test]
fn panics_stay_out_of_c() {
    let options = ContextOptions { log_level: sys::RELORA_LOG_ERROR, ..ContextOptions::default() };
    let context = Context::with(&options, None, |_, _| panic!("in the log")).unwrap();
    let stream = Stream::new(&context.cpu()).unwrap();
    let t = Tensor::zeros(&stream, F32, &[2]).unwrap();
    assert!(t.write(&stream, &[1.0f32]).is_err());

    let linear = layer(&context);
    linear.set_weight(Some(&Tensor::zeros(&stream, F32, &[2, 3]).unwrap()), None).unwrap();
    let after = Rc::new(Cell::new(0));
    let count = after.clone();
    let hooks = Hooks {
        before: Some(Box::new(|step, _| panic!("before {}", step))),
        after: Some(Box::new(move |_, _| count.set(count.get() + 1))),
    };
    let options = CycleOptions { merge_every: 2, ..CycleOptions::default() };
    let mut cycle = Cycle::new(&context, &options, None, None, hooks).unwrap();
    cycle.add(&linear).unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| cycle.advance(&stream, 3))).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "before 3");
    assert_eq!(after.get(), 1); // the work was done all the same
}

#[test]
fn restarts_without_objects() {
    let context = Context::new().unwrap();
    let stream = Stream::new(&context.cpu()).unwrap();
    let tensor = |shape: &[i64]| {
        let t = Tensor::zeros(&stream, relora::F32, shape).unwrap();
        t.fill(&stream, 1.0).unwrap();
        t
    };
    let (w, a, b) = (tensor(&[2, 3]), tensor(&[1, 3]), tensor(&[2, 1]));
    let report = relora::merge(&stream, &w, &a, &b, &relora::MergeOptions::default()).unwrap();
    assert_eq!((report.layers, w.cells().unwrap()[5].get()), (1, 2.0));
    let step =
        relora::full_rank_step(&stream, &w, &tensor(&[2, 3]), 0.1, &relora::MergeOptions::default()).unwrap();
    assert!((step.grad_rank - 1.0).abs() < 1e-6 && (step.delta_norm - 0.02 * 3f64.sqrt()).abs() < 1e-3);
    relora::draw_factors(&stream, &a, &b, 1, 2, 3).unwrap();
    assert_eq!(b.cells().unwrap()[0].get(), 0.0);
    let o = relora::FactorsOptions { init: relora::sys::RELORA_INIT_GRADIENT, ..Default::default() };
    let renewed = relora::renew_factors(&stream, &a, &b, Some(&tensor(&[1, 3])), &o).unwrap();
    assert!((renewed.gradient_after - 1.0).abs() < 1e-6);
    let moments = (&tensor(&[2, 1]), &tensor(&[2, 1]));
    relora::project_moments(&stream, moments, &a, &a, (0.9, 0.999), 5).unwrap();
    let (m, v) = (tensor(&[100]), tensor(&[100]));
    let reset = relora::reset_moments(&stream, &m, &v, 0, &relora::ResetOptions::default()).unwrap();
    assert_eq!((reset.params, reset.zeroed_first), (1, 99));
}

#[test]
fn memory_of_the_program() {
    let context = Context::new().unwrap();
    let stream = Stream::new(&context.cpu()).unwrap();
    let zeros = |shape: &[i64]| Tensor::zeros(&stream, relora::F32, shape).unwrap();
    let linear = layer(&context);
    let mine = zeros(&[1, 3]);
    linear.set_param(relora::sys::RELORA_PARAM_A, &mine).unwrap();
    assert_eq!(linear.set_grad(relora::sys::RELORA_PARAM_A, &mine).unwrap_err().name(), "RELORA_E_EXISTS");
    let mut adam = Adam::new(&context.cpu(), &relora::AdamOptions::default()).unwrap();
    let t: Vec<Tensor> = (0..6).map(|_| zeros(&[4])).collect();
    let index = adam.add_moments("p", &t[0], &t[1], &t[2], &t[3]).unwrap();
    adam.set_moments(index, &t[4], &t[5]).unwrap();
    drop((t, linear, context));
    adam.step(&stream, 0.1, 1.0).unwrap();
}

#[test]
fn groups() {
    let (context, stream) = kit();
    let options = LinearOptions { rank: 1, dropout: 0.0, ..LinearOptions::default() };
    let mut group = Group::new(&context.cpu()).unwrap();
    let w = cells(6, 1.0);
    let weight = Tensor::share(&context.cpu(), w.clone(), &[2, 3]).unwrap();
    let linear = group.wrap("a", Some(&weight), None, &options).unwrap();
    let norm = Tensor::from_vec(&context.cpu(), vec![1.0; 3], &[3]).unwrap();
    group.add_param("norm", &norm, None).unwrap();
    assert_eq!(group.add_linear("a", &layer(&context)).unwrap_err().name(), "RELORA_E_EXISTS");
    assert_eq!((group.count(), group.find("norm").unwrap(), group.name(0)), (2, 1, Some("a")));
    assert!(group.linear(1).is_none() && group.value(0).is_none() && group.grad(1).is_none());
    let mut adam = Adam::new(&context.cpu(), &AdamOptions::default()).unwrap();
    adam.add_group(&group).unwrap();
    assert_eq!(adam.name(0), Some("a.lora_A.weight"));
    group.zero_grad(&stream).unwrap();
    assert_eq!(group.merge(&stream, 1).unwrap().layers, 1);
    drop((group, weight, context));
    // the layer keeps the group, and the group the weight
    let x = Tensor::zeros(&stream, F32, &[1, 3]).unwrap();
    let y = Tensor::zeros(&stream, F32, &[1, 2]).unwrap();
    x.fill(&stream, 1.0).unwrap();
    linear.forward(&stream, &x, &y, 0, 0).unwrap();
    assert_eq!(y.cells().unwrap()[1].get(), 3.0);
    drop((linear, adam));
    assert_eq!(Rc::strong_count(&w), 1);
}

#[test]
fn layouts() {
    let (context, stream) = kit();
    let options = LinearOptions { rank: 1, dropout: 0.0, ..LinearOptions::default() };
    let path = std::env::temp_dir().join(format!("relora-rust-layout-{}.safetensors", std::process::id()));
    let path = path.to_str().unwrap();
    let w = Tensor::from_vec(&context.cpu(), vec![1.0; 6], &[2, 3]).unwrap();
    let linear = Linear::wrap(&context.cpu(), Some(&w), None, &options).unwrap();
    assert_eq!(Linear::wrap(&context.cpu(), None, None, &options).unwrap_err().name(), "RELORA_E_ARGUMENT");
    let mut state = State::new(&context).unwrap();
    state.add_linear("l", &linear).unwrap();
    state.set_export_layout(relora::sys::RELORA_LAYOUT_IN_OUT).unwrap();
    state.export_merged(&stream, path).unwrap();
    assert_eq!(Reader::open(&context, path).unwrap().shape("l.weight").unwrap(), [3, 2]);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn files() {
    let (context, stream) = kit();
    let path = std::env::temp_dir().join(format!("relora-rust-{}.safetensors", std::process::id()));
    let path = path.to_str().unwrap();
    let t = Tensor::from_vec(&context.cpu(), vec![1.0, 2.0], &[1, 2]).unwrap();
    let bytes = 5i64.to_le_bytes();
    let mut writer = Writer::new(&context).unwrap();
    writer.add("t", &t).unwrap();
    writer.add_bytes("n", "I64", &[1], &bytes).unwrap();
    writer.set_metadata("who", "rust").unwrap();
    assert_eq!(writer.add("t", &t).unwrap_err().name(), "RELORA_E_EXISTS");
    assert_eq!(writer.add("a\0b", &t).unwrap_err().name(), "RELORA_E_ARGUMENT");
    writer.save(&stream, path, 0).unwrap();
    let reader = Reader::open(&context, path).unwrap();
    assert_eq!((reader.count(), reader.metadata("who"), reader.dtype("n")), (2, Some("rust"), Some("I64")));
    assert_eq!(reader.shape("t").unwrap(), [1, 2]);
    assert_eq!(reader.bytes("n").unwrap(), bytes);
    t.fill(&stream, 0.0).unwrap();
    reader.read(&stream, "t", &t, 0).unwrap();
    assert_eq!(t.cells().unwrap()[1].get(), 2.0);
    // SAFETY: nobody else knows the file.
    assert_eq!(unsafe { Reader::map_if_there(&context, path) }.unwrap().unwrap().count(), 2);
    std::fs::remove_file(path).unwrap();
    // SAFETY: it is not there.
    assert!(unsafe { Reader::map_if_there(&context, path) }.unwrap().is_none());
    assert_eq!(Reader::open(&context, path).err().unwrap().status, sys::RELORA_E_IO);
}

#[test]
fn layers_that_share_x() {
    let (context, stream) = kit();
    let (a, b) = (layer(&context), layer(&context));
    let w = Tensor::from_vec(&context.cpu(), vec![1.0; 6], &[2, 3]).unwrap();
    let x = Tensor::from_vec(&context.cpu(), vec![1.0; 12], &[4, 3]).unwrap();
    let y: Vec<_> = (0..2).map(|_| Tensor::zeros(&stream, F32, &[4, 2]).unwrap()).collect();
    a.set_weight(Some(&w), None).unwrap();
    b.set_weight(Some(&w), None).unwrap();
    Linear::forward_shared(&[&a, &b], &stream, &x, &[&y[0], &y[1]], 0, 0).unwrap();
    assert_eq!(y[1].cells().unwrap()[7].get(), 3.0);
    Linear::backward_shared(&[&a, &b], &stream, &x, &[&y[0], &y[1]], None, 0, OVERWRITE).unwrap();
    assert!(Linear::forward_shared(&[&a, &b], &stream, &x, &[&y[0]], 0, 0).is_err());
    assert_eq!(b.grad(sys::RELORA_PARAM_B).unwrap().shape(), [2, 1]);
    assert!(a.param(sys::RELORA_PARAM_BIAS).is_none());
}
