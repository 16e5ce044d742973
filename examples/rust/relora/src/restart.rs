use crate::{
    sys, FullRankReport, MergeOptions, MergeReport, ResetOptions, ResetReport, Result, Stream, Tensor,
};
use std::mem::size_of;

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
