use crate::{
    sys, FactorsOptions, FullRankReport, MergeOptions, MergeReport, ResetOptions, ResetReport, Result,
    Stream, Tensor,
};
use std::mem::size_of;
use std::ptr::null_mut;

/// W += s B A, for a program with factors of its own.
pub fn merge(
    stream: &Stream,
    weight: &Tensor,
    a: &Tensor,
    b: &Tensor,
    options: &MergeOptions,
) -> Result<MergeReport> {
    let o = MergeOptions { struct_size: size_of::<MergeOptions>() as u32, ..*options };
    let mut report = MergeReport::default();
    let (s, w) = (stream.get(), weight.get());
    // SAFETY: all handles live.
    stream.check(unsafe { sys::relora_merge(s, w, a.get(), b.get(), &o, &mut report) })?;
    Ok(report)
}

/// One step of W down the direction of its gradient, which is overwritten.
pub fn full_rank_step(
    stream: &Stream,
    weight: &Tensor,
    grad: &Tensor,
    lr: f64,
    options: &MergeOptions,
) -> Result<FullRankReport> {
    let o = MergeOptions { struct_size: size_of::<MergeOptions>() as u32, ..*options };
    let mut report = FullRankReport::default();
    let (s, w) = (stream.get(), weight.get());
    // SAFETY: all handles live.
    stream.check(unsafe { sys::relora_full_rank_step(s, w, grad.get(), lr, &o, &mut report) })?;
    Ok(report)
}

/// A drawn afresh for a cycle, B := 0.
pub fn draw_factors(
    stream: &Stream,
    a: &Tensor,
    b: &Tensor,
    seed: u64,
    layer: u64,
    cycle: u64,
) -> Result<()> {
    // SAFETY: all handles live.
    stream.check(unsafe { sys::relora_factors_draw(stream.get(), a.get(), b.get(), seed, layer, cycle) })
}

/// A new A by one of the inits, B := 0. Without a gradient of A, GRADIENT is MATCHED.
pub fn renew_factors(
    stream: &Stream,
    a: &Tensor,
    b: &Tensor,
    gradient: Option<&Tensor>,
    options: &FactorsOptions,
) -> Result<MergeReport> {
    let o = FactorsOptions { struct_size: size_of::<FactorsOptions>() as u32, ..*options };
    let mut report = MergeReport::default();
    let (s, g) = (stream.get(), gradient.map_or(null_mut(), |t| t.get()));
    // SAFETY: all handles live.
    stream.check(unsafe { sys::relora_factors_renew(s, a.get(), b.get(), g, &o, &mut report) })?;
    Ok(report)
}

/// The moments of B, carried from one A to another; `betas` are those of the optimizer.
pub fn project_moments(
    stream: &Stream,
    moments: (&Tensor, &Tensor),
    a_old: &Tensor,
    a_new: &Tensor,
    betas: (f64, f64),
    steps: i64,
) -> Result<()> {
    let (s, m, v) = (stream.get(), moments.0.get(), moments.1.get());
    // SAFETY: all handles live.
    stream.check(unsafe {
        sys::relora_moments_project(s, m, v, a_old.get(), a_new.get(), betas.0, betas.1, steps)
    })
}

/// The partial reset of two moments, for a program with an optimizer of its own.
pub fn reset_moments(
    stream: &Stream,
    first: &Tensor,
    second: &Tensor,
    index: u64,
    options: &ResetOptions,
) -> Result<ResetReport> {
    let o = ResetOptions { struct_size: size_of::<ResetOptions>() as u32, ..*options };
    let mut report = ResetReport::default();
    let (s, m) = (stream.get(), first.get());
    // SAFETY: all handles live.
    stream.check(unsafe { sys::relora_moments_reset(s, m, second.get(), index, &o, &mut report) })?;
    Ok(report)
}
