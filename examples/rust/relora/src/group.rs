use crate::linear::or_null;
use crate::{
    borrowed, c_string, sys, Context, Device, Handle, Linear, LinearOptions, MergeReport, Mode, Result,
    Stream, Tensor,
};
use std::mem::size_of;
use std::ptr::null_mut;
use std::rc::Rc;

/// The layers and other parameters of a model, each under a name of its own.
#[derive(Debug)]
pub struct Group(pub(crate) Rc<Handle<sys::relora_group>>);

impl Group {
    pub fn new(device: &Device) -> Result<Group> {
        // SAFETY: the device lives as long as its context.
        let make = |out: *mut *mut _| unsafe { sys::relora_group_create(out, device.get()) };
        Ok(Group(Rc::new(Handle::new(&device.context, sys::relora_group_release, make)?)))
    }

    pub(crate) fn get(&self) -> *mut sys::relora_group {
        self.0.get()
    }

    fn context(&self) -> &Context {
        &self.0.context
    }

    /// Make a layer over a weight of the host and add it; the group fills in what tells layers apart.
    pub fn wrap(
        &mut self,
        name: &str,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        options: &LinearOptions,
    ) -> Result<Linear> {
        let o = LinearOptions { struct_size: size_of::<LinearOptions>() as u32, ..*options };
        let (name, mut linear) = (c_string(name)?, null_mut());
        let (weight, bias) = (or_null(weight), or_null(bias));
        // SAFETY: the name is copied, the tensors are retained, and the options are read during the call only.
        self.context().check(unsafe {
            sys::relora_group_wrap(self.get(), name.as_ptr(), weight, bias, &o, &mut linear)
        })?;
        Ok(Linear::lent(self, linear).expect("a group that has wrapped a layer lends it"))
    }

    pub fn add_linear(&mut self, name: &str, linear: &Linear) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the name is copied and the layer retained.
        self.context().check(unsafe { sys::relora_group_add_linear(self.get(), name.as_ptr(), linear.get()) })
    }

    /// A parameter of no layer; without a gradient it is only saved and read.
    pub fn add_param(&mut self, name: &str, param: &Tensor, grad: Option<&Tensor>) -> Result<()> {
        let (name, grad) = (c_string(name)?, or_null(grad));
        // SAFETY: the name is copied and the tensors are retained.
        self.context()
            .check(unsafe { sys::relora_group_add_param(self.get(), name.as_ptr(), param.get(), grad) })
    }

    pub fn count(&self) -> i32 {
        // SAFETY: the group lives.
        unsafe { sys::relora_group_count(self.get()) }
    }

    pub fn find(&self, name: &str) -> Result<i32> {
        let (name, mut index) = (c_string(name)?, -1);
        // SAFETY: the group lives.
        self.context().check(unsafe { sys::relora_group_find(self.get(), name.as_ptr(), &mut index) })?;
        Ok(index)
    }

    pub fn name(&self, index: i32) -> Option<&str> {
        // SAFETY: a name lives as long as the group.
        unsafe { borrowed(sys::relora_group_name(self.get(), index)) }
    }

    /// None if the member is no layer.
    pub fn linear(&self, index: i32) -> Option<Linear> {
        // SAFETY: what the group lends lives as long as the group, which the result keeps.
        Linear::lent(self, unsafe { sys::relora_group_linear(self.get(), index) })
    }

    /// None if the member is a layer.
    pub fn value(&self, index: i32) -> Option<Tensor> {
        // SAFETY: the group lives, and the tensor is retained.
        Tensor::retained(self.context(), unsafe { sys::relora_group_value(self.get(), index) })
    }

    pub fn grad(&self, index: i32) -> Option<Tensor> {
        // SAFETY: the group lives, and the tensor is retained.
        Tensor::retained(self.context(), unsafe { sys::relora_group_grad(self.get(), index) })
    }

    /// The end of a warm start, for every layer or none.
    pub fn set_mode(&self, stream: &Stream, mode: Mode) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_group_set_mode(self.get(), stream.get(), mode) })
    }

    pub fn merge(&self, stream: &Stream, cycle: u64) -> Result<MergeReport> {
        let mut report = MergeReport::default();
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_group_merge(self.get(), stream.get(), cycle, &mut report) })?;
        Ok(report)
    }

    pub fn reset(&self, stream: &Stream, cycle: u64) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_group_reset(self.get(), stream.get(), cycle) })
    }

    pub fn zero_grad(&self, stream: &Stream) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_group_zero_grad(self.get(), stream.get()) })
    }
}
