//! ReLoRA training building blocks: the safe side of `relora-sys`.
//!
//! Every function is a call of the C interface, whose headers are the manual. What Rust adds:
//!
//! * **Nothing dangles.** An object holds what it needs, and memory that a tensor lends to the library is owned
//!   by the tensor, alone or by an `Rc`.
//! * **Nothing races.** An optimizer stands for its layers, so two handles without anything in common may still
//!   touch the same memory. Objects therefore stay on the thread that made them: nothing here is `Send`. A
//!   thread of its own makes a context of its own; contexts share nothing. (`threads` of a context's options says
//!   how many the library itself may use inside a call.)
//! * **Nothing unwinds through C.** A panic of a hook comes out of the call it was in; one of the log is dropped.
//!
//! ```
//! # fn main() -> relora::Result<()> {
//! let context = relora::Context::new()?;
//! let stream = relora::Stream::new(&context.cpu())?;
//! let ones = relora::Tensor::zeros(&stream, relora::F32, &[2, 3])?;
//! ones.fill(&stream, 1.0)?;
//! assert_eq!(ones.cells()?[5].get(), 1.0);
//! # Ok(())
//! # }
//! ```

mod adam;
mod cycle;
mod files;
mod group;
mod linear;
mod restart;
mod tensor;

pub use adam::Adam;
pub use cycle::{Cycle, Hooks, Restart, Schedule};
pub use files::{Reader, State, Writer};
pub use group::Group;
pub use linear::Linear;
pub use relora_sys as sys;
pub use restart::{draw_factors, full_rank_step, merge, project_moments, renew_factors, reset_moments};
pub use tensor::Tensor;

pub use sys::{
    relora_adam_options as AdamOptions, relora_context_options as ContextOptions,
    relora_cycle_options as CycleOptions, relora_dtype as Dtype, relora_factors_options as FactorsOptions,
    relora_full_rank_report as FullRankReport, relora_layout as Layout, relora_linear_mode as Mode,
    relora_linear_options as LinearOptions, relora_merge_options as MergeOptions,
    relora_merge_report as MergeReport, relora_param as Param, relora_plan_report as PlanReport,
    relora_read_report as ReadReport, relora_reset_options as ResetOptions,
    relora_reset_report as ResetReport, relora_schedule_options as ScheduleOptions,
    relora_step_report as StepReport, RELORA_BF16 as BF16, RELORA_F32 as F32, RELORA_OVERWRITE as OVERWRITE,
    RELORA_TRAIN as TRAIN,
};

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{null_mut, NonNull};
use std::rc::Rc;
use std::{fmt, ptr};

/// A status below 0, with the sentence that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub status: sys::relora_status,
    pub text: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(status: sys::relora_status, text: &str) -> Error {
        Error { status, text: text.to_owned() }
    }

    /// Identifier of the status, "RELORA_E_SHAPE".
    pub fn name(&self) -> &'static str {
        // SAFETY: static strings, and never NULL.
        unsafe { CStr::from_ptr(sys::relora_status_name(self.status)) }.to_str().unwrap_or("")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            // SAFETY: static strings, and never NULL.
            let line = unsafe { CStr::from_ptr(sys::relora_status_text(self.status)) };
            return write!(f, "{}", line.to_string_lossy());
        }
        write!(f, "{}", self.text)
    }
}

impl std::error::Error for Error {}

/// Version of the library that is loaded, as (major << 16) | (minor << 8) | patch.
pub fn version() -> u32 {
    // SAFETY: no arguments.
    unsafe { sys::relora_version() }
}

/// "0.6.0"
pub fn version_string() -> &'static str {
    // SAFETY: a static string.
    unsafe { CStr::from_ptr(sys::relora_version_string()) }.to_str().unwrap_or("")
}

/// "gemm=onednn-2.6.3,threads=openmp" and so on.
pub fn build_info() -> &'static str {
    // SAFETY: a static string.
    unsafe { CStr::from_ptr(sys::relora_build_info()) }.to_str().unwrap_or("")
}

/// A name for C. One with a NUL inside is refused.
fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(sys::RELORA_E_ARGUMENT, "relora: a text with a NUL inside"))
}

/// A borrowed string of the library, or None for NULL. It must live as long as `'a`.
unsafe fn borrowed<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    CStr::from_ptr(text).to_str().ok()
}

fn read_text(ask: impl Fn(*mut c_char, usize, *mut usize) -> sys::relora_status) -> String {
    let mut length = 0;
    ask(null_mut(), 0, &mut length);
    let mut bytes = vec![0u8; length + 1];
    ask(bytes.as_mut_ptr() as *mut c_char, bytes.len(), &mut length);
    bytes.truncate(length.min(bytes.len() - 1));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A handle that is released when it goes, and the context that has the text of its failures.
struct Handle<T> {
    ptr: NonNull<T>,
    release: unsafe extern "C" fn(*mut T),
    context: Context,
}

impl<T> Handle<T> {
    /// `create` gives `*out` as the constructors of the C interface do.
    fn new(
        context: &Context,
        release: unsafe extern "C" fn(*mut T),
        create: impl FnOnce(*mut *mut T) -> sys::relora_status,
    ) -> Result<Handle<T>> {
        let mut out = null_mut();
        context.check(create(&mut out))?;
        match NonNull::new(out) {
            Some(ptr) => Ok(Handle { ptr, release, context: context.clone() }),
            None => Err(Error::new(sys::RELORA_E_INTERNAL, "relora: no object, and no failure")),
        }
    }

    fn get(&self) -> *mut T {
        self.ptr.as_ptr()
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.ptr)
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the reference that `new` was given.
        unsafe { (self.release)(self.get()) }
    }
}

/// What is shared: the log, the number of threads, the devices. A clone is the same context.
#[derive(Clone, Debug)]
pub struct Context(Rc<ContextHandle>);

#[derive(Debug)]
struct ContextHandle(NonNull<sys::relora_context>);

impl Drop for ContextHandle {
    fn drop(&mut self) {
        // SAFETY: the reference that Context::with was given.
        unsafe { sys::relora_context_release(self.0.as_ptr()) }
    }
}

type Log = Box<dyn Fn(i32, &str)>;

unsafe extern "C" fn call_log(user: *mut c_void, level: i32, message: *const c_char) {
    let log = &*(user as *const Log);
    let line = CStr::from_ptr(message).to_string_lossy();
    let _ = catch_unwind(AssertUnwindSafe(|| log(level, &line)));
}

unsafe extern "C" fn drop_log(user: *mut c_void) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(user as *mut Log))));
}

unsafe extern "C" fn keep_line(user: *mut c_void, _level: i32, message: *const c_char) {
    *(user as *mut String) = CStr::from_ptr(message).to_string_lossy().into_owned();
}

/// Why there is no context: only a log hears it.
fn refusal(mut options: ContextOptions) -> String {
    let (mut heard, mut out) = (String::new(), null_mut());
    options.log = Some(keep_line);
    options.log_user = &mut heard as *mut String as *mut c_void;
    options.on_destroy = None;
    if options.log_level == sys::RELORA_LOG_OFF {
        options.log_level = sys::RELORA_LOG_ERROR;
    }
    // SAFETY: the context, if there is one this time, ends before what it points to.
    unsafe {
        sys::relora_context_create(&mut out, &options);
        sys::relora_context_release(out);
    }
    heard
}

impl Context {
    /// With all defaults.
    pub fn new() -> Result<Context> {
        Context::with(&ContextOptions::default(), None, |_, _| ())
    }

    /// Pointers in `options` are not looked at: `module_dir` and `log` are given beside it. The log lives until
    /// the last object of the context has gone.
    pub fn with(
        options: &ContextOptions,
        module_dir: Option<&str>,
        log: impl Fn(i32, &str) + 'static,
    ) -> Result<Context> {
        let folder = module_dir.map(c_string).transpose()?;
        let log: *mut Log = Box::into_raw(Box::new(Box::new(log)));
        let o = ContextOptions {
            flags: options.flags,
            threads: options.threads,
            log_level: options.log_level,
            log: Some(call_log),
            log_user: log as *mut c_void,
            module_dir: folder.as_ref().map_or(ptr::null(), |f| f.as_ptr()),
            on_destroy: Some(drop_log),
            destroy_user: log as *mut c_void,
            ..ContextOptions::default()
        };
        let mut out = null_mut();
        // SAFETY: what the options point to lives until drop_log, or is copied.
        let status = unsafe { sys::relora_context_create(&mut out, &o) };
        match NonNull::new(out) {
            Some(ctx) => Ok(Context(Rc::new(ContextHandle(ctx)))),
            None => {
                // SAFETY: on_destroy is not called where there is no context.
                unsafe { drop_log(log as *mut c_void) };
                Err(Error { status, text: refusal(o) })
            }
        }
    }

    fn get(&self) -> *mut sys::relora_context {
        (self.0).0.as_ptr()
    }

    fn check(&self, status: sys::relora_status) -> Result<()> {
        if status >= 0 {
            return Ok(());
        }
        // SAFETY: the buffer is as long as is said.
        let text = read_text(|to, n, length| unsafe { sys::relora_context_error(self.get(), to, n, length) });
        Err(Error { status, text })
    }

    pub fn device_count(&self, kind: sys::relora_device_kind) -> i32 {
        // SAFETY: the context lives.
        unsafe { sys::relora_device_count(self.get(), kind) }
    }

    pub fn device(&self, kind: sys::relora_device_kind, index: i32) -> Result<Device> {
        // SAFETY: the context lives.
        match NonNull::new(unsafe { sys::relora_device_get(self.get(), kind, index) }) {
            Some(ptr) => Ok(Device { ptr, context: self.clone() }),
            None => self.check(sys::RELORA_E_NOT_FOUND).and_then(|_| unreachable!()),
        }
    }

    pub fn cpu(&self) -> Device {
        self.device(sys::RELORA_DEVICE_CPU, 0).expect("every context has one CPU")
    }
}

/// A device of a context.
#[derive(Clone, Debug)]
pub struct Device {
    ptr: NonNull<sys::relora_device>,
    context: Context,
}

impl Device {
    fn get(&self) -> *mut sys::relora_device {
        self.ptr.as_ptr()
    }

    pub fn kind(&self) -> sys::relora_device_kind {
        // SAFETY: lives as long as the context.
        unsafe { sys::relora_device_get_kind(self.get()) }
    }

    pub fn name(&self) -> &str {
        // SAFETY: lives as long as the context.
        unsafe { borrowed(sys::relora_device_name(self.get())) }.unwrap_or("")
    }

    /// Free and total bytes.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: lives as long as the context.
        self.context.check(unsafe { sys::relora_device_memory(self.get(), &mut free, &mut total) })?;
        Ok((free, total))
    }
}

/// An ordered queue of work on one device. On the CPU work is done when a call returns.
#[derive(Debug)]
pub struct Stream(Handle<sys::relora_stream>, NonNull<sys::relora_device>);

impl Stream {
    pub fn new(device: &Device) -> Result<Stream> {
        // SAFETY: the device lives as long as its context.
        let make = |out: *mut *mut _| unsafe { sys::relora_stream_create(out, device.get()) };
        Ok(Stream(Handle::new(&device.context, sys::relora_stream_release, make)?, device.ptr))
    }

    /// Over a cudaStream_t of the host.
    ///
    /// # Safety
    /// `native` must be one of the device, and outlive the stream.
    pub unsafe fn wrap(device: &Device, native: *mut c_void) -> Result<Stream> {
        let make = |out: *mut *mut _| sys::relora_stream_wrap(out, device.get(), native);
        Ok(Stream(Handle::new(&device.context, sys::relora_stream_release, make)?, device.ptr))
    }

    pub fn native(&self) -> *mut c_void {
        // SAFETY: the stream lives.
        unsafe { sys::relora_stream_native(self.get()) }
    }

    pub fn wait(&self, other: &Stream) -> Result<()> {
        // SAFETY: both streams live.
        self.check(unsafe { sys::relora_stream_wait(self.get(), other.get()) })
    }

    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives.
        self.check(unsafe { sys::relora_stream_synchronize(self.get()) })
    }

    fn get(&self) -> *mut sys::relora_stream {
        self.0.get()
    }

    /// The text of a failure is that of this stream.
    fn check(&self, status: sys::relora_status) -> Result<()> {
        if status >= 0 {
            return Ok(());
        }
        // SAFETY: the buffer is as long as is said.
        let text = read_text(|to, n, length| unsafe { sys::relora_stream_error(self.get(), to, n, length) });
        Err(Error { status, text })
    }
}

/// Objects stay on their thread, so that safe code cannot step an optimizer beside a forward of its layer:
///
/// ```compile_fail
/// let context = relora::Context::new().unwrap();
/// let stream = relora::Stream::new(&context.cpu()).unwrap();
/// std::thread::spawn(move || drop(stream));
/// ```
///
/// A thread makes its own:
///
/// ```
/// std::thread::spawn(|| drop(relora::Context::new().unwrap())).join().unwrap();
/// ```
#[cfg(doctest)]
struct Threads;
