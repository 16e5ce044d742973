use crate::{
    sys, Device, Error, FullRankReport, Group, Handle, LinearOptions, MergeReport, Mode, Param, PlanReport,
    Result, Stream, Tensor,
};
use std::mem::size_of;
use std::os::raw::c_void;
use std::ptr::null_mut;
use std::rc::Rc;

/// y = x W^T + b + s * drop(x) A^T B^T
#[derive(Debug)]
#[allow(dead_code)] // the group is held, not read
pub struct Linear(pub(crate) Handle<sys::relora_linear>, Option<Rc<Handle<sys::relora_group>>>);

pub(crate) fn or_null(tensor: Option<&Tensor>) -> *mut sys::relora_tensor {
    tensor.map_or(null_mut(), |t| t.get())
}

impl Linear {
    pub fn new(device: &Device, options: &LinearOptions) -> Result<Linear> {
        let o = LinearOptions { struct_size: size_of::<LinearOptions>() as u32, ..*options };
        // SAFETY: the options are read during the call only.
        let make = |out: *mut *mut _| unsafe { sys::relora_linear_create(out, device.get(), &o) };
        Ok(Linear(Handle::new(&device.context, sys::relora_linear_release, make)?, None))
    }

    /// A layer over a weight; the sizes and the type are those of the weight.
    pub fn wrap(
        device: &Device,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        options: &LinearOptions,
    ) -> Result<Linear> {
        let o = LinearOptions { struct_size: size_of::<LinearOptions>() as u32, ..*options };
        let (weight, bias) = (or_null(weight), or_null(bias));
        // SAFETY: the tensors live and are retained, and the options are read during the call only.
        let make = |out: *mut *mut _| unsafe { sys::relora_linear_wrap(out, device.get(), weight, bias, &o) };
        Ok(Linear(Handle::new(&device.context, sys::relora_linear_release, make)?, None))
    }

    /// A layer of a group, which it keeps; None for NULL.
    pub(crate) fn lent(group: &Group, linear: *mut sys::relora_linear) -> Option<Linear> {
        unsafe extern "C" fn keep(_: *mut sys::relora_linear) {}
        let make = |out: *mut *mut _| {
            // SAFETY: `out` is a local of Handle::new.
            unsafe { *out = linear };
            sys::RELORA_OK
        };
        Some(Linear(Handle::new(&group.0.context, keep, make).ok()?, Some(group.0.clone())))
    }

    pub(crate) fn get(&self) -> *mut sys::relora_linear {
        self.0.get()
    }

    /// The layer holds both, and training and merging write into them.
    pub fn set_weight(&self, weight: Option<&Tensor>, bias: Option<&Tensor>) -> Result<()> {
        // SAFETY: the tensors live, and the layer retains them.
        self.0
            .context
            .check(unsafe { sys::relora_linear_set_weight(self.get(), or_null(weight), or_null(bias)) })
    }

    /// A parameter in memory of the program's.
    pub fn set_param(&self, param: Param, tensor: &Tensor) -> Result<()> {
        // SAFETY: the tensor lives, and the layer retains it.
        self.0.context.check(unsafe { sys::relora_linear_set_param(self.get(), param, tensor.get()) })
    }

    /// What a LOWRANK layer is merged into; None for nothing. A callback of C is set by `relora_sys`.
    pub fn set_target(&self, weight: Option<&Tensor>) -> Result<()> {
        let weight = weight.map_or(std::ptr::null_mut(), |t| t.get());
        // SAFETY: the tensor lives, and the layer retains it.
        let status = unsafe { sys::relora_linear_set_target(self.get(), weight, None, std::ptr::null_mut()) };
        self.0.context.check(status)
    }

    /// A gradient in memory of the program's.
    pub fn set_grad(&self, param: Param, tensor: &Tensor) -> Result<()> {
        // SAFETY: the tensor lives, and the layer retains it.
        self.0.context.check(unsafe { sys::relora_linear_set_grad(self.get(), param, tensor.get()) })
    }

    pub fn set_mode(&self, stream: &Stream, mode: Mode) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_linear_set_mode(self.get(), stream.get(), mode) })
    }

    pub fn mode(&self) -> Mode {
        // SAFETY: the layer lives.
        unsafe { sys::relora_linear_get_mode(self.get()) }
    }

    /// None if the layer has no such parameter now.
    pub fn param(&self, param: Param) -> Option<Tensor> {
        // SAFETY: the layer lives, and the tensor is retained.
        Tensor::retained(&self.0.context, unsafe { sys::relora_linear_param(self.get(), param) })
    }

    /// None if it is not trained in the present mode.
    pub fn grad(&self, param: Param) -> Option<Tensor> {
        // SAFETY: the layer lives, and the tensor is retained.
        Tensor::retained(&self.0.context, unsafe { sys::relora_linear_grad(self.get(), param) })
    }

    pub fn forward(&self, stream: &Stream, x: &Tensor, y: &Tensor, call: u64, flags: u32) -> Result<()> {
        // SAFETY: all handles live.
        let status =
            unsafe { sys::relora_linear_forward(self.get(), stream.get(), x.get(), y.get(), call, flags) };
        stream.check(status)
    }

    pub fn backward(
        &self,
        stream: &Stream,
        x: &Tensor,
        dy: &Tensor,
        dx: Option<&Tensor>,
        call: u64,
        flags: u32,
    ) -> Result<()> {
        let (linear, dx) = (self.get(), or_null(dx));
        // SAFETY: all handles live.
        let status =
            unsafe { sys::relora_linear_backward(linear, stream.get(), x.get(), dy.get(), dx, call, flags) };
        stream.check(status)
    }

    /// dw (+)= dy^T x, of a frozen W too.
    pub fn weight_grad(
        &self,
        stream: &Stream,
        x: &Tensor,
        dy: &Tensor,
        dw: &Tensor,
        flags: u32,
    ) -> Result<()> {
        // SAFETY: all handles live.
        let status = unsafe {
            sys::relora_linear_weight_grad(self.get(), stream.get(), x.get(), dy.get(), dw.get(), flags)
        };
        stream.check(status)
    }

    /// A pass on memory of the layer's device, in its type; each row `ld` elements behind the last.
    ///
    /// # Safety
    /// The pointers are as the C interface asks for: rows of elements that live, y apart from x.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn forward_at(
        &self,
        stream: &Stream,
        rows: i64,
        x: *const c_void,
        ldx: i64,
        y: *mut c_void,
        ldy: i64,
        call: u64,
        flags: u32,
    ) -> Result<()> {
        let (l, s) = (self.get(), stream.get());
        stream.check(sys::relora_linear_forward_at(l, s, rows, x, ldx, y, ldy, call, flags))
    }

    /// The backward pass of it; dx may be null.
    ///
    /// # Safety
    /// As for `forward_at`, with dx apart from both x and dy.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn backward_at(
        &self,
        stream: &Stream,
        rows: i64,
        x: *const c_void,
        ldx: i64,
        dy: *const c_void,
        lddy: i64,
        dx: *mut c_void,
        lddx: i64,
        call: u64,
        flags: u32,
    ) -> Result<()> {
        let (l, s) = (self.get(), stream.get());
        stream.check(sys::relora_linear_backward_at(l, s, rows, x, ldx, dy, lddy, dx, lddx, call, flags))
    }

    /// Layers that read the same x, with one y for each.
    pub fn forward_shared(
        layers: &[&Linear],
        stream: &Stream,
        x: &Tensor,
        y: &[&Tensor],
        call: u64,
        flags: u32,
    ) -> Result<()> {
        let (layers, y) = lists(layers, y)?;
        let (n, s) = (layers.len() as i32, stream.get());
        // SAFETY: all handles live, and both lists have n entries.
        let status = unsafe {
            sys::relora_linear_forward_shared(layers.as_ptr(), n, s, x.get(), y.as_ptr(), call, flags)
        };
        stream.check(status)
    }

    /// dx receives the sum over the layers.
    pub fn backward_shared(
        layers: &[&Linear],
        stream: &Stream,
        x: &Tensor,
        dy: &[&Tensor],
        dx: Option<&Tensor>,
        call: u64,
        flags: u32,
    ) -> Result<()> {
        let (layers, dy) = lists(layers, dy)?;
        let (n, s, dx) = (layers.len() as i32, stream.get(), or_null(dx));
        // SAFETY: all handles live, and both lists have n entries.
        let status = unsafe {
            sys::relora_linear_backward_shared(layers.as_ptr(), n, s, x.get(), dy.as_ptr(), dx, call, flags)
        };
        stream.check(status)
    }

    pub fn plan(&self, rows: i64, flags: u32) -> Result<PlanReport> {
        let mut report = PlanReport::default();
        // SAFETY: the layer lives.
        self.0.context.check(unsafe { sys::relora_linear_plan(self.get(), rows, flags, &mut report) })?;
        Ok(report)
    }

    pub fn set_order(&self, forward: sys::relora_order, backward: sys::relora_order) -> Result<()> {
        // SAFETY: the layer lives.
        self.0.context.check(unsafe { sys::relora_linear_set_order(self.get(), forward, backward) })
    }

    pub fn zero_grad(&self, stream: &Stream) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_linear_zero_grad(self.get(), stream.get()) })
    }

    /// W += s B A
    pub fn merge(&self, stream: &Stream, cycle: u64) -> Result<MergeReport> {
        let mut report = MergeReport::default();
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_linear_merge(self.get(), stream.get(), cycle, &mut report) })?;
        Ok(report)
    }

    /// One step of the frozen W down the direction of its gradient, which is overwritten.
    pub fn full_rank_step(
        &self,
        stream: &Stream,
        grad: &Tensor,
        lr: f64,
        step: u64,
    ) -> Result<FullRankReport> {
        let mut report = FullRankReport::default();
        let (l, s) = (self.get(), stream.get());
        // SAFETY: all handles live.
        stream
            .check(unsafe { sys::relora_linear_full_rank_step(l, s, grad.get(), lr, step, &mut report) })?;
        Ok(report)
    }

    /// Draw A afresh, B := 0.
    pub fn reset(&self, stream: &Stream, cycle: u64) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_linear_reset(self.get(), stream.get(), cycle) })
    }
}

type Lists = (Vec<*mut sys::relora_linear>, Vec<*mut sys::relora_tensor>);

fn lists(layers: &[&Linear], tensors: &[&Tensor]) -> Result<Lists> {
    if layers.len() != tensors.len() {
        return Err(Error::new(
            sys::RELORA_E_ARGUMENT,
            "relora::Linear: as many tensors as layers are needed",
        ));
    }
    Ok((layers.iter().map(|l| l.get()).collect(), tensors.iter().map(|t| t.get()).collect()))
}
