use crate::{
    borrowed, c_string, sys, AdamOptions, Device, Group, Handle, Linear, ResetOptions, ResetReport, Result,
    StepReport, Stream, Tensor,
};
use std::mem::size_of;
use std::ptr::{null, null_mut};

/// Adam or AdamW over registered parameters, with partial reset of its moments.
#[derive(Debug)]
pub struct Adam(pub(crate) Handle<sys::relora_adam>);

impl Adam {
    /// `comm` in `options` is not looked at: exchanges between processes are for C.
    pub fn new(device: &Device, options: &AdamOptions) -> Result<Adam> {
        let o = AdamOptions { struct_size: size_of::<AdamOptions>() as u32, comm: null(), ..*options };
        // SAFETY: the options are read during the call only.
        let make = |out: *mut *mut _| unsafe { sys::relora_adam_create(out, device.get(), &o) };
        Ok(Adam(Handle::new(&device.context, sys::relora_adam_release, make)?))
    }

    pub(crate) fn get(&self) -> *mut sys::relora_adam {
        self.0.get()
    }

    /// Register one parameter; its index is the result.
    pub fn add(&mut self, name: &str, param: &Tensor, grad: &Tensor) -> Result<i32> {
        let (name, mut index) = (c_string(name)?, -1);
        // SAFETY: the name is copied and the tensors are retained.
        let status =
            unsafe { sys::relora_adam_add(self.get(), name.as_ptr(), param.get(), grad.get(), &mut index) };
        self.0.context.check(status)?;
        Ok(index)
    }

    /// `add` with moments of the program's, used as they are.
    pub fn add_moments(
        &mut self,
        name: &str,
        param: &Tensor,
        grad: &Tensor,
        first: &Tensor,
        second: &Tensor,
    ) -> Result<i32> {
        let (name, mut index) = (c_string(name)?, -1);
        let (a, p, g, m, v) = (self.get(), param.get(), grad.get(), first.get(), second.get());
        // SAFETY: the name is copied and the tensors are retained.
        let status = unsafe { sys::relora_adam_add_moments(a, name.as_ptr(), p, g, m, v, &mut index) };
        self.0.context.check(status)?;
        Ok(index)
    }

    /// Moments of the program's for a parameter that is registered already.
    pub fn set_moments(&mut self, index: i32, first: &Tensor, second: &Tensor) -> Result<()> {
        // SAFETY: the tensors are retained.
        let status = unsafe { sys::relora_adam_set_moments(self.get(), index, first.get(), second.get()) };
        self.0.context.check(status)
    }

    /// Register what a layer trains in its present mode.
    pub fn add_linear(&mut self, prefix: &str, linear: &Linear) -> Result<()> {
        let prefix = c_string(prefix)?;
        // SAFETY: the name is copied and the layer is retained.
        self.0
            .context
            .check(unsafe { sys::relora_adam_add_linear(self.get(), prefix.as_ptr(), linear.get()) })
    }

    /// Register what every member of a group trains, under the names of the group.
    pub fn add_group(&mut self, group: &Group) -> Result<()> {
        // SAFETY: the members are retained.
        self.0.context.check(unsafe { sys::relora_adam_add_group(self.get(), group.get()) })
    }

    pub fn set_factors(&self, index: i32, lr_factor: f64, weight_decay: f64) -> Result<()> {
        // SAFETY: the optimizer lives.
        self.0
            .context
            .check(unsafe { sys::relora_adam_set_factors(self.get(), index, lr_factor, weight_decay) })
    }

    /// Move all gradients into one buffer.
    ///
    /// # Safety
    /// No slice that [`Tensor::cells`] gave of a registered gradient may be in use: its memory goes.
    pub unsafe fn flatten_grads(&mut self, stream: &Stream) -> Result<()> {
        stream.check(sys::relora_adam_flatten_grads(self.get(), stream.get()))
    }

    pub fn flat_grad(&self) -> Option<Tensor> {
        // SAFETY: the optimizer lives, and the tensor is retained.
        Tensor::retained(&self.0.context, unsafe { sys::relora_adam_flat_grad(self.get()) })
    }

    pub fn zero_grad(&self, stream: &Stream) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_zero_grad(self.get(), stream.get()) })
    }

    /// One update of every parameter.
    pub fn step(&self, stream: &Stream, lr: f64, grad_scale: f64) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_step(self.get(), stream.get(), lr, grad_scale, null_mut()) })
    }

    /// The same with a report, which waits for the stream.
    pub fn step_reported(&self, stream: &Stream, lr: f64, grad_scale: f64) -> Result<StepReport> {
        let mut report = StepReport::default();
        // SAFETY: all handles live.
        stream
            .check(unsafe { sys::relora_adam_step(self.get(), stream.get(), lr, grad_scale, &mut report) })?;
        Ok(report)
    }

    /// The learning rate is read on the device.
    pub fn step_lr(&self, stream: &Stream, lr: &Tensor, grad_scale: f64) -> Result<()> {
        let (adam, none) = (self.get(), null_mut());
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_step_lr(adam, stream.get(), lr.get(), grad_scale, none) })
    }

    pub fn grad_norm(&self, stream: &Stream) -> Result<f64> {
        let mut norm = 0.0;
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_grad_norm(self.get(), stream.get(), &mut norm) })?;
        Ok(norm)
    }

    /// No index means every A and B that came with a layer.
    pub fn reset(&self, stream: &Stream, indices: &[i32], options: &ResetOptions) -> Result<ResetReport> {
        let o = ResetOptions { struct_size: size_of::<ResetOptions>() as u32, ..*options };
        let mut report = ResetReport::default();
        let list = if indices.is_empty() { null() } else { indices.as_ptr() };
        let n = indices.len() as i32;
        // SAFETY: the list has n entries.
        stream
            .check(unsafe { sys::relora_adam_reset(self.get(), stream.get(), list, n, &o, &mut report) })?;
        Ok(report)
    }

    /// Moments of parameters with the same names; without indices all of them. Returns how many.
    pub fn carry(&mut self, stream: &Stream, from: &Adam, indices: &[i32]) -> Result<i32> {
        let mut carried = 0;
        let list = if indices.is_empty() { null() } else { indices.as_ptr() };
        let (n, s, from) = (indices.len() as i32, stream.get(), from.get());
        // SAFETY: the list has n entries.
        stream.check(unsafe { sys::relora_adam_carry(self.get(), s, from, list, n, &mut carried) })?;
        Ok(carried)
    }

    pub fn count(&self) -> i32 {
        // SAFETY: the optimizer lives.
        unsafe { sys::relora_adam_count(self.get()) }
    }

    pub fn name(&self, index: i32) -> Option<&str> {
        // SAFETY: a name lives as long as the optimizer.
        unsafe { borrowed(sys::relora_adam_name(self.get(), index)) }
    }

    pub fn find(&self, name: &str) -> Result<i32> {
        let (name, mut index) = (c_string(name)?, -1);
        // SAFETY: the optimizer lives.
        self.0.context.check(unsafe { sys::relora_adam_find(self.get(), name.as_ptr(), &mut index) })?;
        Ok(index)
    }

    pub fn moment(&self, index: i32, moment: sys::relora_moment) -> Option<Tensor> {
        // SAFETY: the optimizer lives, and the tensor is retained.
        Tensor::retained(&self.0.context, unsafe { sys::relora_adam_moment(self.get(), index, moment) })
    }

    pub fn steps(&self, stream: &Stream, index: i32) -> Result<i64> {
        let mut steps = 0;
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_steps(self.get(), stream.get(), index, &mut steps) })?;
        Ok(steps)
    }

    /// Take the layers as they are now; indices may change.
    pub fn refresh(&self, stream: &Stream) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_refresh(self.get(), stream.get()) })
    }

    pub fn set_steps(&self, stream: &Stream, index: i32, steps: i64) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_adam_set_steps(self.get(), stream.get(), index, steps) })
    }
}
