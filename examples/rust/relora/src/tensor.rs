use crate::{sys, Context, Device, Dtype, Error, Handle, Result, Stream};
use std::cell::Cell;
use std::os::raw::c_void;
use std::rc::Rc;
use std::{ptr, slice};

/// A dense array on one device. A clone is one more reference to the same array.
#[derive(Debug)]
pub struct Tensor {
    handle: Handle<sys::relora_tensor>,
    memory: Memory,
}

/// Whether memory stays where it is as long as the tensor lives, so that a slice of it may be given out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Memory {
    Stays,  // of the library's own, or given to the tensor for good
    Shared, // set_shared() may exchange it
    Other,  // whoever made the tensor knows
}

type Owner = Rc<[Cell<f32>]>;

unsafe extern "C" fn drop_owner(user: *mut c_void, _: *mut c_void) {
    drop(Box::from_raw(user as *mut Owner));
}

impl Tensor {
    /// Memory of the library's own, all 0.
    pub fn zeros(stream: &Stream, dtype: Dtype, shape: &[i64]) -> Result<Tensor> {
        let context = &stream.0.context;
        let (device, ndim) = (stream.1.as_ptr(), axes(shape)?);
        // SAFETY: `shape` has `ndim` elements.
        let make =
            |out: *mut *mut _| unsafe { sys::relora_tensor_create(out, device, dtype, ndim, shape.as_ptr()) };
        let handle = Handle::new(context, sys::relora_tensor_release, make)?;
        let tensor = Tensor { handle, memory: Memory::Stays };
        tensor.fill(stream, 0.0)?; // nobody shall see what was in this memory before
        Ok(tensor)
    }

    /// Over the elements of a vector, which the tensor keeps. Look at them with [`Tensor::cells`].
    pub fn from_vec(device: &Device, values: Vec<f32>, shape: &[i64]) -> Result<Tensor> {
        let owner: Owner = values.into_iter().map(Cell::new).collect();
        Tensor::over(device, owner, shape, Memory::Stays)
    }

    /// Over memory that the tensor owns together with others: they see at once what the library writes.
    pub fn share(device: &Device, values: Owner, shape: &[i64]) -> Result<Tensor> {
        Tensor::over(device, values, shape, Memory::Shared)
    }

    fn over(device: &Device, values: Owner, shape: &[i64], memory: Memory) -> Result<Tensor> {
        let count = shape.iter().try_fold(1i64, |n, &d| n.checked_mul(d));
        if count != Some(values.len() as i64) {
            let text = format!("relora::Tensor: {} values for the shape {:?}", values.len(), shape);
            return Err(Error::new(sys::RELORA_E_SHAPE, &text));
        }
        let ndim = axes(shape)?;
        let data = values.as_ptr() as *mut c_void; // of Cell, so it may be written to
        let owner = Box::into_raw(Box::new(values)) as *mut c_void;
        let make = |out: *mut *mut _| {
            let (shape, none) = (shape.as_ptr(), ptr::null());
            // SAFETY: the memory lives until drop_owner, and has as many elements as the shape.
            unsafe {
                sys::relora_tensor_borrow(
                    out,
                    device.get(),
                    crate::F32,
                    ndim,
                    shape,
                    none,
                    data,
                    Some(drop_owner),
                    owner,
                )
            }
        };
        match Handle::new(&device.context, sys::relora_tensor_release, make) {
            Ok(handle) => Ok(Tensor { handle, memory }),
            Err(e) => {
                // SAFETY: the deleter is not called where there is no tensor.
                unsafe { drop_owner(owner, ptr::null_mut()) };
                Err(e)
            }
        }
    }

    /// Other memory of the same size for a tensor made by [`Tensor::share`].
    pub fn set_shared(&self, values: Owner) -> Result<()> {
        if self.memory != Memory::Shared || values.len() as i64 != self.count() {
            let text = "relora::Tensor: not shared, or of another size";
            return Err(Error::new(sys::RELORA_E_STATE, text));
        }
        let data = values.as_ptr() as *mut c_void;
        let owner = Box::into_raw(Box::new(values)) as *mut c_void;
        // SAFETY: as in over(); of a shared tensor no slice was given out.
        let status = unsafe { sys::relora_tensor_set_data_owned(self.get(), data, Some(drop_owner), owner) };
        if status < 0 {
            // SAFETY: the deleter is not called on a failure.
            unsafe { drop_owner(owner, ptr::null_mut()) };
        }
        self.handle.context.check(status)
    }

    /// Point a tensor that was made over raw memory at another place.
    ///
    /// # Safety
    /// As for `relora_tensor_set_data`: the memory must be as large as the tensor and outlive it.
    pub unsafe fn set_data(&self, data: *mut c_void) -> Result<()> {
        if self.memory != Memory::Other {
            return Err(Error::new(sys::RELORA_E_STATE, "relora::Tensor: its memory is owned"));
        }
        self.handle.context.check(sys::relora_tensor_set_data(self.get(), data))
    }

    /// Over raw memory, of any type and strides.
    ///
    /// # Safety
    /// As for `relora_tensor_borrow`: the memory must fit the shape and outlive the tensor and all that holds it.
    pub unsafe fn borrow_raw(
        device: &Device,
        dtype: Dtype,
        shape: &[i64],
        strides: Option<&[i64]>,
        data: *mut c_void,
    ) -> Result<Tensor> {
        let ndim = axes(shape)?;
        if matches!(strides, Some(s) if s.len() != shape.len()) {
            return Err(Error::new(
                sys::RELORA_E_ARGUMENT,
                "relora::Tensor: as many strides as axes are needed",
            ));
        }
        let strides = strides.map_or(ptr::null(), |s| s.as_ptr());
        let make = |out: *mut *mut _| {
            let user = ptr::null_mut();
            sys::relora_tensor_borrow(
                out,
                device.get(),
                dtype,
                ndim,
                shape.as_ptr(),
                strides,
                data,
                None,
                user,
            )
        };
        let handle = Handle::new(&device.context, sys::relora_tensor_release, make)?;
        Ok(Tensor { handle, memory: Memory::Other })
    }

    /// Take over a tensor of another framework.
    ///
    /// # Safety
    /// `managed` must be a DLPack tensor that nobody else deletes.
    pub unsafe fn from_dlpack(
        context: &Context,
        managed: *mut sys::DLManagedTensorVersioned,
    ) -> Result<Tensor> {
        let make = |out: *mut *mut _| sys::relora_tensor_from_dlpack(out, context.get(), managed);
        let handle = Handle::new(context, sys::relora_tensor_release, make)?;
        Ok(Tensor { handle, memory: Memory::Other })
    }

    /// Share with another framework, which calls the deleter of the result.
    ///
    /// # Safety
    /// The consumer must not outlive what this thread does with the memory, or use it beside it.
    pub unsafe fn to_dlpack(&self, producer: &Stream) -> Result<*mut sys::DLManagedTensorVersioned> {
        let mut out = ptr::null_mut();
        producer.check(sys::relora_tensor_to_dlpack(
            &mut out,
            self.get(),
            producer.get(),
            ptr::null_mut(),
        ))?;
        Ok(out)
    }

    /// One more reference to a tensor of the library's own; None for NULL.
    pub(crate) fn retained(context: &Context, tensor: *mut sys::relora_tensor) -> Option<Tensor> {
        let make = |out: *mut *mut _| {
            // SAFETY: `tensor` is NULL or alive, and `out` is a local of Handle::new.
            unsafe {
                sys::relora_tensor_retain(tensor);
                *out = tensor;
            }
            sys::RELORA_OK
        };
        let handle = Handle::new(context, sys::relora_tensor_release, make).ok()?;
        Some(Tensor { handle, memory: Memory::Other })
    }

    pub(crate) fn get(&self) -> *mut sys::relora_tensor {
        self.handle.get()
    }

    /// The F32 elements of a tensor of the CPU, made by [`Tensor::zeros`] or [`Tensor::from_vec`]. The library
    /// writes into them during calls, as others do that hold a `Cell`.
    pub fn cells(&self) -> Result<&[Cell<f32>]> {
        // SAFETY: the device lives.
        let kind = unsafe { sys::relora_device_get_kind(sys::relora_tensor_device(self.get())) };
        if self.memory != Memory::Stays || self.dtype() != crate::F32 || kind != sys::RELORA_DEVICE_CPU {
            let text = "relora::Tensor::cells: not F32 on the CPU in memory that stays; use read and write";
            return Err(Error::new(sys::RELORA_E_LAYOUT, text));
        }
        let count = self.count() as usize;
        if count == 0 {
            return Ok(&[]);
        }
        // SAFETY: row-major without gaps, initialised by zeros() or from_vec(), and there as long as the tensor.
        Ok(unsafe { slice::from_raw_parts(sys::relora_tensor_data(self.get()) as *const Cell<f32>, count) })
    }

    /// The address on the device.
    pub fn data(&self) -> *mut c_void {
        // SAFETY: the tensor lives.
        unsafe { sys::relora_tensor_data(self.get()) }
    }

    pub fn dtype(&self) -> Dtype {
        // SAFETY: the tensor lives.
        unsafe { sys::relora_tensor_dtype(self.get()) }
    }

    pub fn shape(&self) -> Vec<i64> {
        // SAFETY: the tensor lives.
        unsafe {
            (0..sys::relora_tensor_ndim(self.get())).map(|i| sys::relora_tensor_dim(self.get(), i)).collect()
        }
    }

    /// In elements.
    pub fn strides(&self) -> Vec<i64> {
        // SAFETY: the tensor lives.
        unsafe {
            (0..sys::relora_tensor_ndim(self.get()))
                .map(|i| sys::relora_tensor_stride(self.get(), i))
                .collect()
        }
    }

    pub fn count(&self) -> i64 {
        // SAFETY: the tensor lives.
        unsafe { sys::relora_tensor_count(self.get()) }
    }

    /// Copy from the host. The number of bytes must be that of the tensor.
    pub fn write<T: Plain>(&self, stream: &Stream, from: &[T]) -> Result<()> {
        let bytes = std::mem::size_of_val(from);
        // SAFETY: `from` has that many bytes.
        let status = unsafe {
            sys::relora_tensor_write(self.get(), stream.get(), from.as_ptr() as *const c_void, bytes)
        };
        stream.check(status)
    }

    /// Copy to the host. The number of bytes must be that of the tensor.
    pub fn read<T: Plain>(&self, stream: &Stream, to: &mut [T]) -> Result<()> {
        let bytes = std::mem::size_of_val(to);
        // SAFETY: `to` has that many bytes, and every pattern of bits is a value.
        let status = unsafe {
            sys::relora_tensor_read(self.get(), stream.get(), to.as_mut_ptr() as *mut c_void, bytes)
        };
        stream.check(status)
    }

    pub fn to_vec(&self, stream: &Stream) -> Result<Vec<f32>> {
        let mut values = vec![0f32; self.count() as usize];
        self.read(stream, &mut values)?;
        Ok(values)
    }

    pub fn copy_from(&self, stream: &Stream, source: &Tensor) -> Result<()> {
        // SAFETY: both tensors live.
        stream.check(unsafe { sys::relora_tensor_copy(self.get(), source.get(), stream.get()) })
    }

    pub fn fill(&self, stream: &Stream, value: f64) -> Result<()> {
        // SAFETY: the tensor lives.
        stream.check(unsafe { sys::relora_tensor_fill(self.get(), stream.get(), value) })
    }
}

impl Clone for Tensor {
    fn clone(&self) -> Tensor {
        let mut other = Tensor::retained(&self.handle.context, self.get()).expect("a tensor that lives");
        other.memory = self.memory;
        other
    }
}

/// Numbers that a tensor may hold, bit by bit.
pub trait Plain: Copy + private::Sealed {}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u16 {}
    impl Sealed for u8 {}
}
impl Plain for f32 {}
impl Plain for u16 {} // BF16
impl Plain for u8 {}

fn axes(shape: &[i64]) -> Result<i32> {
    if shape.len() > sys::RELORA_MAX_DIMS as usize {
        return Err(Error::new(sys::RELORA_E_ARGUMENT, "relora::Tensor: more axes than RELORA_MAX_DIMS"));
    }
    Ok(shape.len() as i32)
}
