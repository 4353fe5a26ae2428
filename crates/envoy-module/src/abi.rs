//! Envoy's dynamic-module interface for HTTP filters, declared by hand.
//!
//! This is the only file with `unsafe` in it. Above it everything is safe: a
//! [`Stream`] lives as long as one hook, and what it lends (headers, the
//! route's configuration) can't be held across a call that changes the
//! stream.
//!
//! The declarations follow `source/extensions/dynamic_modules/abi/abi.h` of
//! Envoy 1.38 to 1.40, whose functions, structs and enums are never changed
//! once they are released. Envoy's functions are looked up when the module is
//! loaded: a function that this Envoy lacks would otherwise end the process
//! at its first call.
//!
//! | type in abi.h | size | here |
//! | --- | ---: | --- |
//! | `envoy_dynamic_module_type_envoy_buffer`, `…_module_buffer` | 16 | [`Buffer`] |
//! | `envoy_dynamic_module_type_envoy_http_header`, `…_module_http_header` | 32 | [`Header`] |
//! | every enum | 4 | `u32` |

#![allow(unsafe_code)]

use std::{
    cell::{Cell, OnceCell},
    ffi::{CStr, c_char, c_void},
    marker::PhantomData,
    mem::{offset_of, size_of},
    ptr::{self, NonNull},
    rc::Rc,
    slice,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use libloading::os::unix::Library;
use smallvec::SmallVec;

use crate::{
    filter::{Filter, FilterConfig, Outcome, RouteConfig},
    guard::guarded,
    log,
};

/// Text or bytes in somebody's memory.
#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    pointer: *const u8,
    length: usize,
}

/// A header field in somebody's memory.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    key: Buffer,
    value: Buffer,
}

const _: () = assert!(size_of::<Buffer>() == 16 && offset_of!(Buffer, length) == 8);
const _: () = assert!(size_of::<Header>() == 32 && offset_of!(Header, value) == 16);

/// `envoy_dynamic_module_type_http_header_type_RequestHeader`.
const REQUEST_HEADER: u32 = 0;

/// `envoy_dynamic_module_type_on_http_filter_…_status_Continue` of every kind.
const CONTINUE: u32 = 0;

/// `envoy_dynamic_module_type_on_http_filter_request_headers_status_…`.
mod headers_status {
    pub(super) const STOP_ITERATION: u32 = 1;
    pub(super) const STOP_ALL_ITERATION_AND_WATERMARK: u32 = 4;
}

/// `envoy_dynamic_module_type_log_level`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// What 1.38 and 1.39 speak. The versions from 1.40 on take it with a warning.
const ABI_VERSION: &CStr = c"v0.1.0";

/// What 1.40 speaks. Envoy does not tell its version, but what it exports does.
const ABI_VERSION_1_40: &CStr = c"v0.2.0";

/// Declares the functions that Envoy exports, and how they are looked up.
macro_rules! callbacks {
    (
        required { $($name:ident($($argument:ty),*) $(-> $result:ty)?;)* }
        optional { $($newer:ident($($newer_argument:ty),*) $(-> $newer_result:ty)?;)* }
    ) => {
        /// Envoy's functions.
        struct Callbacks {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            $($newer: Option<unsafe extern "C" fn($($newer_argument),*) $(-> $newer_result)?>,)*
        }

        /// What every Envoy that is served has.
        const REQUIRED: &[&CStr] = &[$(symbol(concat!(
            "envoy_dynamic_module_callback_", stringify!($name), "\0"
        )),)*];

        impl Callbacks {
            /// Looks all of them up.
            fn resolve(envoy: &Library) -> Result<Self, libloading::Error> {
                // SAFETY: each name belongs to a function of the declared
                // type, in every Envoy that has it.
                unsafe {
                    Ok(Self {
                        $($name: *envoy.get(concat!(
                            "envoy_dynamic_module_callback_", stringify!($name), "\0"
                        ))?,)*
                        $($newer: envoy.get(concat!(
                            "envoy_dynamic_module_callback_", stringify!($newer), "\0"
                        )).ok().map(|found| *found),)*
                    })
                }
            }
        }
    };
}

callbacks! {
    required {
        log(u32, Buffer);
        log_enabled(u32) -> bool;
        is_validation_mode() -> bool;
        get_most_specific_route_config(*mut c_void) -> *const c_void;
        http_get_headers_size(*mut c_void, u32) -> usize;
        http_get_headers(*mut c_void, u32, *mut Header) -> bool;
        http_set_header(*mut c_void, u32, Buffer, Buffer) -> bool;
        http_send_response(*mut c_void, u32, *mut Header, usize, Buffer, Buffer);
        http_set_dynamic_metadata_string(*mut c_void, Buffer, Buffer, Buffer);
        http_set_dynamic_metadata_number(*mut c_void, Buffer, Buffer, f64);
        http_add_dynamic_metadata_list_string(*mut c_void, Buffer, Buffer, Buffer) -> bool;
        http_filter_scheduler_new(*mut c_void) -> *mut c_void;
        http_filter_scheduler_commit(*mut c_void, u64);
        http_filter_scheduler_delete(*mut c_void);
        http_filter_continue_decoding(*mut c_void);
    }
    optional {
        http_set_dynamic_metadata_struct(*mut c_void, Buffer, Buffer);
    }
}

/// Those of the Envoy that loaded this module; set once, before any other hook.
static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

const fn symbol(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => c"",
    }
}

impl Buffer {
    /// What Envoy takes for no value at all.
    const NOTHING: Self = Self { pointer: ptr::null(), length: 0 };

    fn of(bytes: &[u8]) -> Self {
        Self { pointer: bytes.as_ptr(), length: bytes.len() }
    }

    /// # Safety
    ///
    /// The memory must be readable and unchanged for `'a`.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.pointer.is_null() {
            return &[];
        }
        // SAFETY: the caller says so.
        unsafe { slice::from_raw_parts(self.pointer, self.length) }
    }
}

/// Room for the headers of one request after the other.
#[derive(Default)]
pub(crate) struct HeaderRoom(Vec<Header>);

/// The header fields of a request, in Envoy's memory.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'s>(&'s [Header]);

impl<'s> Fields<'s> {
    /// Each name and value.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'s [u8], &'s [u8])> {
        // SAFETY: names and values stay until a setter is called, which takes
        // the stream by `&mut`, or the hook ends, which outlives the stream.
        self.0.iter().map(|field| unsafe { (field.key.bytes(), field.value.bytes()) })
    }
}

/// A stream during one hook, on the worker thread that owns it.
pub(crate) struct Stream<'hook> {
    envoy: *mut c_void,
    callbacks: &'static Callbacks,
    held: &'hook Held,
    /// Worker threads share no streams.
    not_send: PhantomData<*mut ()>,
}

impl Stream<'_> {
    /// The fields of the request in Envoy's own memory, pseudo headers first.
    pub(crate) fn request_headers<'s>(&'s self, room: &'s mut HeaderRoom) -> Fields<'s> {
        // SAFETY: the stream's pointer is good during the hook.
        let count = unsafe { (self.callbacks.http_get_headers_size)(self.envoy, REQUEST_HEADER) };
        let empty = Header { key: Buffer::NOTHING, value: Buffer::NOTHING };
        room.0.clear();
        room.0.resize(count, empty);
        // SAFETY: as before, and the array has room for `count` fields.
        let is_read = unsafe {
            (self.callbacks.http_get_headers)(self.envoy, REQUEST_HEADER, room.0.as_mut_ptr())
        };
        Fields(if is_read { &room.0 } else { &[] })
    }

    /// The configuration of the most specific route that has one.
    pub(crate) fn route_config(&self) -> Option<&RouteConfig> {
        // SAFETY: the stream's pointer is good during the hook; what comes
        // back was made by `per_route_config_new`, and the stream's route
        // keeps it.
        unsafe {
            (self.callbacks.get_most_specific_route_config)(self.envoy)
                .cast::<RouteConfig>()
                .as_ref()
        }
    }

    /// Gives a request header this one value, which must not be empty.
    pub(crate) fn set_request_header(&mut self, name: &[u8], value: &[u8]) {
        self.request_header(name, Buffer::of(value));
    }

    /// Removes every request header of this name.
    pub(crate) fn remove_request_header(&mut self, name: &[u8]) {
        self.request_header(name, Buffer::NOTHING);
    }

    fn request_header(&mut self, name: &[u8], value: Buffer) {
        let set = self.callbacks.http_set_header;
        // SAFETY: the stream's pointer is good during the hook; Envoy copies
        // name and value.
        unsafe { set(self.envoy, REQUEST_HEADER, Buffer::of(name), value) };
    }

    /// Merges a serialized `google.protobuf.Struct` into the dynamic metadata
    /// of `namespace`. Only where [`takes_struct_metadata`].
    pub(crate) fn set_metadata(&mut self, namespace: &str, serialized: &[u8]) {
        let Some(set) = self.callbacks.http_set_dynamic_metadata_struct else { return };
        let namespace = Buffer::of(namespace.as_bytes());
        // SAFETY: as for headers.
        unsafe { set(self.envoy, namespace, Buffer::of(serialized)) };
    }

    /// Sets one string of the dynamic metadata.
    pub(crate) fn set_metadata_string(&mut self, namespace: &str, key: &str, value: &str) {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let set = self.callbacks.http_set_dynamic_metadata_string;
        // SAFETY: as for headers.
        unsafe { set(self.envoy, namespace, key, Buffer::of(value.as_bytes())) };
    }

    /// Sets one number of the dynamic metadata.
    pub(crate) fn set_metadata_number(&mut self, namespace: &str, key: &str, value: f64) {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let set = self.callbacks.http_set_dynamic_metadata_number;
        // SAFETY: as for headers.
        unsafe { set(self.envoy, namespace, key, value) };
    }

    /// Appends a string to a list of the dynamic metadata.
    pub(crate) fn add_metadata_string(&mut self, namespace: &str, key: &str, value: &str) {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let add = self.callbacks.http_add_dynamic_metadata_list_string;
        // SAFETY: as for headers.
        unsafe { add(self.envoy, namespace, key, Buffer::of(value.as_bytes())) };
    }

    /// Answers the client in the upstream's place, unless that was done.
    ///
    /// Envoy may call other hooks of this stream meanwhile, the last one
    /// included.
    pub(crate) fn respond<'r>(
        &mut self,
        status: u16,
        headers: impl Iterator<Item = (&'r [u8], &'r [u8])>,
        body: &[u8],
        details: &[u8],
    ) {
        if self.held.answered.replace(true) {
            return;
        }
        let field = |(key, value)| Header { key: Buffer::of(key), value: Buffer::of(value) };
        let mut headers: SmallVec<[Header; 8]> = headers.map(field).collect();
        let send = self.callbacks.http_send_response;
        let (count, body, details) = (headers.len(), Buffer::of(body), Buffer::of(details));
        // SAFETY: the stream's pointer is good during the hook; Envoy copies
        // what it is given.
        unsafe { send(self.envoy, status.into(), headers.as_mut_ptr(), count, body, details) };
    }

    /// Lets a request go on that was stopped.
    fn resume(&mut self) {
        if self.held.answered.get() {
            return;
        }
        // SAFETY: the stream's pointer is good during the hook.
        unsafe { (self.callbacks.http_filter_continue_decoding)(self.envoy) };
    }

    /// By which any thread can have the hook `scheduled` called, as long as
    /// the stream lives. The same one if this is called again.
    pub(crate) fn wake(&mut self) -> Arc<Wake> {
        let wake = self.held.wake.get_or_init(|| {
            // SAFETY: the stream's pointer is good during the hook.
            let scheduler = unsafe { (self.callbacks.http_filter_scheduler_new)(self.envoy) };
            let callbacks = self.callbacks;
            let scheduler = NonNull::new(scheduler);
            Arc::new(Wake(Mutex::new(scheduler.map(|pointer| Scheduler { pointer, callbacks }))))
        });
        Arc::clone(wake)
    }
}

/// Wakes a stream that was stopped.
pub(crate) struct Wake(Mutex<Option<Scheduler>>);

impl Wake {
    /// Has the hook `scheduled` called on the stream's worker; nothing happens
    /// if the stream is gone.
    pub(crate) fn wake(&self) {
        // The lock keeps the stream, and with it its worker's event loop, from
        // going away between the look and the call.
        let scheduler = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scheduler) = &*scheduler {
            scheduler.commit();
        }
    }

    /// From now on waking does nothing.
    fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Envoy's way back to a stream's worker.
struct Scheduler {
    pointer: NonNull<c_void>,
    callbacks: &'static Callbacks,
}

// SAFETY: Envoy lets any thread commit to and delete a scheduler.
unsafe impl Send for Scheduler {}

impl Scheduler {
    fn commit(&self) {
        // SAFETY: the pointer is good until it is deleted, and so is the event
        // loop that it posts to: `Held` deletes it while that runs.
        unsafe { (self.callbacks.http_filter_scheduler_commit)(self.pointer.as_ptr(), 0) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: deleted once, here.
        unsafe { (self.callbacks.http_filter_scheduler_delete)(self.pointer.as_ptr()) };
    }
}

/// What Envoy holds of one stream.
///
/// Counted, because Envoy may destroy a stream from within a call that a hook
/// of the same stream makes.
struct Held {
    filter: Filter,
    /// The configuration outlives its streams.
    config: NonNull<FilterConfig>,
    wake: OnceCell<Arc<Wake>>,
    /// Whether the client has been answered, by this filter or another.
    answered: Cell<bool>,
}

impl Held {
    /// # Safety
    ///
    /// `held` must come from [`http_filter_new`](envoy_dynamic_module_on_http_filter_new)
    /// and not be destroyed yet; this must be its thread.
    unsafe fn of(held: *const c_void) -> Rc<Self> {
        // SAFETY: the caller says so.
        unsafe {
            Rc::increment_strong_count(held.cast::<Self>());
            Rc::from_raw(held.cast::<Self>())
        }
    }

    fn config(&self) -> &FilterConfig {
        // SAFETY: Envoy destroys a configuration after the last of its streams.
        unsafe { self.config.as_ref() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(wake) = self.wake.get() {
            wake.release();
        }
    }
}

/// Writes one line to Envoy's log; nothing happens before the module is loaded.
pub(crate) fn log(level: LogLevel, line: &[u8]) {
    if let Some(callbacks) = CALLBACKS.get() {
        // SAFETY: Envoy copies the line; any thread may log.
        unsafe { (callbacks.log)(level as u32, Buffer::of(line)) };
    }
}

/// Whether Envoy's log shows lines of this level.
pub(crate) fn log_enabled(level: LogLevel) -> bool {
    // SAFETY: any thread may ask.
    CALLBACKS.get().is_some_and(|callbacks| unsafe { (callbacks.log_enabled)(level as u32) })
}

/// Whether this Envoy takes metadata as a whole, as 1.40 does.
pub(crate) fn takes_struct_metadata() -> bool {
    CALLBACKS.get().is_some_and(|callbacks| callbacks.http_set_dynamic_metadata_struct.is_some())
}

// ----------------------------------- hooks -----------------------------------

/// Looks up Envoy's functions. A null pointer refuses the module.
#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    guarded(
        || match load() {
            Ok(callbacks) => {
                // Another load of the same file finds it done.
                let _ = CALLBACKS.set(callbacks);
                log::start();
                if takes_struct_metadata() { ABI_VERSION_1_40 } else { ABI_VERSION }.as_ptr()
            }
            Err(missing) => {
                eprintln!("claimgate: {missing}");
                ptr::null()
            }
        },
        ptr::null,
        ptr::null(),
    )
}

/// Why this module can't work in this program.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    /// It is an older or much newer Envoy, or none at all.
    #[error("this Envoy lacks {}; Envoy 1.38 or later is needed", .0.join(", "))]
    Missing(Vec<String>),
    /// Found at first and then not, which no system does.
    #[error("cannot look up Envoy's functions: {0}")]
    Lookup(#[from] libloading::Error),
}

fn load() -> Result<Callbacks, LoadError> {
    let envoy = Library::this();
    let is_missing = |name: &&&CStr| {
        // SAFETY: it is looked for and not called.
        unsafe { envoy.get::<unsafe extern "C" fn()>(name.to_bytes_with_nul()) }.is_err()
    };
    let name = |name: &&CStr| name.to_string_lossy().into_owned();
    let missing: Vec<_> = REQUIRED.iter().filter(is_missing).map(name).collect();
    if !missing.is_empty() {
        return Err(LoadError::Missing(missing));
    }
    Ok(Callbacks::resolve(&envoy)?)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _config_envoy: *mut c_void,
    _name: Buffer,
    config: Buffer,
) -> *const c_void {
    let new = || {
        let callbacks = CALLBACKS.get()?;
        // SAFETY: this is the main thread.
        let validating = unsafe { (callbacks.is_validation_mode)() };
        // SAFETY: the text is Envoy's and stays during the hook.
        FilterConfig::new(unsafe { config.bytes() }, validating)
    };
    guarded(|| into_pointer(new()), ptr::null, ptr::null())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const c_void) {
    // SAFETY: made by `config_new`, and Envoy is done with it.
    guarded(|| unsafe { free::<FilterConfig>(config) }, || {}, ());
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    _name: Buffer,
    config: Buffer,
) -> *const c_void {
    // SAFETY: the text is Envoy's and stays during the hook.
    let new = || RouteConfig::new(unsafe { config.bytes() });
    guarded(|| into_pointer(new()), ptr::null, ptr::null())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
    config: *const c_void,
) {
    // SAFETY: made by `per_route_config_new`, and Envoy is done with it.
    guarded(|| unsafe { free::<RouteConfig>(config) }, || {}, ());
}

fn into_pointer<T>(value: Option<T>) -> *const c_void {
    value.map_or(ptr::null(), |value| Box::into_raw(Box::new(value)).cast_const().cast())
}

/// # Safety
///
/// `pointer` must come from [`into_pointer`] for the same type, or be null.
unsafe fn free<T>(pointer: *const c_void) {
    if !pointer.is_null() {
        // SAFETY: the caller says so.
        drop(unsafe { Box::from_raw(pointer.cast_mut().cast::<T>()) });
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const c_void,
    _envoy: *mut c_void,
) -> *const c_void {
    let new = || {
        let Some(config) = NonNull::new(config.cast_mut().cast::<FilterConfig>()) else {
            return ptr::null();
        };
        let (filter, wake) = (Filter::default(), OnceCell::new());
        let held = Held { filter, config, wake, answered: Cell::new(false) };
        Rc::into_raw(Rc::new(held)).cast()
    };
    guarded(new, ptr::null, ptr::null())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_destroy(held: *const c_void) {
    // SAFETY: made by `filter_new`; this gives back what Envoy held.
    guarded(|| unsafe { Rc::decrement_strong_count(held.cast::<Held>()) }, || {}, ());
}

/// Calls `hook` for a stream; a panic is answered with 500.
///
/// # Safety
///
/// The pointers must be those of a hook that Envoy calls.
unsafe fn with_stream(
    envoy: *mut c_void,
    held: *const c_void,
    hook: impl FnOnce(&Filter, &FilterConfig, &mut Stream<'_>) -> Outcome,
    carry_out: impl FnOnce(Outcome, &mut Stream<'_>) -> u32,
) -> u32 {
    let Some(callbacks) = CALLBACKS.get() else { return headers_status::STOP_ITERATION };
    // SAFETY: the caller says so.
    let held = unsafe { Held::of(held) };
    let stream = || Stream { envoy, callbacks, held: &held, not_send: PhantomData };
    guarded(
        || {
            let mut stream = stream();
            let outcome = hook(&held.filter, held.config(), &mut stream);
            carry_out(outcome, &mut stream)
        },
        || {
            held.filter.panicked(held.config(), &mut stream());
            headers_status::STOP_ITERATION
        },
        headers_status::STOP_ITERATION,
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: *mut c_void,
    held: *const c_void,
    _end_of_stream: bool,
) -> u32 {
    let carry_out = |outcome, _: &mut Stream<'_>| match outcome {
        Outcome::Continue => CONTINUE,
        Outcome::Wait => headers_status::STOP_ALL_ITERATION_AND_WATERMARK,
        Outcome::Answered => headers_status::STOP_ITERATION,
    };
    // SAFETY: Envoy calls this.
    unsafe { with_stream(envoy, held, Filter::request_headers, carry_out) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    envoy: *mut c_void,
    held: *const c_void,
    _event: u64,
) {
    let carry_out = |outcome, stream: &mut Stream<'_>| {
        if outcome == Outcome::Continue {
            stream.resume();
        }
        CONTINUE
    };
    // SAFETY: Envoy calls this.
    unsafe { with_stream(envoy, held, Filter::scheduled, carry_out) };
}

/// Somebody answers the client, perhaps another filter while a check waits.
#[unsafe(no_mangle)]
unsafe extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _envoy: *mut c_void,
    held: *const c_void,
    _status: u32,
    _details: Buffer,
    _reset_imminent: bool,
) -> u32 {
    // SAFETY: Envoy calls this.
    guarded(|| unsafe { Held::of(held) }.answered.set(true), || {}, ());
    CONTINUE
}

/// Hooks that Envoy wants to find and that have nothing to do here.
macro_rules! idle_hooks {
    ($($name:ident($($argument:ty),*) $(-> $result:literal)?;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) $(-> idle_hooks!(@u32 $result))? {
            $($result)?
        }
    )*};
    (@u32 $result:literal) => { u32 };
}

idle_hooks! {
    envoy_dynamic_module_on_http_filter_request_body(*mut c_void, *const c_void, bool) -> 0;
    envoy_dynamic_module_on_http_filter_request_trailers(*mut c_void, *const c_void) -> 0;
    envoy_dynamic_module_on_http_filter_response_headers(*mut c_void, *const c_void, bool) -> 0;
    envoy_dynamic_module_on_http_filter_response_body(*mut c_void, *const c_void, bool) -> 0;
    envoy_dynamic_module_on_http_filter_response_trailers(*mut c_void, *const c_void) -> 0;
    envoy_dynamic_module_on_http_filter_stream_complete(*mut c_void, *const c_void);
    envoy_dynamic_module_on_http_filter_http_callout_done(
        *mut c_void, *const c_void, u64, u32, *mut c_void, usize, *mut c_void, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_headers(
        *mut c_void, *const c_void, u64, *mut c_void, usize, bool
    );
    envoy_dynamic_module_on_http_filter_http_stream_data(
        *mut c_void, *const c_void, u64, *const c_void, usize, bool
    );
    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        *mut c_void, *const c_void, u64, *mut c_void, usize
    );
    envoy_dynamic_module_on_http_filter_http_stream_complete(*mut c_void, *const c_void, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(*mut c_void, *const c_void, u64, u32);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
        *mut c_void, *const c_void
    );
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
        *mut c_void, *const c_void
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_envoys_functions_refuses_the_module_and_names_them() {
        let error = load().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("envoy_dynamic_module_callback_http_set_header"), "{error}");
        assert!(envoy_dynamic_module_on_program_init().is_null());
    }

    #[test]
    fn every_name_is_a_c_string() {
        assert!(REQUIRED.iter().all(|name| !name.is_empty()));
    }
}
