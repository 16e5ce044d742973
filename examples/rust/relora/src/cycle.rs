use crate::{
    sys, Adam, Context, CycleOptions, Group, Handle, Linear, MergeReport, ResetOptions, ResetReport, Result,
    ScheduleOptions, Stream,
};
use std::any::Any;
use std::mem::size_of;
use std::os::raw::c_void;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::{null, null_mut};

/// The learning rate as a pure function of the step.
#[derive(Debug)]
pub struct Schedule(pub(crate) Handle<sys::relora_schedule>);

impl Schedule {
    pub fn new(context: &Context, options: &ScheduleOptions) -> Result<Schedule> {
        let o = ScheduleOptions { struct_size: size_of::<ScheduleOptions>() as u32, ..*options };
        // SAFETY: the options are read during the call only.
        let make = |out: *mut *mut _| unsafe { sys::relora_schedule_create(out, context.get(), &o) };
        Ok(Schedule(Handle::new(context, sys::relora_schedule_release, make)?))
    }

    pub fn lr(&self, step: i64) -> Result<f64> {
        let mut lr = 0.0;
        // SAFETY: the schedule lives.
        self.0.context.check(unsafe { sys::relora_schedule_lr(self.0.get(), step, &mut lr) })?;
        Ok(lr)
    }

    /// Options of a cycle whose restarts are those of this schedule.
    pub fn cycle_options(&self) -> Result<CycleOptions> {
        let mut o = CycleOptions::default();
        // SAFETY: the schedule lives, and the options are ours.
        self.0.context.check(unsafe { sys::relora_cycle_options_follow(&mut o, self.0.get()) })?;
        Ok(o)
    }

    /// None if the curve begins no more cycle.
    pub fn next_restart(&self, step: i64) -> Result<Option<i64>> {
        let mut next = -1;
        // SAFETY: the schedule lives.
        self.0.context.check(unsafe { sys::relora_schedule_next_restart(self.0.get(), step, &mut next) })?;
        Ok(if next < 0 { None } else { Some(next) })
    }
}

type Hook = Box<dyn FnMut(i64, u32)>;

/// Called around the work of a restart, with the step and the events. A hook must not call into the layers and the
/// optimizer of its cycle, except to read their tensors.
#[derive(Default)]
pub struct Hooks {
    pub before: Option<Hook>,
    pub after: Option<Hook>,
}

/// What the library has a pointer to.
#[derive(Default)]
struct Called {
    hooks: Hooks,
    panic: Option<Box<dyn Any + Send>>,
}

fn call_hook(hook: &mut Option<Hook>, step: i64, events: u32) -> Option<Box<dyn Any + Send>> {
    let hook = hook.as_mut()?;
    catch_unwind(AssertUnwindSafe(|| hook(step, events))).err()
}

unsafe extern "C" fn call_before(user: *mut c_void, step: i64, events: u32) {
    let called = &mut *(user as *mut Called);
    called.panic = call_hook(&mut called.hooks.before, step, events).or_else(|| called.panic.take());
}

unsafe extern "C" fn call_after(user: *mut c_void, step: i64, events: u32) {
    let called = &mut *(user as *mut Called);
    called.panic = call_hook(&mut called.hooks.after, step, events).or_else(|| called.panic.take());
}

/// What [`Cycle::advance`] did.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    pub events: u32,
    pub merge: MergeReport,
    pub reset: ResetReport,
}

/// The ReLoRA restart: when to merge, when to reset, and doing both.
#[derive(Debug)]
pub struct Cycle {
    pub(crate) handle: Handle<sys::relora_cycle>,
    hooks: *mut Called, // of a Box; the library has a copy of this pointer
}

impl Cycle {
    /// Hooks in `options` are not looked at: they are given beside it. Nor is `comm`: exchanges between processes
    /// are for C.
    pub fn new(
        context: &Context,
        options: &CycleOptions,
        adam: Option<&Adam>,
        reset: Option<&ResetOptions>,
        hooks: Hooks,
    ) -> Result<Cycle> {
        let hooks = Box::into_raw(Box::new(Called { hooks, panic: None }));
        let o = CycleOptions {
            struct_size: size_of::<CycleOptions>() as u32,
            before: Some(call_before),
            after: Some(call_after),
            hook_user: hooks as *mut c_void,
            comm: null(),
            ..*options
        };
        let reset = reset.map(|r| ResetOptions { struct_size: size_of::<ResetOptions>() as u32, ..*r });
        let adam = adam.map_or(null_mut(), |a| a.get());
        let reset = reset.as_ref().map_or(null(), |r| r as *const _);
        // SAFETY: options are read during the call, and the hooks live as long as the cycle.
        let make =
            |out: *mut *mut _| unsafe { sys::relora_cycle_create(out, context.get(), &o, adam, reset) };
        match Handle::new(context, sys::relora_cycle_release, make) {
            Ok(handle) => Ok(Cycle { handle, hooks }),
            Err(e) => {
                // SAFETY: there is no cycle that knows the pointer.
                drop(unsafe { Box::from_raw(hooks) });
                Err(e)
            }
        }
    }

    pub fn add(&mut self, linear: &Linear) -> Result<()> {
        // SAFETY: the layer is retained.
        self.handle.context.check(unsafe { sys::relora_cycle_add(self.handle.get(), linear.get()) })
    }

    /// Add every layer of a group that can be restarted.
    pub fn add_group(&mut self, group: &Group) -> Result<()> {
        // SAFETY: the layers are retained.
        self.handle.context.check(unsafe { sys::relora_cycle_add_group(self.handle.get(), group.get()) })
    }

    /// Which events follow the update that makes `step` of them.
    pub fn due(&self, step: i64) -> Result<u32> {
        let mut events = 0;
        // SAFETY: the cycle lives.
        self.handle.context.check(unsafe { sys::relora_cycle_due(self.handle.get(), step, &mut events) })?;
        Ok(events)
    }

    /// Do what is due after `step` updates. A panic of a hook comes out here, when the work is done.
    pub fn advance(&mut self, stream: &Stream, step: i64) -> Result<Restart> {
        let mut r = Restart { events: 0, merge: MergeReport::default(), reset: ResetReport::default() };
        let (events, merge, reset) = (&mut r.events, &mut r.merge, &mut r.reset);
        // SAFETY: the cycle and what it holds live; nobody else can reach the hooks meanwhile.
        let status =
            unsafe { sys::relora_cycle_advance(self.handle.get(), stream.get(), step, events, merge, reset) };
        self.resume();
        stream.check(status)?;
        Ok(r)
    }

    pub fn finish(&mut self, stream: &Stream, step: i64) -> Result<MergeReport> {
        let mut report = MergeReport::default();
        // SAFETY: as in advance().
        let status = unsafe { sys::relora_cycle_finish(self.handle.get(), stream.get(), step, &mut report) };
        self.resume();
        stream.check(status)?;
        Ok(report)
    }

    fn resume(&mut self) {
        // SAFETY: no call of the library is under way that could use it.
        let panic = unsafe { (*self.hooks).panic.take() };
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Cycle {
    fn drop(&mut self) {
        // SAFETY: hooks are called by advance() and finish() only. The handle goes after this, and calls none.
        drop(unsafe { Box::from_raw(self.hooks) });
    }
}
