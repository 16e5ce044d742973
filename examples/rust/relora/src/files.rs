use crate::{
    borrowed, c_string, sys, Adam, Context, Cycle, Error, Group, Handle, Layout, Linear, ReadReport, Result,
    Schedule, Stream, Tensor,
};
use std::cell::Cell;
use std::fs;
use std::marker::PhantomData;
use std::os::raw::c_void;
use std::rc::Rc;
use std::{ptr, slice};

/// Collects tensors and saves them as safetensors. Bytes that were added live as long as `'a`.
#[derive(Debug)]
pub struct Writer<'a> {
    handle: Handle<sys::relora_writer>,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Writer<'a> {
    pub fn new(context: &Context) -> Result<Writer<'a>> {
        // SAFETY: the context lives.
        let make = |out: *mut *mut _| unsafe { sys::relora_writer_create(out, context.get()) };
        Ok(Writer { handle: Handle::new(context, sys::relora_writer_release, make)?, bytes: PhantomData })
    }

    pub fn add(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the name is copied and the tensor retained.
        self.check(unsafe { sys::relora_writer_add(self.handle.get(), name.as_ptr(), tensor.get()) })
    }

    /// `dtype` is the format's own name, "I64".
    pub fn add_bytes(&mut self, name: &str, dtype: &str, shape: &[i64], bytes: &'a [u8]) -> Result<()> {
        let (name, dtype) = (c_string(name)?, c_string(dtype)?);
        let (writer, ndim, data) = (self.handle.get(), shape.len() as i32, bytes.as_ptr() as *const c_void);
        let (name, dtype, shape) = (name.as_ptr(), dtype.as_ptr(), shape.as_ptr());
        // SAFETY: names are copied, and the bytes outlive the writer.
        self.check(unsafe {
            sys::relora_writer_add_bytes(writer, name, dtype, ndim, shape, data, bytes.len())
        })
    }

    pub fn set_metadata(&mut self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: both are copied.
        self.check(unsafe {
            sys::relora_writer_set_metadata(self.handle.get(), key.as_ptr(), value.as_ptr())
        })
    }

    pub fn save(&self, stream: &Stream, path: &str, flags: u32) -> Result<()> {
        let path = c_string(path)?;
        // SAFETY: what was added lives.
        stream
            .check(unsafe { sys::relora_writer_save(self.handle.get(), stream.get(), path.as_ptr(), flags) })
    }

    fn check(&self, status: sys::relora_status) -> Result<()> {
        self.handle.context.check(status)
    }
}

/// Gives out the tensors of a safetensors file, which was checked whole before.
#[derive(Debug)]
pub struct Reader {
    handle: Handle<sys::relora_reader>,
    _bytes: Vec<u8>, // what the handle looks at, so it goes after it
}

impl Reader {
    /// The file is read into memory. [`Reader::map`] does not need that much.
    pub fn open(context: &Context, path: &str) -> Result<Reader> {
        let bytes = fs::read(path).map_err(|e| Error::new(sys::RELORA_E_IO, &format!("{}: {}", path, e)))?;
        Reader::from_bytes(context, bytes)
    }

    pub fn from_bytes(context: &Context, bytes: Vec<u8>) -> Result<Reader> {
        let data = bytes.as_ptr() as *const c_void;
        let make = |out: *mut *mut _| {
            // SAFETY: the bytes stay where they are until the reader has gone.
            unsafe { sys::relora_reader_open_memory(out, context.get(), data, bytes.len()) }
        };
        let handle = Handle::new(context, sys::relora_reader_release, make)?;
        Ok(Reader { handle, _bytes: bytes })
    }

    /// Map the file.
    ///
    /// # Safety
    /// Nobody may shorten or write to the file as long as the reader lives.
    pub unsafe fn map(context: &Context, path: &str) -> Result<Reader> {
        let path = c_string(path)?;
        let make = |out: *mut *mut _| sys::relora_reader_open(out, context.get(), path.as_ptr());
        Ok(Reader { handle: Handle::new(context, sys::relora_reader_release, make)?, _bytes: Vec::new() })
    }

    /// The same, and None for a file that does not exist.
    ///
    /// # Safety
    /// As for [`Reader::map`].
    pub unsafe fn map_if_there(context: &Context, path: &str) -> Result<Option<Reader>> {
        let (path, mut out) = (c_string(path)?, ptr::null_mut());
        context.check(sys::relora_reader_open_if_there(&mut out, context.get(), path.as_ptr()))?;
        if out.is_null() {
            return Ok(None);
        }
        let make = |to: *mut *mut _| {
            *to = out;
            sys::RELORA_OK
        };
        Ok(Some(Reader {
            handle: Handle::new(context, sys::relora_reader_release, make)?,
            _bytes: Vec::new(),
        }))
    }

    pub fn count(&self) -> i32 {
        // SAFETY: the reader lives.
        unsafe { sys::relora_reader_count(self.handle.get()) }
    }

    pub fn name(&self, index: i32) -> Option<&str> {
        // SAFETY: names live as long as the reader.
        unsafe { borrowed(sys::relora_reader_name(self.handle.get(), index)) }
    }

    pub fn dtype(&self, name: &str) -> Option<&str> {
        let name = c_string(name).ok()?;
        // SAFETY: lives as long as the reader.
        unsafe { borrowed(sys::relora_reader_dtype(self.handle.get(), name.as_ptr())) }
    }

    pub fn shape(&self, name: &str) -> Result<Vec<i64>> {
        let (name, mut n) = (c_string(name)?, 0);
        let (reader, name) = (self.handle.get(), name.as_ptr());
        // SAFETY: the capacity is that of the vector.
        unsafe {
            self.check(sys::relora_reader_shape(reader, name, &mut n, ptr::null_mut(), 0))?;
            let mut shape = vec![0; n as usize];
            self.check(sys::relora_reader_shape(reader, name, &mut n, shape.as_mut_ptr(), n))?;
            Ok(shape)
        }
    }

    pub fn bytes(&self, name: &str) -> Result<&[u8]> {
        let (name, mut data, mut size) = (c_string(name)?, ptr::null(), 0);
        // SAFETY: the bytes live as long as the reader.
        unsafe {
            self.check(sys::relora_reader_bytes(self.handle.get(), name.as_ptr(), &mut data, &mut size))?;
            Ok(if size == 0 { &[] } else { slice::from_raw_parts(data as *const u8, size) })
        }
    }

    pub fn metadata_count(&self) -> i32 {
        // SAFETY: the reader lives.
        unsafe { sys::relora_reader_metadata_count(self.handle.get()) }
    }

    pub fn metadata_key(&self, index: i32) -> Option<&str> {
        // SAFETY: lives as long as the reader.
        unsafe { borrowed(sys::relora_reader_metadata_key(self.handle.get(), index)) }
    }

    pub fn metadata(&self, key: &str) -> Option<&str> {
        let key = c_string(key).ok()?;
        // SAFETY: lives as long as the reader.
        unsafe { borrowed(sys::relora_reader_metadata(self.handle.get(), key.as_ptr())) }
    }

    pub fn read(&self, stream: &Stream, name: &str, target: &Tensor, flags: u32) -> Result<()> {
        let name = c_string(name)?;
        let (reader, s) = (self.handle.get(), stream.get());
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_reader_read(reader, s, name.as_ptr(), target.get(), flags) })?;
        stream.synchronize() // the bytes may go now
    }

    /// The weights of a model by their names.
    pub fn read_group(&self, stream: &Stream, group: &Group, flags: u32) -> Result<ReadReport> {
        let mut report = ReadReport::default();
        let (reader, s) = (self.handle.get(), stream.get());
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_reader_read_group(reader, s, group.get(), flags, &mut report) })?;
        stream.synchronize()?; // the bytes may go now
        Ok(report)
    }

    /// Check every checksum the file has.
    pub fn verify(&self) -> Result<()> {
        // SAFETY: the reader lives.
        self.check(unsafe { sys::relora_reader_verify(self.handle.get()) })
    }

    fn check(&self, status: sys::relora_status) -> Result<()> {
        self.handle.context.check(status)
    }
}

/// Everything a training run consists of, saved and restored in one call each.
#[derive(Debug)]
pub struct State {
    handle: Handle<sys::relora_state>,
    _bytes: Vec<Rc<[Cell<u8>]>>, // what the handle looks at, so they go after it
}

impl State {
    pub fn new(context: &Context) -> Result<State> {
        // SAFETY: the context lives.
        let make = |out: *mut *mut _| unsafe { sys::relora_state_create(out, context.get()) };
        Ok(State { handle: Handle::new(context, sys::relora_state_release, make)?, _bytes: Vec::new() })
    }

    pub fn add_tensor(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let name = c_string(name)?;
        // SAFETY: the tensor is retained.
        self.check(unsafe { sys::relora_state_add_tensor(self.handle.get(), name.as_ptr(), tensor.get()) })
    }

    /// Bytes that are saved from, and restored to, where they are.
    pub fn add_bytes(&mut self, name: &str, bytes: &Rc<[Cell<u8>]>) -> Result<()> {
        let name = c_string(name)?;
        let data = bytes.as_ptr() as *mut c_void;
        // SAFETY: the bytes are kept as long as the handle, and are cells, which may change.
        self.check(unsafe {
            sys::relora_state_add_bytes(self.handle.get(), name.as_ptr(), data, bytes.len())
        })?;
        self._bytes.push(Rc::clone(bytes));
        Ok(())
    }

    pub fn add_linear(&mut self, prefix: &str, linear: &Linear) -> Result<()> {
        let prefix = c_string(prefix)?;
        // SAFETY: the layer is retained.
        self.check(unsafe { sys::relora_state_add_linear(self.handle.get(), prefix.as_ptr(), linear.get()) })
    }

    pub fn add_group(&mut self, group: &Group) -> Result<()> {
        // SAFETY: the members are retained.
        self.check(unsafe { sys::relora_state_add_group(self.handle.get(), group.get()) })
    }

    pub fn add_adam(&mut self, prefix: &str, adam: &Adam) -> Result<()> {
        let prefix = c_string(prefix)?;
        // SAFETY: the optimizer is retained.
        self.check(unsafe { sys::relora_state_add_adam(self.handle.get(), prefix.as_ptr(), adam.get()) })
    }

    pub fn add_schedule(&mut self, prefix: &str, schedule: &Schedule) -> Result<()> {
        let prefix = c_string(prefix)?;
        // SAFETY: it is described during the call.
        self.check(unsafe {
            sys::relora_state_add_schedule(self.handle.get(), prefix.as_ptr(), schedule.0.get())
        })
    }

    pub fn add_cycle(&mut self, prefix: &str, cycle: &Cycle) -> Result<()> {
        let prefix = c_string(prefix)?;
        // SAFETY: it is described during the call.
        self.check(unsafe {
            sys::relora_state_add_cycle(self.handle.get(), prefix.as_ptr(), cycle.handle.get())
        })
    }

    /// Metadata of the host's own.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: both are copied.
        self.check(unsafe { sys::relora_state_set(self.handle.get(), key.as_ptr(), value.as_ptr()) })
    }

    pub fn save(&self, stream: &Stream, path: &str, flags: u32) -> Result<()> {
        let path = c_string(path)?;
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_state_save(self.handle.get(), stream.get(), path.as_ptr(), flags) })
    }

    pub fn load(&mut self, stream: &Stream, reader: &Reader) -> Result<()> {
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_state_load(self.handle.get(), stream.get(), reader.handle.get()) })
    }

    /// How exports write the weights of layers.
    pub fn set_export_layout(&mut self, layout: Layout) -> Result<()> {
        // SAFETY: the state lives.
        self.handle.context.check(unsafe { sys::relora_state_set_export_layout(self.handle.get(), layout) })
    }

    pub fn export_merged(&self, stream: &Stream, path: &str) -> Result<()> {
        let path = c_string(path)?;
        // SAFETY: all handles live.
        stream
            .check(unsafe { sys::relora_state_export_merged(self.handle.get(), stream.get(), path.as_ptr()) })
    }

    pub fn export_adapter(&self, stream: &Stream, folder: &str, base_model: &str) -> Result<()> {
        let (folder, base) = (c_string(folder)?, c_string(base_model)?);
        let (state, s) = (self.handle.get(), stream.get());
        // SAFETY: all handles live.
        stream.check(unsafe { sys::relora_state_export_adapter(state, s, folder.as_ptr(), base.as_ptr()) })
    }

    pub fn export_delta(&self, stream: &Stream, path: &str) -> Result<()> {
        let path = c_string(path)?;
        // SAFETY: all handles live.
        stream
            .check(unsafe { sys::relora_state_export_delta(self.handle.get(), stream.get(), path.as_ptr()) })
    }

    fn check(&self, status: sys::relora_status) -> Result<()> {
        self.handle.context.check(status)
    }
}
