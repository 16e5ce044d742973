// Written by examples/bindings.py from include/relora: change the headers, then run `make bindings`.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_void};

pub type relora_comm_type = i32;
pub type relora_device_kind = i32;
pub type relora_dtype = i32;
pub type relora_init = i32;
pub type relora_isa = i32;
pub type relora_layout = i32;
pub type relora_linear_mode = i32;
pub type relora_moment = i32;
pub type relora_order = i32;
pub type relora_param = i32;
pub type relora_provider = i32;
pub type relora_reset_mode = i32;
pub type relora_rounding = i32;
pub type relora_schedule_kind = i32;
pub type relora_status = i32;

#[repr(C)]
pub struct relora_adam {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_context {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_cycle {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_device {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_group {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_linear {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_reader {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_schedule {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_state {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_stream {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_tensor {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct relora_writer {
    _private: [*mut u8; 0],
}
#[repr(C)]
pub struct DLManagedTensorVersioned {
    _private: [*mut u8; 0],
}

pub type relora_comm_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, native: *mut c_void, data: *mut c_void, count: i64, r#type: relora_comm_type) -> relora_status>;
pub type relora_comm_error_fn =
    Option<unsafe extern "C" fn(user: *mut c_void) -> *const c_char>;
pub type relora_alloc_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, size: usize, alignment: usize) -> *mut c_void>;
pub type relora_free_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, ptr: *mut c_void, size: usize, alignment: usize)>;
pub type relora_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: i32, message: *const c_char)>;
pub type relora_destroy_fn =
    Option<unsafe extern "C" fn(user: *mut c_void)>;
pub type relora_cycle_hook_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, step: i64, events: u32)>;
pub type relora_merge_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, stream: *mut relora_stream, a: *const relora_tensor, b: *const relora_tensor, options: *const relora_merge_options, report: *mut relora_merge_report) -> relora_status>;
pub type relora_deleter_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, data: *mut c_void)>;

pub const RELORA_ADAM_DECOUPLED: u32 = 1;
pub const RELORA_ADAM_SKIP_NOT_FINITE: u32 = 2;
pub const RELORA_ADAM_SHARD_STATE: u32 = 4;
pub const RELORA_MOMENT_FIRST: relora_moment = 1;
pub const RELORA_MOMENT_SECOND: relora_moment = 2;
pub const RELORA_SAVE_CHECKSUM: u32 = 1;
pub const RELORA_READ_CONVERT: u32 = 1;
pub const RELORA_READ_FINITE: u32 = 2;
pub const RELORA_READ_ALLOW_MISSING: u32 = 4;
pub const RELORA_READ_ALLOW_LEFT_OVER: u32 = 8;
pub const RELORA_COMM_F32: relora_comm_type = 1;
pub const RELORA_COMM_F64: relora_comm_type = 2;
pub const RELORA_COMM_I64: relora_comm_type = 3;
pub const RELORA_LOG_OFF: i32 = 0;
pub const RELORA_LOG_ERROR: i32 = 1;
pub const RELORA_LOG_WARN: i32 = 2;
pub const RELORA_LOG_INFO: i32 = 3;
pub const RELORA_LOG_DEBUG: i32 = 4;
pub const RELORA_CYCLE_MERGE: u32 = 1;
pub const RELORA_CYCLE_RESET: u32 = 2;
pub const RELORA_CYCLE_FINISH: u32 = 4;
pub const RELORA_MODE_FULL: relora_linear_mode = 1;
pub const RELORA_MODE_LORA: relora_linear_mode = 2;
pub const RELORA_MODE_LOWRANK: relora_linear_mode = 3;
pub const RELORA_LINEAR_BIAS: u32 = 1;
pub const RELORA_LINEAR_TRAINABLE_SCALE: u32 = 2;
pub const RELORA_LINEAR_REFERENCE: u32 = 4;
pub const RELORA_LINEAR_KEEP_DELTA: u32 = 8;
pub const RELORA_LINEAR_TF32: u32 = 16;
pub const RELORA_LINEAR_IN_OUT: u32 = 32;
pub const RELORA_LINEAR_FREEZE_A: u32 = 64;
pub const RELORA_LINEAR_FREEZE_B: u32 = 128;
pub const RELORA_INIT_UNIFORM: relora_init = 1;
pub const RELORA_INIT_MATCHED: relora_init = 2;
pub const RELORA_INIT_GRADIENT: relora_init = 3;
pub const RELORA_INIT_GIVEN: relora_init = 4;
pub const RELORA_PARAM_WEIGHT: relora_param = 1;
pub const RELORA_PARAM_BIAS: relora_param = 2;
pub const RELORA_PARAM_A: relora_param = 3;
pub const RELORA_PARAM_B: relora_param = 4;
pub const RELORA_PARAM_SCALE: relora_param = 5;
pub const RELORA_PARAM_DELTA: relora_param = 6;
pub const RELORA_PARAM_SKETCH: relora_param = 7;
pub const RELORA_TRAIN: u32 = 1;
pub const RELORA_OVERWRITE: u32 = 2;
pub const RELORA_ACCUMULATE_DX: u32 = 4;
pub const RELORA_ACCUMULATE_Y: u32 = 8;
pub const RELORA_SKETCH: u32 = 16;
pub const RELORA_ORDER_AUTO: relora_order = 1;
pub const RELORA_ORDER_SPLIT: relora_order = 2;
pub const RELORA_ORDER_FOLD: relora_order = 3;
pub const RELORA_ORDER_THROUGH: relora_order = 4;
pub const RELORA_PROVIDER_OWN: relora_provider = 1;
pub const RELORA_PROVIDER_ONEDNN: relora_provider = 2;
pub const RELORA_PROVIDER_BLAS: relora_provider = 3;
pub const RELORA_ISA_BASE: relora_isa = 1;
pub const RELORA_ISA_NEON: relora_isa = 2;
pub const RELORA_ISA_AVX2: relora_isa = 3;
pub const RELORA_ISA_AVX512: relora_isa = 4;
pub const RELORA_ISA_AMX: relora_isa = 5;
pub const RELORA_RESET_ZERO: relora_reset_mode = 1;
pub const RELORA_RESET_RANDOM: relora_reset_mode = 2;
pub const RELORA_RESET_MAGNITUDE: relora_reset_mode = 3;
pub const RELORA_RESET_KEEP: relora_reset_mode = 4;
pub const RELORA_RESET_PROJECT: relora_reset_mode = 5;
pub const RELORA_RESET_STEP_COUNT: u32 = 1;
pub const RELORA_RESET_INDEPENDENT: u32 = 2;
pub const RELORA_RESET_QUANTILE: u32 = 4;
pub const RELORA_MERGE_LOOK: u32 = 1;
pub const RELORA_MERGE_IN_OUT: u32 = 2;
pub const RELORA_SCHEDULE_CONSTANT: relora_schedule_kind = 1;
pub const RELORA_SCHEDULE_LINEAR: relora_schedule_kind = 2;
pub const RELORA_SCHEDULE_COSINE: relora_schedule_kind = 3;
pub const RELORA_SCHEDULE_COSINE_RESTARTS: relora_schedule_kind = 4;
pub const RELORA_LAYOUT_OWN: relora_layout = 1;
pub const RELORA_LAYOUT_OUT_IN: relora_layout = 2;
pub const RELORA_LAYOUT_IN_OUT: relora_layout = 3;
pub const RELORA_OK: relora_status = 0;
pub const RELORA_E_INTERNAL: relora_status = -1;
pub const RELORA_E_ARGUMENT: relora_status = -10;
pub const RELORA_E_STRUCT_SIZE: relora_status = -11;
pub const RELORA_E_SHAPE: relora_status = -12;
pub const RELORA_E_DTYPE: relora_status = -13;
pub const RELORA_E_DEVICE: relora_status = -14;
pub const RELORA_E_LAYOUT: relora_status = -15;
pub const RELORA_E_CONTEXT: relora_status = -16;
pub const RELORA_E_OVERFLOW: relora_status = -17;
pub const RELORA_E_STATE: relora_status = -20;
pub const RELORA_E_NOT_FOUND: relora_status = -21;
pub const RELORA_E_EXISTS: relora_status = -22;
pub const RELORA_E_READ_ONLY: relora_status = -23;
pub const RELORA_E_UNSUPPORTED: relora_status = -24;
pub const RELORA_E_NO_MEMORY: relora_status = -30;
pub const RELORA_E_BACKEND: relora_status = -40;
pub const RELORA_E_COMM: relora_status = -41;
pub const RELORA_E_IO: relora_status = -50;
pub const RELORA_E_FORMAT: relora_status = -51;
pub const RELORA_E_VERSION: relora_status = -52;
pub const RELORA_E_NOT_FINITE: relora_status = -60;
pub const RELORA_MAX_DIMS: i32 = 8;
pub const RELORA_F32: relora_dtype = 1;
pub const RELORA_BF16: relora_dtype = 2;
pub const RELORA_DEVICE_CPU: relora_device_kind = 1;
pub const RELORA_DEVICE_CUDA: relora_device_kind = 2;
pub const RELORA_ROUND_NEAREST: relora_rounding = 1;
pub const RELORA_ROUND_STOCHASTIC: relora_rounding = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_adam_options {
    pub struct_size: u32,
    pub flags: u32,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub max_norm: f64,
    pub seed: u64,
    pub rounding: relora_rounding,
    pub reserved: i32,
    pub comm: *const relora_comm,
}

impl Default for relora_adam_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_adam_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_step_report {
    pub struct_size: u32,
    pub skipped: i32,
    pub grad_norm: f64,
    pub clip_factor: f64,
}

impl Default for relora_step_report {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_step_report_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_read_report {
    pub struct_size: u32,
    pub read: i32,
    pub missing: i32,
    pub left_over: i32,
}

impl Default for relora_read_report {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_read_report_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_comm {
    pub struct_size: u32,
    pub rank: i32,
    pub size: i32,
    pub memory: relora_device_kind,
    pub sum: relora_comm_fn,
    pub reduce_scatter: relora_comm_fn,
    pub all_gather: relora_comm_fn,
    pub error: relora_comm_error_fn,
    pub user: *mut c_void,
}

impl Default for relora_comm {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_comm_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_context_options {
    pub struct_size: u32,
    pub flags: u32,
    pub threads: i32,
    pub log_level: i32,
    pub host_alloc: relora_alloc_fn,
    pub host_free: relora_free_fn,
    pub host_user: *mut c_void,
    pub log: relora_log_fn,
    pub log_user: *mut c_void,
    pub module_dir: *const c_char,
    pub on_destroy: relora_destroy_fn,
    pub destroy_user: *mut c_void,
}

impl Default for relora_context_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_context_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_cycle_options {
    pub struct_size: u32,
    pub flags: u32,
    pub first_step: i64,
    pub merge_every: i64,
    pub reset_every: i64,
    pub before: relora_cycle_hook_fn,
    pub after: relora_cycle_hook_fn,
    pub hook_user: *mut c_void,
    pub period_growth: i64,
    pub stagger: i64,
    pub comm: *const relora_comm,
}

impl Default for relora_cycle_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_cycle_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_linear_options {
    pub struct_size: u32,
    pub flags: u32,
    pub mode: relora_linear_mode,
    pub dtype: relora_dtype,
    pub in_features: i64,
    pub out_features: i64,
    pub rank: i64,
    pub alpha: f64,
    pub dropout: f64,
    pub seed: u64,
    pub layer: u64,
    pub rounding: relora_rounding,
    pub reserved: i32,
    pub init: relora_init,
    pub reserved2: i32,
}

impl Default for relora_linear_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_linear_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_merge_report {
    pub struct_size: u32,
    pub layers: i32,
    pub delta_norm: f64,
    pub weight_norm: f64,
    pub overlap: f64,
    pub gradient_before: f64,
    pub gradient_after: f64,
}

impl Default for relora_merge_report {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_merge_report_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_full_rank_report {
    pub struct_size: u32,
    pub reserved: i32,
    pub delta_norm: f64,
    pub weight_norm: f64,
    pub grad_norm: f64,
    pub grad_rank: f64,
}

impl Default for relora_full_rank_report {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_full_rank_report_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_plan_report {
    pub struct_size: u32,
    pub forward: relora_order,
    pub backward: relora_order,
    pub reserved: i32,
    pub forward_flops: f64,
    pub backward_flops: f64,
    pub forward_bytes: i64,
    pub backward_bytes: i64,
    pub forward_provider: relora_provider,
    pub backward_provider: relora_provider,
    pub forward_isa: relora_isa,
    pub backward_isa: relora_isa,
    pub forward_converts: i32,
    pub backward_converts: i32,
    pub product_bytes: i64,
}

impl Default for relora_plan_report {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_plan_report_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_reset_options {
    pub struct_size: u32,
    pub flags: u32,
    pub mode: relora_reset_mode,
    pub reserved: i32,
    pub ratio: f64,
    pub seed: u64,
    pub cycle: u64,
}

impl Default for relora_reset_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_reset_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_reset_report {
    pub struct_size: u32,
    pub params: i32,
    pub elements: i64,
    pub zeroed_first: i64,
    pub zeroed_second: i64,
    pub unpaired: i64,
}

impl Default for relora_reset_report {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_reset_report_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_merge_options {
    pub struct_size: u32,
    pub flags: u32,
    pub scale: f64,
    pub seed: u64,
    pub layer: u64,
    pub cycle: u64,
    pub rounding: relora_rounding,
    pub reserved: i32,
}

impl Default for relora_merge_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_merge_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_factors_options {
    pub struct_size: u32,
    pub init: relora_init,
    pub seed: u64,
    pub layer: u64,
    pub cycle: u64,
}

impl Default for relora_factors_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_factors_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct relora_schedule_options {
    pub struct_size: u32,
    pub kind: relora_schedule_kind,
    pub lr: f64,
    pub min_lr_ratio: f64,
    pub first_step: i64,
    pub total_steps: i64,
    pub warmup_steps: i64,
    pub restart_warmup_steps: i64,
    pub restart_every: i64,
    pub adjust_step: i64,
    pub period_growth: i64,
}

impl Default for relora_schedule_options {
    fn default() -> Self {
        let mut s = std::mem::MaybeUninit::<Self>::zeroed();
        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.
        unsafe {
            relora_schedule_options_init(s.as_mut_ptr(), std::mem::size_of::<Self>());
            s.assume_init()
        }
    }
}

extern "C" {
    pub fn relora_step_report_init(report: *mut relora_step_report, size: usize) -> relora_status;
    pub fn relora_adam_options_init(options: *mut relora_adam_options, size: usize) -> relora_status;
    pub fn relora_adam_create(out: *mut *mut relora_adam, device: *mut relora_device, options: *const relora_adam_options) -> relora_status;
    pub fn relora_adam_release(adam: *mut relora_adam);
    pub fn relora_adam_add(adam: *mut relora_adam, name: *const c_char, param: *mut relora_tensor, grad: *mut relora_tensor, index: *mut i32) -> relora_status;
    pub fn relora_adam_add_moments(adam: *mut relora_adam, name: *const c_char, param: *mut relora_tensor, grad: *mut relora_tensor, first: *mut relora_tensor, second: *mut relora_tensor, index: *mut i32) -> relora_status;
    pub fn relora_adam_set_moments(adam: *mut relora_adam, index: i32, first: *mut relora_tensor, second: *mut relora_tensor) -> relora_status;
    pub fn relora_adam_add_linear(adam: *mut relora_adam, prefix: *const c_char, linear: *mut relora_linear) -> relora_status;
    pub fn relora_adam_add_group(adam: *mut relora_adam, group: *const relora_group) -> relora_status;
    pub fn relora_adam_refresh(adam: *mut relora_adam, stream: *mut relora_stream) -> relora_status;
    pub fn relora_adam_set_factors(adam: *mut relora_adam, index: i32, lr_factor: f64, weight_decay: f64) -> relora_status;
    pub fn relora_adam_flatten_grads(adam: *mut relora_adam, stream: *mut relora_stream) -> relora_status;
    pub fn relora_adam_flat_grad(adam: *mut relora_adam) -> *mut relora_tensor;
    pub fn relora_adam_zero_grad(adam: *mut relora_adam, stream: *mut relora_stream) -> relora_status;
    pub fn relora_adam_step(adam: *mut relora_adam, stream: *mut relora_stream, lr: f64, grad_scale: f64, report: *mut relora_step_report) -> relora_status;
    pub fn relora_adam_step_lr(adam: *mut relora_adam, stream: *mut relora_stream, lr: *const relora_tensor, grad_scale: f64, report: *mut relora_step_report) -> relora_status;
    pub fn relora_adam_sum(adam: *mut relora_adam, stream: *mut relora_stream, tensor: *mut relora_tensor) -> relora_status;
    pub fn relora_adam_grad_norm(adam: *mut relora_adam, stream: *mut relora_stream, norm: *mut f64) -> relora_status;
    pub fn relora_adam_reset(adam: *mut relora_adam, stream: *mut relora_stream, indices: *const i32, count: i32, options: *const relora_reset_options, report: *mut relora_reset_report) -> relora_status;
    pub fn relora_adam_carry(adam: *mut relora_adam, stream: *mut relora_stream, from: *const relora_adam, indices: *const i32, count: i32, carried: *mut i32) -> relora_status;
    pub fn relora_adam_count(adam: *const relora_adam) -> i32;
    pub fn relora_adam_name(adam: *const relora_adam, index: i32) -> *const c_char;
    pub fn relora_adam_find(adam: *const relora_adam, name: *const c_char, index: *mut i32) -> relora_status;
    pub fn relora_adam_moment(adam: *mut relora_adam, index: i32, moment: relora_moment) -> *mut relora_tensor;
    pub fn relora_adam_steps(adam: *mut relora_adam, stream: *mut relora_stream, index: i32, steps: *mut i64) -> relora_status;
    pub fn relora_adam_set_steps(adam: *mut relora_adam, stream: *mut relora_stream, index: i32, steps: i64) -> relora_status;
    pub fn relora_read_report_init(report: *mut relora_read_report, size: usize) -> relora_status;
    pub fn relora_writer_create(out: *mut *mut relora_writer, ctx: *mut relora_context) -> relora_status;
    pub fn relora_writer_release(writer: *mut relora_writer);
    pub fn relora_writer_add(writer: *mut relora_writer, name: *const c_char, tensor: *mut relora_tensor) -> relora_status;
    pub fn relora_writer_add_bytes(writer: *mut relora_writer, name: *const c_char, dtype: *const c_char, ndim: i32, shape: *const i64, data: *const c_void, bytes: usize) -> relora_status;
    pub fn relora_writer_set_metadata(writer: *mut relora_writer, key: *const c_char, value: *const c_char) -> relora_status;
    pub fn relora_writer_save(writer: *mut relora_writer, stream: *mut relora_stream, path: *const c_char, flags: u32) -> relora_status;
    pub fn relora_reader_open(out: *mut *mut relora_reader, ctx: *mut relora_context, path: *const c_char) -> relora_status;
    pub fn relora_reader_open_if_there(out: *mut *mut relora_reader, ctx: *mut relora_context, path: *const c_char) -> relora_status;
    pub fn relora_reader_open_memory(out: *mut *mut relora_reader, ctx: *mut relora_context, data: *const c_void, size: usize) -> relora_status;
    pub fn relora_reader_release(reader: *mut relora_reader);
    pub fn relora_reader_count(reader: *const relora_reader) -> i32;
    pub fn relora_reader_name(reader: *const relora_reader, index: i32) -> *const c_char;
    pub fn relora_reader_dtype(reader: *const relora_reader, name: *const c_char) -> *const c_char;
    pub fn relora_reader_shape(reader: *const relora_reader, name: *const c_char, ndim: *mut i32, shape: *mut i64, capacity: i32) -> relora_status;
    pub fn relora_reader_bytes(reader: *const relora_reader, name: *const c_char, data: *mut *const c_void, bytes: *mut usize) -> relora_status;
    pub fn relora_reader_metadata_count(reader: *const relora_reader) -> i32;
    pub fn relora_reader_metadata_key(reader: *const relora_reader, index: i32) -> *const c_char;
    pub fn relora_reader_metadata(reader: *const relora_reader, key: *const c_char) -> *const c_char;
    pub fn relora_reader_read(reader: *mut relora_reader, stream: *mut relora_stream, name: *const c_char, target: *mut relora_tensor, flags: u32) -> relora_status;
    pub fn relora_reader_read_group(reader: *mut relora_reader, stream: *mut relora_stream, group: *const relora_group, flags: u32, report: *mut relora_read_report) -> relora_status;
    pub fn relora_reader_verify(reader: *const relora_reader) -> relora_status;
    pub fn relora_comm_init(comm: *mut relora_comm, size: usize) -> relora_status;
    pub fn relora_context_options_init(options: *mut relora_context_options, size: usize) -> relora_status;
    pub fn relora_context_create(out: *mut *mut relora_context, options: *const relora_context_options) -> relora_status;
    pub fn relora_context_release(ctx: *mut relora_context);
    pub fn relora_device_count(ctx: *const relora_context, kind: relora_device_kind) -> i32;
    pub fn relora_device_get(ctx: *mut relora_context, kind: relora_device_kind, index: i32) -> *mut relora_device;
    pub fn relora_device_get_kind(device: *const relora_device) -> relora_device_kind;
    pub fn relora_device_name(device: *const relora_device) -> *const c_char;
    pub fn relora_device_memory(device: *const relora_device, free_bytes: *mut u64, total_bytes: *mut u64) -> relora_status;
    pub fn relora_cycle_options_init(options: *mut relora_cycle_options, size: usize) -> relora_status;
    pub fn relora_cycle_options_follow(options: *mut relora_cycle_options, schedule: *const relora_schedule) -> relora_status;
    pub fn relora_cycle_create(out: *mut *mut relora_cycle, ctx: *mut relora_context, options: *const relora_cycle_options, adam: *mut relora_adam, reset: *const relora_reset_options) -> relora_status;
    pub fn relora_cycle_add(cycle: *mut relora_cycle, linear: *mut relora_linear) -> relora_status;
    pub fn relora_cycle_add_group(cycle: *mut relora_cycle, group: *const relora_group) -> relora_status;
    pub fn relora_cycle_release(cycle: *mut relora_cycle);
    pub fn relora_cycle_due(cycle: *const relora_cycle, step: i64, events: *mut u32) -> relora_status;
    pub fn relora_cycle_advance(cycle: *mut relora_cycle, stream: *mut relora_stream, step: i64, events: *mut u32, merge: *mut relora_merge_report, reset: *mut relora_reset_report) -> relora_status;
    pub fn relora_cycle_finish(cycle: *mut relora_cycle, stream: *mut relora_stream, step: i64, merge: *mut relora_merge_report) -> relora_status;
    pub fn relora_tensor_from_dlpack(out: *mut *mut relora_tensor, ctx: *mut relora_context, managed: *mut DLManagedTensorVersioned) -> relora_status;
    pub fn relora_tensor_to_dlpack(out: *mut *mut DLManagedTensorVersioned, tensor: *mut relora_tensor, producer: *mut relora_stream, consumer: *mut c_void) -> relora_status;
    pub fn relora_group_create(out: *mut *mut relora_group, device: *mut relora_device) -> relora_status;
    pub fn relora_group_release(group: *mut relora_group);
    pub fn relora_group_wrap(group: *mut relora_group, name: *const c_char, weight: *mut relora_tensor, bias: *mut relora_tensor, options: *const relora_linear_options, linear: *mut *mut relora_linear) -> relora_status;
    pub fn relora_group_add_linear(group: *mut relora_group, name: *const c_char, linear: *mut relora_linear) -> relora_status;
    pub fn relora_group_add_param(group: *mut relora_group, name: *const c_char, param: *mut relora_tensor, grad: *mut relora_tensor) -> relora_status;
    pub fn relora_group_wrap_at(group: *mut relora_group, name: *const c_char, weight: *mut c_void, bias: *mut c_void, options: *const relora_linear_options, linear: *mut *mut relora_linear) -> relora_status;
    pub fn relora_group_add_param_at(group: *mut relora_group, name: *const c_char, count: i64, param: *mut c_void, grad: *mut c_void) -> relora_status;
    pub fn relora_group_linear_at(group: *const relora_group, weight: *const c_void) -> *mut relora_linear;
    pub fn relora_group_count(group: *const relora_group) -> i32;
    pub fn relora_group_find(group: *const relora_group, name: *const c_char, index: *mut i32) -> relora_status;
    pub fn relora_group_name(group: *const relora_group, index: i32) -> *const c_char;
    pub fn relora_group_linear(group: *const relora_group, index: i32) -> *mut relora_linear;
    pub fn relora_group_value(group: *const relora_group, index: i32) -> *mut relora_tensor;
    pub fn relora_group_grad(group: *const relora_group, index: i32) -> *mut relora_tensor;
    pub fn relora_group_set_mode(group: *mut relora_group, stream: *mut relora_stream, mode: relora_linear_mode) -> relora_status;
    pub fn relora_group_merge(group: *mut relora_group, stream: *mut relora_stream, cycle: u64, report: *mut relora_merge_report) -> relora_status;
    pub fn relora_group_reset(group: *mut relora_group, stream: *mut relora_stream, cycle: u64) -> relora_status;
    pub fn relora_group_zero_grad(group: *mut relora_group, stream: *mut relora_stream) -> relora_status;
    pub fn relora_merge_report_init(report: *mut relora_merge_report, size: usize) -> relora_status;
    pub fn relora_full_rank_report_init(report: *mut relora_full_rank_report, size: usize) -> relora_status;
    pub fn relora_linear_options_init(options: *mut relora_linear_options, size: usize) -> relora_status;
    pub fn relora_linear_create(out: *mut *mut relora_linear, device: *mut relora_device, options: *const relora_linear_options) -> relora_status;
    pub fn relora_linear_release(linear: *mut relora_linear);
    pub fn relora_linear_set_weight(linear: *mut relora_linear, weight: *mut relora_tensor, bias: *mut relora_tensor) -> relora_status;
    pub fn relora_linear_wrap(out: *mut *mut relora_linear, device: *mut relora_device, weight: *mut relora_tensor, bias: *mut relora_tensor, options: *const relora_linear_options) -> relora_status;
    pub fn relora_linear_set_mode(linear: *mut relora_linear, stream: *mut relora_stream, mode: relora_linear_mode) -> relora_status;
    pub fn relora_linear_get_mode(linear: *const relora_linear) -> relora_linear_mode;
    pub fn relora_linear_param(linear: *mut relora_linear, param: relora_param) -> *mut relora_tensor;
    pub fn relora_linear_grad(linear: *mut relora_linear, param: relora_param) -> *mut relora_tensor;
    pub fn relora_linear_set_param(linear: *mut relora_linear, param: relora_param, tensor: *mut relora_tensor) -> relora_status;
    pub fn relora_linear_set_grad(linear: *mut relora_linear, param: relora_param, tensor: *mut relora_tensor) -> relora_status;
    pub fn relora_linear_forward(linear: *mut relora_linear, stream: *mut relora_stream, x: *const relora_tensor, y: *mut relora_tensor, call: u64, flags: u32) -> relora_status;
    pub fn relora_linear_backward(linear: *mut relora_linear, stream: *mut relora_stream, x: *const relora_tensor, dy: *const relora_tensor, dx: *mut relora_tensor, call: u64, flags: u32) -> relora_status;
    pub fn relora_linear_forward_at(linear: *mut relora_linear, stream: *mut relora_stream, rows: i64, x: *const c_void, ldx: i64, y: *mut c_void, ldy: i64, call: u64, flags: u32) -> relora_status;
    pub fn relora_linear_backward_at(linear: *mut relora_linear, stream: *mut relora_stream, rows: i64, x: *const c_void, ldx: i64, dy: *const c_void, lddy: i64, dx: *mut c_void, lddx: i64, call: u64, flags: u32) -> relora_status;
    pub fn relora_linear_forward_shared(linears: *const *mut relora_linear, count: i32, stream: *mut relora_stream, x: *const relora_tensor, y: *const *mut relora_tensor, call: u64, flags: u32) -> relora_status;
    pub fn relora_linear_backward_shared(linears: *const *mut relora_linear, count: i32, stream: *mut relora_stream, x: *const relora_tensor, dy: *const *mut relora_tensor, dx: *mut relora_tensor, call: u64, flags: u32) -> relora_status;
    pub fn relora_linear_weight_grad(linear: *mut relora_linear, stream: *mut relora_stream, x: *const relora_tensor, dy: *const relora_tensor, dw: *mut relora_tensor, flags: u32) -> relora_status;
    pub fn relora_linear_zero_grad(linear: *mut relora_linear, stream: *mut relora_stream) -> relora_status;
    pub fn relora_linear_merge(linear: *mut relora_linear, stream: *mut relora_stream, cycle: u64, report: *mut relora_merge_report) -> relora_status;
    pub fn relora_linear_full_rank_step(linear: *mut relora_linear, stream: *mut relora_stream, grad: *mut relora_tensor, lr: f64, step: u64, report: *mut relora_full_rank_report) -> relora_status;
    pub fn relora_linear_reset(linear: *mut relora_linear, stream: *mut relora_stream, cycle: u64) -> relora_status;
    pub fn relora_plan_report_init(report: *mut relora_plan_report, size: usize) -> relora_status;
    pub fn relora_linear_plan(linear: *const relora_linear, rows: i64, flags: u32, report: *mut relora_plan_report) -> relora_status;
    pub fn relora_linear_set_order(linear: *mut relora_linear, forward: relora_order, backward: relora_order) -> relora_status;
    pub fn relora_reset_report_init(report: *mut relora_reset_report, size: usize) -> relora_status;
    pub fn relora_reset_options_init(options: *mut relora_reset_options, size: usize) -> relora_status;
    pub fn relora_merge_options_init(options: *mut relora_merge_options, size: usize) -> relora_status;
    pub fn relora_merge(stream: *mut relora_stream, weight: *mut relora_tensor, a: *const relora_tensor, b: *const relora_tensor, options: *const relora_merge_options, report: *mut relora_merge_report) -> relora_status;
    pub fn relora_linear_set_target(linear: *mut relora_linear, weight: *mut relora_tensor, merge: relora_merge_fn, user: *mut c_void) -> relora_status;
    pub fn relora_full_rank_step(stream: *mut relora_stream, weight: *mut relora_tensor, grad: *mut relora_tensor, lr: f64, options: *const relora_merge_options, report: *mut relora_full_rank_report) -> relora_status;
    pub fn relora_factors_draw(stream: *mut relora_stream, a: *mut relora_tensor, b: *mut relora_tensor, seed: u64, layer: u64, cycle: u64) -> relora_status;
    pub fn relora_factors_options_init(options: *mut relora_factors_options, size: usize) -> relora_status;
    pub fn relora_factors_renew(stream: *mut relora_stream, a: *mut relora_tensor, b: *mut relora_tensor, gradient: *const relora_tensor, options: *const relora_factors_options, report: *mut relora_merge_report) -> relora_status;
    pub fn relora_moments_project(stream: *mut relora_stream, first: *mut relora_tensor, second: *mut relora_tensor, a_old: *const relora_tensor, a_new: *const relora_tensor, beta1: f64, beta2: f64, steps: i64) -> relora_status;
    pub fn relora_moments_reset(stream: *mut relora_stream, first: *mut relora_tensor, second: *mut relora_tensor, index: u64, options: *const relora_reset_options, report: *mut relora_reset_report) -> relora_status;
    pub fn relora_schedule_options_init(options: *mut relora_schedule_options, size: usize) -> relora_status;
    pub fn relora_schedule_create(out: *mut *mut relora_schedule, ctx: *mut relora_context, options: *const relora_schedule_options) -> relora_status;
    pub fn relora_schedule_release(schedule: *mut relora_schedule);
    pub fn relora_schedule_lr(schedule: *const relora_schedule, step: i64, lr: *mut f64) -> relora_status;
    pub fn relora_schedule_next_restart(schedule: *const relora_schedule, step: i64, next: *mut i64) -> relora_status;
    pub fn relora_state_create(out: *mut *mut relora_state, ctx: *mut relora_context) -> relora_status;
    pub fn relora_state_release(state: *mut relora_state);
    pub fn relora_state_add_tensor(state: *mut relora_state, name: *const c_char, tensor: *mut relora_tensor) -> relora_status;
    pub fn relora_state_add_linear(state: *mut relora_state, prefix: *const c_char, linear: *mut relora_linear) -> relora_status;
    pub fn relora_state_add_group(state: *mut relora_state, group: *const relora_group) -> relora_status;
    pub fn relora_state_add_adam(state: *mut relora_state, prefix: *const c_char, adam: *mut relora_adam) -> relora_status;
    pub fn relora_state_add_schedule(state: *mut relora_state, prefix: *const c_char, schedule: *const relora_schedule) -> relora_status;
    pub fn relora_state_add_cycle(state: *mut relora_state, prefix: *const c_char, cycle: *const relora_cycle) -> relora_status;
    pub fn relora_state_add_bytes(state: *mut relora_state, name: *const c_char, data: *mut c_void, bytes: usize) -> relora_status;
    pub fn relora_state_set(state: *mut relora_state, key: *const c_char, value: *const c_char) -> relora_status;
    pub fn relora_state_save(state: *mut relora_state, stream: *mut relora_stream, path: *const c_char, flags: u32) -> relora_status;
    pub fn relora_state_load(state: *mut relora_state, stream: *mut relora_stream, reader: *mut relora_reader) -> relora_status;
    pub fn relora_state_set_export_layout(state: *mut relora_state, layout: relora_layout) -> relora_status;
    pub fn relora_state_export_merged(state: *mut relora_state, stream: *mut relora_stream, path: *const c_char) -> relora_status;
    pub fn relora_state_export_adapter(state: *mut relora_state, stream: *mut relora_stream, folder: *const c_char, base_model: *const c_char) -> relora_status;
    pub fn relora_state_export_delta(state: *mut relora_state, stream: *mut relora_stream, path: *const c_char) -> relora_status;
    pub fn relora_status_name(status: relora_status) -> *const c_char;
    pub fn relora_status_text(status: relora_status) -> *const c_char;
    pub fn relora_context_error(ctx: *const relora_context, buffer: *mut c_char, capacity: usize, length: *mut usize) -> relora_status;
    pub fn relora_stream_create(out: *mut *mut relora_stream, device: *mut relora_device) -> relora_status;
    pub fn relora_stream_wrap(out: *mut *mut relora_stream, device: *mut relora_device, native: *mut c_void) -> relora_status;
    pub fn relora_stream_native(stream: *const relora_stream) -> *mut c_void;
    pub fn relora_stream_wait(stream: *mut relora_stream, other: *mut relora_stream) -> relora_status;
    pub fn relora_stream_synchronize(stream: *mut relora_stream) -> relora_status;
    pub fn relora_stream_error(stream: *const relora_stream, buffer: *mut c_char, capacity: usize, length: *mut usize) -> relora_status;
    pub fn relora_stream_release(stream: *mut relora_stream);
    pub fn relora_tensor_create(out: *mut *mut relora_tensor, device: *mut relora_device, dtype: relora_dtype, ndim: i32, shape: *const i64) -> relora_status;
    pub fn relora_tensor_borrow(out: *mut *mut relora_tensor, device: *mut relora_device, dtype: relora_dtype, ndim: i32, shape: *const i64, strides: *const i64, data: *mut c_void, deleter: relora_deleter_fn, user: *mut c_void) -> relora_status;
    pub fn relora_tensor_borrow_matrix(out: *mut *mut relora_tensor, device: *mut relora_device, dtype: relora_dtype, rows: i64, cols: i64, data: *mut c_void) -> relora_status;
    pub fn relora_tensor_set_data(tensor: *mut relora_tensor, data: *mut c_void) -> relora_status;
    pub fn relora_tensor_set_data_owned(tensor: *mut relora_tensor, data: *mut c_void, deleter: relora_deleter_fn, user: *mut c_void) -> relora_status;
    pub fn relora_tensor_retain(tensor: *mut relora_tensor);
    pub fn relora_tensor_release(tensor: *mut relora_tensor);
    pub fn relora_tensor_dtype(tensor: *const relora_tensor) -> relora_dtype;
    pub fn relora_tensor_ndim(tensor: *const relora_tensor) -> i32;
    pub fn relora_tensor_dim(tensor: *const relora_tensor, axis: i32) -> i64;
    pub fn relora_tensor_stride(tensor: *const relora_tensor, axis: i32) -> i64;
    pub fn relora_tensor_count(tensor: *const relora_tensor) -> i64;
    pub fn relora_tensor_data(tensor: *const relora_tensor) -> *mut c_void;
    pub fn relora_tensor_device(tensor: *const relora_tensor) -> *mut relora_device;
    pub fn relora_tensor_write(tensor: *mut relora_tensor, stream: *mut relora_stream, source: *const c_void, bytes: usize) -> relora_status;
    pub fn relora_tensor_read(tensor: *const relora_tensor, stream: *mut relora_stream, target: *mut c_void, bytes: usize) -> relora_status;
    pub fn relora_tensor_copy(target: *mut relora_tensor, source: *const relora_tensor, stream: *mut relora_stream) -> relora_status;
    pub fn relora_tensor_fill(tensor: *mut relora_tensor, stream: *mut relora_stream, value: f64) -> relora_status;
    pub fn relora_version() -> u32;
    pub fn relora_version_string() -> *const c_char;
    pub fn relora_build_info() -> *const c_char;
}

#[cfg(all(test, target_pointer_width = "64"))]
mod layout {
    use super::*;
    use std::mem::{size_of, MaybeUninit};
    use std::ptr::addr_of;

    macro_rules! field {
        ($of:ident, $name:ident, $at:expr) => {{
            let s = MaybeUninit::<$of>::uninit();
            let p = s.as_ptr();
            // SAFETY: only addresses are taken; nothing is read.
            let at = unsafe { addr_of!((*p).$name) as usize } - p as usize;
            assert_eq!(at, $at, "{}.{}", stringify!($of), stringify!($name));
        }};
    }

    #[test]
    fn adam_options() {
        assert_eq!(size_of::<super::relora_adam_options>(), 72);
        field!(relora_adam_options, struct_size, 0);
        field!(relora_adam_options, flags, 4);
        field!(relora_adam_options, beta1, 8);
        field!(relora_adam_options, beta2, 16);
        field!(relora_adam_options, eps, 24);
        field!(relora_adam_options, weight_decay, 32);
        field!(relora_adam_options, max_norm, 40);
        field!(relora_adam_options, seed, 48);
        field!(relora_adam_options, rounding, 56);
        field!(relora_adam_options, reserved, 60);
        field!(relora_adam_options, comm, 64);
    }

    #[test]
    fn step_report() {
        assert_eq!(size_of::<super::relora_step_report>(), 24);
        field!(relora_step_report, struct_size, 0);
        field!(relora_step_report, skipped, 4);
        field!(relora_step_report, grad_norm, 8);
        field!(relora_step_report, clip_factor, 16);
    }

    #[test]
    fn read_report() {
        assert_eq!(size_of::<super::relora_read_report>(), 16);
        field!(relora_read_report, struct_size, 0);
        field!(relora_read_report, read, 4);
        field!(relora_read_report, missing, 8);
        field!(relora_read_report, left_over, 12);
    }

    #[test]
    fn comm() {
        assert_eq!(size_of::<super::relora_comm>(), 56);
        field!(relora_comm, struct_size, 0);
        field!(relora_comm, rank, 4);
        field!(relora_comm, size, 8);
        field!(relora_comm, memory, 12);
        field!(relora_comm, sum, 16);
        field!(relora_comm, reduce_scatter, 24);
        field!(relora_comm, all_gather, 32);
        field!(relora_comm, error, 40);
        field!(relora_comm, user, 48);
    }

    #[test]
    fn context_options() {
        assert_eq!(size_of::<super::relora_context_options>(), 80);
        field!(relora_context_options, struct_size, 0);
        field!(relora_context_options, flags, 4);
        field!(relora_context_options, threads, 8);
        field!(relora_context_options, log_level, 12);
        field!(relora_context_options, host_alloc, 16);
        field!(relora_context_options, host_free, 24);
        field!(relora_context_options, host_user, 32);
        field!(relora_context_options, log, 40);
        field!(relora_context_options, log_user, 48);
        field!(relora_context_options, module_dir, 56);
        field!(relora_context_options, on_destroy, 64);
        field!(relora_context_options, destroy_user, 72);
    }

    #[test]
    fn cycle_options() {
        assert_eq!(size_of::<super::relora_cycle_options>(), 80);
        field!(relora_cycle_options, struct_size, 0);
        field!(relora_cycle_options, flags, 4);
        field!(relora_cycle_options, first_step, 8);
        field!(relora_cycle_options, merge_every, 16);
        field!(relora_cycle_options, reset_every, 24);
        field!(relora_cycle_options, before, 32);
        field!(relora_cycle_options, after, 40);
        field!(relora_cycle_options, hook_user, 48);
        field!(relora_cycle_options, period_growth, 56);
        field!(relora_cycle_options, stagger, 64);
        field!(relora_cycle_options, comm, 72);
    }

    #[test]
    fn linear_options() {
        assert_eq!(size_of::<super::relora_linear_options>(), 88);
        field!(relora_linear_options, struct_size, 0);
        field!(relora_linear_options, flags, 4);
        field!(relora_linear_options, mode, 8);
        field!(relora_linear_options, dtype, 12);
        field!(relora_linear_options, in_features, 16);
        field!(relora_linear_options, out_features, 24);
        field!(relora_linear_options, rank, 32);
        field!(relora_linear_options, alpha, 40);
        field!(relora_linear_options, dropout, 48);
        field!(relora_linear_options, seed, 56);
        field!(relora_linear_options, layer, 64);
        field!(relora_linear_options, rounding, 72);
        field!(relora_linear_options, reserved, 76);
        field!(relora_linear_options, init, 80);
        field!(relora_linear_options, reserved2, 84);
    }

    #[test]
    fn merge_report() {
        assert_eq!(size_of::<super::relora_merge_report>(), 48);
        field!(relora_merge_report, struct_size, 0);
        field!(relora_merge_report, layers, 4);
        field!(relora_merge_report, delta_norm, 8);
        field!(relora_merge_report, weight_norm, 16);
        field!(relora_merge_report, overlap, 24);
        field!(relora_merge_report, gradient_before, 32);
        field!(relora_merge_report, gradient_after, 40);
    }

    #[test]
    fn full_rank_report() {
        assert_eq!(size_of::<super::relora_full_rank_report>(), 40);
        field!(relora_full_rank_report, struct_size, 0);
        field!(relora_full_rank_report, reserved, 4);
        field!(relora_full_rank_report, delta_norm, 8);
        field!(relora_full_rank_report, weight_norm, 16);
        field!(relora_full_rank_report, grad_norm, 24);
        field!(relora_full_rank_report, grad_rank, 32);
    }

    #[test]
    fn plan_report() {
        assert_eq!(size_of::<super::relora_plan_report>(), 80);
        field!(relora_plan_report, struct_size, 0);
        field!(relora_plan_report, forward, 4);
        field!(relora_plan_report, backward, 8);
        field!(relora_plan_report, reserved, 12);
        field!(relora_plan_report, forward_flops, 16);
        field!(relora_plan_report, backward_flops, 24);
        field!(relora_plan_report, forward_bytes, 32);
        field!(relora_plan_report, backward_bytes, 40);
        field!(relora_plan_report, forward_provider, 48);
        field!(relora_plan_report, backward_provider, 52);
        field!(relora_plan_report, forward_isa, 56);
        field!(relora_plan_report, backward_isa, 60);
        field!(relora_plan_report, forward_converts, 64);
        field!(relora_plan_report, backward_converts, 68);
        field!(relora_plan_report, product_bytes, 72);
    }

    #[test]
    fn reset_options() {
        assert_eq!(size_of::<super::relora_reset_options>(), 40);
        field!(relora_reset_options, struct_size, 0);
        field!(relora_reset_options, flags, 4);
        field!(relora_reset_options, mode, 8);
        field!(relora_reset_options, reserved, 12);
        field!(relora_reset_options, ratio, 16);
        field!(relora_reset_options, seed, 24);
        field!(relora_reset_options, cycle, 32);
    }

    #[test]
    fn reset_report() {
        assert_eq!(size_of::<super::relora_reset_report>(), 40);
        field!(relora_reset_report, struct_size, 0);
        field!(relora_reset_report, params, 4);
        field!(relora_reset_report, elements, 8);
        field!(relora_reset_report, zeroed_first, 16);
        field!(relora_reset_report, zeroed_second, 24);
        field!(relora_reset_report, unpaired, 32);
    }

    #[test]
    fn merge_options() {
        assert_eq!(size_of::<super::relora_merge_options>(), 48);
        field!(relora_merge_options, struct_size, 0);
        field!(relora_merge_options, flags, 4);
        field!(relora_merge_options, scale, 8);
        field!(relora_merge_options, seed, 16);
        field!(relora_merge_options, layer, 24);
        field!(relora_merge_options, cycle, 32);
        field!(relora_merge_options, rounding, 40);
        field!(relora_merge_options, reserved, 44);
    }

    #[test]
    fn factors_options() {
        assert_eq!(size_of::<super::relora_factors_options>(), 32);
        field!(relora_factors_options, struct_size, 0);
        field!(relora_factors_options, init, 4);
        field!(relora_factors_options, seed, 8);
        field!(relora_factors_options, layer, 16);
        field!(relora_factors_options, cycle, 24);
    }

    #[test]
    fn schedule_options() {
        assert_eq!(size_of::<super::relora_schedule_options>(), 80);
        field!(relora_schedule_options, struct_size, 0);
        field!(relora_schedule_options, kind, 4);
        field!(relora_schedule_options, lr, 8);
        field!(relora_schedule_options, min_lr_ratio, 16);
        field!(relora_schedule_options, first_step, 24);
        field!(relora_schedule_options, total_steps, 32);
        field!(relora_schedule_options, warmup_steps, 40);
        field!(relora_schedule_options, restart_warmup_steps, 48);
        field!(relora_schedule_options, restart_every, 56);
        field!(relora_schedule_options, adjust_step, 64);
        field!(relora_schedule_options, period_growth, 72);
    }
}
