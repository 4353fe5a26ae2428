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
//! | `envoy_dynamic_module_type_envoy_http_header`, `…_module_http_header`, `…_module_key_value_pair` | 32 | [`Header`] |
//! | every enum | 4 | `u32` |

#![allow(unsafe_code)]

use std::{
    cell::{Cell, OnceCell},
    ffi::{CStr, c_char, c_void},
    marker::PhantomData,
    mem::{ManuallyDrop, offset_of, size_of},
    ptr::{self, NonNull},
    rc::Rc,
    slice,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use claimgate_core::request::{Field, Marks};
use libloading::os::unix::Library;
use serde_json::json;
use smallvec::SmallVec;

use crate::guard::guarded;

/// What the module does in each hook. [`export_hooks`] has Envoy call it.
pub(crate) trait HttpFilter: Default {
    /// A filter in a listener's configuration, which all workers use.
    type Config: Send + Sync;

    /// The module is loaded, and Envoy's functions can be called.
    fn loaded();

    /// Reads `filter_config`; `None` refuses it. Where Envoy only validates,
    /// nothing may be started and nothing fetched.
    fn config(text: &[u8], is_validation: bool, envoy: &ConfigContext<'_>) -> Option<Self::Config>;

    /// The configuration was woken, on the main thread.
    fn config_scheduled(config: &Self::Config, envoy: &ConfigContext<'_>);

    /// Reads the `filter_config` of a route; `None` refuses it.
    fn route(text: &[u8]) -> Option<RouteConfig>;

    /// The request's headers are there.
    fn request_headers(&self, config: &Self::Config, stream: &mut Stream<'_>) -> Outcome;

    /// The stream was woken.
    fn scheduled(&self, config: &Self::Config, stream: &mut Stream<'_>) -> Outcome;

    /// A hook panicked, and the request must not pass.
    fn panicked(&self, config: &Self::Config, stream: &mut Stream<'_>);
}

/// The filter's configuration on a route.
#[derive(Debug, PartialEq)]
pub(crate) struct RouteConfig {
    /// The name of the Claimgate route whose rules apply.
    pub(crate) route: String,
}

/// What a hook has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request goes on.
    Continue,
    /// It waits for its decision.
    Wait,
    /// The client has its answer.
    Answered,
}

/// Text or bytes in memory that Envoy or the module owns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pointer: *const u8,
    length: usize,
}

/// A header field, or a key and its value, in memory that Envoy or the module
/// owns.
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

/// `envoy_dynamic_module_type_metadata_source_Dynamic`.
const DYNAMIC_METADATA: u32 = 0;

/// `envoy_dynamic_module_type_on_http_filter_…_status_Continue` of every kind.
const CONTINUE: u32 = 0;

/// `envoy_dynamic_module_type_on_http_filter_request_headers_status_…`.
mod headers_status {
    pub(super) const STOP_ITERATION: u32 = 1;
    pub(super) const STOP_ALL_ITERATION_AND_WATERMARK: u32 = 4;
}

/// `envoy_dynamic_module_type_metrics_result_Success`.
const METRICS_SUCCESS: u32 = 0;

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
        http_add_header(*mut c_void, u32, Buffer, Buffer) -> bool;
        http_send_response(*mut c_void, u32, *mut Header, usize, Buffer, Buffer);
        http_set_dynamic_metadata_string(*mut c_void, Buffer, Buffer, Buffer);
        http_set_dynamic_metadata_number(*mut c_void, Buffer, Buffer, f64);
        http_add_dynamic_metadata_list_string(*mut c_void, Buffer, Buffer, Buffer) -> bool;
        http_get_metadata_list_size(*mut c_void, u32, Buffer, Buffer, *mut usize) -> bool;
        http_filter_scheduler_new(*mut c_void) -> *mut c_void;
        http_filter_scheduler_commit(*mut c_void, u64);
        http_filter_scheduler_delete(*mut c_void);
        http_filter_continue_decoding(*mut c_void);
        http_filter_config_define_counter(
            *mut c_void, Buffer, *mut Buffer, usize, *mut usize
        ) -> u32;
        http_filter_config_define_gauge(
            *mut c_void, Buffer, *mut Buffer, usize, *mut usize
        ) -> u32;
        http_filter_config_scheduler_new(*mut c_void) -> *mut c_void;
        http_filter_config_scheduler_commit(*mut c_void, u64);
        http_filter_config_scheduler_delete(*mut c_void);
        http_filter_increment_counter(*mut c_void, usize, *mut Buffer, usize, u64) -> u32;
        http_filter_set_gauge(*mut c_void, usize, *mut Buffer, usize, u64) -> u32;
    }
    optional {
        http_filter_config_increment_counter(*mut c_void, usize, *mut Buffer, usize, u64) -> u32;
        http_filter_config_set_gauge(*mut c_void, usize, *mut Buffer, usize, u64) -> u32;
        http_set_dynamic_metadata_struct(*mut c_void, Buffer, Buffer);
        http_set_dynamic_metadata_string_batch(
            *mut c_void, Buffer, *const Header, usize
        ) -> bool;
        http_get_active_span(*mut c_void) -> *mut c_void;
        http_span_set_tag(*mut c_void, Buffer, Buffer);
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
pub(crate) struct Fields<'s>(Vec<Header>, PhantomData<&'s [u8]>);

/// A list of fields takes the room that Envoy filled.
const _: () = assert!(
    size_of::<Field<'_>>() == size_of::<Header>()
        && align_of::<Field<'_>>() == align_of::<Header>()
);

impl<'s> Fields<'s> {
    /// Each name and value, and the marks of the names; only the room if a name is
    /// not ASCII, as every header's is. All that needs the bytes of a name is done
    /// in this one pass over them, and the list takes the place of Envoy's.
    pub(crate) fn read(self) -> Result<(Vec<Field<'s>>, Marks), HeaderRoom> {
        let mut list = ManuallyDrop::new(self.0);
        let (room, length, capacity) = (list.as_mut_ptr(), list.len(), list.capacity());
        let (mut marks, mut are_ascii) = (Marks::default(), true);
        for at in 0..length {
            // SAFETY: the place is in the list, holds a header until it is replaced
            // by a field, and has the size of both. Names and values stay until a
            // setter is called, which takes the stream by `&mut`, or the hook ends,
            // which outlives the stream.
            unsafe {
                let place = room.add(at);
                let Header { key, value } = place.read();
                let name = ascii(key.bytes());
                are_ascii &= name.is_some();
                let name = name.unwrap_or_default();
                marks.add(name);
                place.cast::<Field<'s>>().write((name, value.bytes()));
            }
        }
        // SAFETY: every place holds a field now, and layouts are the same.
        let list = unsafe { Vec::from_raw_parts(room.cast::<Field<'s>>(), length, capacity) };
        if are_ascii { Ok((list, marks)) } else { Err(HeaderRoom::of(list)) }
    }
}

impl HeaderRoom {
    /// The room of a list that [`Fields::read`] made.
    pub(crate) fn of(list: Vec<Field<'_>>) -> Self {
        let mut list = ManuallyDrop::new(list);
        // SAFETY: a list of no headers can be where one of fields was: both have
        // the same layout, and fields need not be dropped.
        Self(unsafe { Vec::from_raw_parts(list.as_mut_ptr().cast::<Header>(), 0, list.capacity()) })
    }
}

/// As `str::from_utf8`, which takes four times as long for short text.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    ascii(bytes).or_else(|| str::from_utf8(bytes).ok())
}

#[inline]
fn ascii(bytes: &[u8]) -> Option<&str> {
    // SAFETY: ASCII is UTF-8.
    is_ascii(bytes).then(|| unsafe { str::from_utf8_unchecked(bytes) })
}

/// As the method of slices, for names: of up to 32 bytes two words are looked at,
/// which may overlap.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    if bytes.len() > 32 {
        return bytes.is_ascii();
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let both = u128::from_ne_bytes(*first) | u128::from_ne_bytes(*last);
        return both & u128::from_ne_bytes([0x80; 16]) == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let both = u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last);
        return both & 0x8080_8080_8080_8080 == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let both = u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last);
        return both & 0x8080_8080 == 0;
    }
    bytes.iter().all(u8::is_ascii)
}

#[cfg(test)]
impl<'s> Fields<'s> {
    /// These ones.
    pub(crate) fn of(fields: &[(&'s [u8], &'s [u8])], room: HeaderRoom) -> Self {
        let HeaderRoom(mut list) = room;
        let field = |(key, value): &(&[u8], &[u8])| Header {
            key: Buffer::of(key),
            value: Buffer::of(value),
        };
        list.extend(fields.iter().map(field));
        Self(list, PhantomData)
    }
}

/// A stream during one hook, on the worker thread that owns it.
pub(crate) struct Stream<'hook> {
    envoy: *mut c_void,
    callbacks: &'static Callbacks,
    state: &'hook StreamState,
    /// Worker threads share no streams.
    not_send: PhantomData<*mut ()>,
}

impl Stream<'_> {
    /// The fields of the request in Envoy's own memory, pseudo headers first.
    pub(crate) fn request_headers(&self, room: HeaderRoom) -> Fields<'_> {
        let HeaderRoom(mut fields) = room;
        // SAFETY: the stream's pointer is good during the hook.
        let count = unsafe { (self.callbacks.http_get_headers_size)(self.envoy, REQUEST_HEADER) };
        fields.reserve(count);
        // SAFETY: as before; there is room for `count` fields, and Envoy fills it.
        unsafe {
            let list = fields.as_mut_ptr();
            if (self.callbacks.http_get_headers)(self.envoy, REQUEST_HEADER, list) {
                fields.set_len(count);
            }
        }
        Fields(fields, PhantomData)
    }

    /// The configuration of the most specific route that has one. Envoy is not
    /// asked, which takes 28 ns, while there is none in the whole process.
    pub(crate) fn route_config(&self) -> Option<&RouteConfig> {
        if ROUTE_CONFIGS.load(Relaxed) == 0 {
            return None;
        }
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

    /// As [`Self::set_request_header`], for a header that the request does not
    /// have: Envoy then does not look for it, for which it would first put all
    /// headers into a map.
    pub(crate) fn add_request_header(&mut self, name: &[u8], value: &[u8]) {
        let add = self.callbacks.http_add_header;
        // SAFETY: the stream's pointer is good during the hook; Envoy copies
        // name and value.
        unsafe { add(self.envoy, REQUEST_HEADER, Buffer::of(name), Buffer::of(value)) };
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

    /// Sets strings of the dynamic metadata.
    pub(crate) fn set_metadata_strings<'m>(
        &mut self,
        namespace: &str,
        members: impl Iterator<Item = (&'m str, &'m [u8])>,
    ) {
        let namespace = Buffer::of(namespace.as_bytes());
        let member = |(key, value): (&str, _)| Header {
            key: Buffer::of(key.as_bytes()),
            value: Buffer::of(value),
        };
        let members: SmallVec<[Header; 5]> = members.map(member).collect();
        if members.is_empty() {
            return;
        }
        match self.callbacks.http_set_dynamic_metadata_string_batch {
            // SAFETY: as for headers.
            Some(set) => {
                unsafe { set(self.envoy, namespace, members.as_ptr(), members.len()) };
            }
            None => {
                let set = self.callbacks.http_set_dynamic_metadata_string;
                for Header { key, value } in members {
                    // SAFETY: as for headers.
                    unsafe { set(self.envoy, namespace, key, value) };
                }
            }
        }
    }

    /// Sets one number of the dynamic metadata.
    pub(crate) fn set_metadata_number(&mut self, namespace: &str, key: &str, value: f64) {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let set = self.callbacks.http_set_dynamic_metadata_number;
        // SAFETY: as for headers.
        unsafe { set(self.envoy, namespace, key, value) };
    }

    /// Appends a string to a list of the dynamic metadata; false if what is there
    /// is not a list.
    pub(crate) fn add_metadata_string(&mut self, namespace: &str, key: &str, value: &[u8]) -> bool {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let add = self.callbacks.http_add_dynamic_metadata_list_string;
        // SAFETY: as for headers.
        unsafe { add(self.envoy, namespace, key, Buffer::of(value)) }
    }

    /// Whether there is a list of this name in the dynamic metadata.
    pub(crate) fn has_metadata_list(&self, namespace: &str, key: &str) -> bool {
        let (namespace, key) = (Buffer::of(namespace.as_bytes()), Buffer::of(key.as_bytes()));
        let mut length = 0;
        let find = self.callbacks.http_get_metadata_list_size;
        // SAFETY: the stream's pointer is good during the hook.
        unsafe { find(self.envoy, DYNAMIC_METADATA, namespace, key, &raw mut length) }
    }

    /// Sets tags of the request's span, if Envoy makes one.
    pub(crate) fn tag_span(&mut self, tags: [(&str, &str); 2]) {
        let Some(active) = self.callbacks.http_get_active_span else { return };
        let Some(set) = self.callbacks.http_span_set_tag else { return };
        // SAFETY: the stream's pointer is good during the hook.
        let span = unsafe { active(self.envoy) };
        if span.is_null() {
            return;
        }
        for (name, value) in tags {
            // SAFETY: the span is good during the hook; Envoy copies the texts.
            unsafe { set(span, Buffer::of(name.as_bytes()), Buffer::of(value.as_bytes())) };
        }
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
        if self.state.answered.replace(true) {
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
        if self.state.answered.get() {
            return;
        }
        // SAFETY: the stream's pointer is good during the hook.
        unsafe { (self.callbacks.http_filter_continue_decoding)(self.envoy) };
    }

    /// By which any thread can have the hook `scheduled` called, as long as
    /// the stream lives. The same one if this is called again.
    pub(crate) fn wake(&mut self) -> Arc<Wake> {
        let wake = self.state.wake.get_or_init(|| {
            // SAFETY: the stream's pointer is good during the hook.
            let scheduler = unsafe { (self.callbacks.http_filter_scheduler_new)(self.envoy) };
            let commit = self.callbacks.http_filter_scheduler_commit;
            let delete = self.callbacks.http_filter_scheduler_delete;
            Wake::of(scheduler, commit, delete)
        });
        Arc::clone(wake)
    }
}

/// Wakes a stream or a configuration from any thread.
pub(crate) struct Wake(Mutex<Option<Scheduler>>);

impl Wake {
    fn of(
        scheduler: *mut c_void,
        commit: unsafe extern "C" fn(*mut c_void, u64),
        delete: unsafe extern "C" fn(*mut c_void),
    ) -> Arc<Self> {
        let scheduler = NonNull::new(scheduler);
        let scheduler = scheduler.map(|pointer| Scheduler { pointer, commit, delete });
        Arc::new(Self(Mutex::new(scheduler)))
    }

    /// Has the hook called on the thread that it belongs to; nothing happens
    /// if what it belongs to is gone.
    pub(crate) fn wake(&self) {
        // The lock keeps that, and with it the thread's event loop, from going
        // away between the look and the call.
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

/// Envoy's way back to a thread of its own.
struct Scheduler {
    pointer: NonNull<c_void>,
    commit: unsafe extern "C" fn(*mut c_void, u64),
    delete: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: Envoy lets any thread commit to and delete a scheduler.
unsafe impl Send for Scheduler {}

impl Scheduler {
    fn commit(&self) {
        // SAFETY: the pointer is good until it is deleted, and so is the event
        // loop that it posts to: the owner deletes it while that runs.
        unsafe { (self.commit)(self.pointer.as_ptr(), 0) };
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: deleted once, here.
        unsafe { (self.delete)(self.pointer.as_ptr()) };
    }
}

/// A number in Envoy's statistics, as it was defined by one configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatId(usize);

#[cfg(test)]
impl StatId {
    /// That of this number.
    pub(crate) fn of(number: usize) -> Self {
        Self(number)
    }

    /// Its number.
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

/// Where the numbers of Envoy's statistics can be changed.
pub(crate) trait Statistics {
    /// Adds to a counter.
    fn add(&self, counter: StatId, labels: &[&str], count: u64);

    /// Sets a gauge.
    fn set(&self, gauge: StatId, labels: &[&str], value: u64);
}

/// The filter's configuration during one hook, on the main thread.
pub(crate) struct ConfigContext<'hook> {
    envoy: *mut c_void,
    callbacks: &'static Callbacks,
    wake: &'hook OnceLock<Arc<Wake>>,
}

impl ConfigContext<'_> {
    /// Defines a counter, which is possible while the configuration is made.
    pub(crate) fn define_counter(&self, name: &str, labels: &[&str]) -> Option<StatId> {
        self.define(self.callbacks.http_filter_config_define_counter, name, labels)
    }

    /// Defines a gauge, which is possible while the configuration is made.
    pub(crate) fn define_gauge(&self, name: &str, labels: &[&str]) -> Option<StatId> {
        self.define(self.callbacks.http_filter_config_define_gauge, name, labels)
    }

    fn define(
        &self,
        define: unsafe extern "C" fn(*mut c_void, Buffer, *mut Buffer, usize, *mut usize) -> u32,
        name: &str,
        labels: &[&str],
    ) -> Option<StatId> {
        let mut labels = buffers(labels);
        let mut id = 0;
        let name = Buffer::of(name.as_bytes());
        // SAFETY: the configuration's pointer is good during the hook; Envoy
        // copies the texts.
        let result =
            unsafe { define(self.envoy, name, labels.as_mut_ptr(), labels.len(), &raw mut id) };
        (result == METRICS_SUCCESS).then_some(StatId(id))
    }

    /// By which any thread can have the hook `config_scheduled` called, as long
    /// as the configuration lives.
    pub(crate) fn wake(&self) -> Arc<Wake> {
        let wake = self.wake.get_or_init(|| {
            let new = self.callbacks.http_filter_config_scheduler_new;
            let commit = self.callbacks.http_filter_config_scheduler_commit;
            let delete = self.callbacks.http_filter_config_scheduler_delete;
            // SAFETY: the configuration's pointer is good during the hook.
            Wake::of(unsafe { new(self.envoy) }, commit, delete)
        });
        Arc::clone(wake)
    }
}

/// Only where [`counts_outside_of_streams`].
impl Statistics for ConfigContext<'_> {
    fn add(&self, counter: StatId, labels: &[&str], count: u64) {
        let Some(add) = self.callbacks.http_filter_config_increment_counter else { return };
        let mut labels = buffers(labels);
        // SAFETY: the configuration's pointer is good during the hook.
        unsafe { add(self.envoy, counter.0, labels.as_mut_ptr(), labels.len(), count) };
    }

    fn set(&self, gauge: StatId, labels: &[&str], value: u64) {
        let Some(set) = self.callbacks.http_filter_config_set_gauge else { return };
        let mut labels = buffers(labels);
        // SAFETY: as for counters.
        unsafe { set(self.envoy, gauge.0, labels.as_mut_ptr(), labels.len(), value) };
    }
}

impl Statistics for Stream<'_> {
    fn add(&self, counter: StatId, labels: &[&str], count: u64) {
        let add = self.callbacks.http_filter_increment_counter;
        let mut labels = buffers(labels);
        // SAFETY: the stream's pointer is good during the hook.
        unsafe { add(self.envoy, counter.0, labels.as_mut_ptr(), labels.len(), count) };
    }

    fn set(&self, gauge: StatId, labels: &[&str], value: u64) {
        let set = self.callbacks.http_filter_set_gauge;
        let mut labels = buffers(labels);
        // SAFETY: as for counters.
        unsafe { set(self.envoy, gauge.0, labels.as_mut_ptr(), labels.len(), value) };
    }
}

fn buffers(texts: &[&str]) -> SmallVec<[Buffer; 4]> {
    texts.iter().map(|text| Buffer::of(text.as_bytes())).collect()
}

/// What Envoy holds of a filter's configuration.
struct HeldConfig<C> {
    config: C,
    wake: OnceLock<Arc<Wake>>,
}

impl<C> Drop for HeldConfig<C> {
    fn drop(&mut self) {
        if let Some(wake) = self.wake.get() {
            wake.release();
        }
    }
}

/// What this file keeps of a stream from hook to hook.
#[derive(Default)]
struct StreamState {
    wake: OnceCell<Arc<Wake>>,
    /// Whether the client has been answered, by this filter or another.
    answered: Cell<bool>,
}

impl Drop for StreamState {
    fn drop(&mut self) {
        if let Some(wake) = self.wake.get() {
            wake.release();
        }
    }
}

/// What Envoy holds of one stream.
///
/// Counted, because Envoy may destroy a stream from within a call that a hook
/// of the same stream makes.
struct Held<F: HttpFilter> {
    filter: F,
    /// The configuration outlives its streams.
    config: NonNull<HeldConfig<F::Config>>,
    state: StreamState,
}

impl<F: HttpFilter> Held<F> {
    /// # Safety
    ///
    /// `held` must come from [`filter_new`] for the same type and not be
    /// destroyed yet; this must be its thread.
    unsafe fn of(held: *const c_void) -> Rc<Self> {
        // SAFETY: the caller says so.
        unsafe {
            Rc::increment_strong_count(held.cast::<Self>());
            Rc::from_raw(held.cast::<Self>())
        }
    }

    fn config(&self) -> &F::Config {
        // SAFETY: Envoy destroys a configuration after the last of its streams.
        unsafe { &self.config.as_ref().config }
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

/// Whether this Envoy counts where no stream is, as those from 1.39 on do.
pub(crate) fn counts_outside_of_streams() -> bool {
    let counts = |callbacks: &Callbacks| {
        callbacks.http_filter_config_increment_counter.is_some()
            && callbacks.http_filter_config_set_gauge.is_some()
    };
    CALLBACKS.get().is_some_and(counts)
}

/// Looks up Envoy's functions. A null pointer refuses the module.
pub(crate) fn program_init<F: HttpFilter>() -> *const c_char {
    let init = || match load() {
        Ok(callbacks) => {
            // Another load of the same file finds it done.
            let _ = CALLBACKS.set(callbacks);
            F::loaded();
            if takes_struct_metadata() { ABI_VERSION_1_40 } else { ABI_VERSION }.as_ptr()
        }
        Err(missing) => {
            tell(&missing);
            ptr::null()
        }
    };
    guarded(init, ptr::null, ptr::null())
}

/// Says in Envoy's log, or on stderr if that is what is missing, why the module
/// is refused.
fn tell(refusal: &LoadError) {
    let envoy = Library::this();
    // SAFETY: in every Envoy that has it, it is of this type.
    let log = unsafe {
        envoy.get::<unsafe extern "C" fn(u32, Buffer)>(
            c"envoy_dynamic_module_callback_log".to_bytes_with_nul(),
        )
    };
    match log {
        Ok(log) => {
            let line =
                json!({"level": "ERROR", "message": refusal.to_string(), "target": module_path!()});
            // SAFETY: Envoy copies the line; any thread may log.
            unsafe { log(LogLevel::Error as u32, Buffer::of(line.to_string().as_bytes())) };
        }
        Err(_) => eprintln!("claimgate: {refusal}"),
    }
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

/// # Safety
///
/// Envoy's main thread must call this, with a configuration and a text of its
/// own.
pub(crate) unsafe fn config_new<F: HttpFilter>(envoy: *mut c_void, text: Buffer) -> *const c_void {
    let new = || {
        let callbacks = CALLBACKS.get()?;
        // SAFETY: this is the main thread.
        let is_validation = unsafe { (callbacks.is_validation_mode)() };
        let wake = OnceLock::new();
        let context = ConfigContext { envoy, callbacks, wake: &wake };
        // SAFETY: the text stays during the hook.
        let config = F::config(unsafe { text.bytes() }, is_validation, &context)?;
        Some(HeldConfig { config, wake })
    };
    guarded(|| into_pointer(new()), ptr::null, ptr::null())
}

/// # Safety
///
/// `config` must come from [`config_new`], and Envoy be done with it.
pub(crate) unsafe fn config_destroy<F: HttpFilter>(config: *const c_void) {
    // SAFETY: the caller says so.
    guarded(|| unsafe { free::<HeldConfig<F::Config>>(config) }, || {}, ());
}

/// # Safety
///
/// Envoy's main thread must call this; `config` must come from [`config_new`].
pub(crate) unsafe fn config_scheduled<F: HttpFilter>(envoy: *mut c_void, config: *const c_void) {
    let hook = || {
        // SAFETY: the caller says so.
        let held = unsafe { config.cast::<HeldConfig<F::Config>>().as_ref() };
        if let (Some(callbacks), Some(held)) = (CALLBACKS.get(), held) {
            let context = ConfigContext { envoy, callbacks, wake: &held.wake };
            F::config_scheduled(&held.config, &context);
        }
    };
    guarded(hook, || {}, ());
}

/// How many configurations of routes there are. A worker sees a route only
/// after Envoy has handed it over, and so its count.
static ROUTE_CONFIGS: AtomicUsize = AtomicUsize::new(0);

/// # Safety
///
/// Envoy must call this, with a text of its own.
pub(crate) unsafe fn route_config_new<F: HttpFilter>(text: Buffer) -> *const c_void {
    let new = || {
        // SAFETY: the text stays during the hook.
        let config = F::route(unsafe { text.bytes() })?;
        ROUTE_CONFIGS.fetch_add(1, Relaxed);
        Some(config)
    };
    guarded(|| into_pointer(new()), ptr::null, ptr::null())
}

/// # Safety
///
/// `config` must come from [`route_config_new`], and Envoy be done with it.
pub(crate) unsafe fn route_config_destroy(config: *const c_void) {
    let free = || {
        // SAFETY: the caller says so.
        unsafe { free::<RouteConfig>(config) };
        if !config.is_null() {
            ROUTE_CONFIGS.fetch_sub(1, Relaxed);
        }
    };
    guarded(free, || {}, ());
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

/// `config` comes from [`config_new`].
pub(crate) fn filter_new<F: HttpFilter>(config: *const c_void) -> *const c_void {
    let new = || {
        let Some(config) = NonNull::new(config.cast_mut().cast::<HeldConfig<F::Config>>()) else {
            return ptr::null();
        };
        let held = Held { filter: F::default(), config, state: StreamState::default() };
        Rc::into_raw(Rc::new(held)).cast()
    };
    guarded(new, ptr::null, ptr::null())
}

/// # Safety
///
/// `held` must come from [`filter_new`], and Envoy be done with it.
pub(crate) unsafe fn filter_destroy<F: HttpFilter>(held: *const c_void) {
    // SAFETY: this gives back what Envoy held.
    guarded(|| unsafe { Rc::decrement_strong_count(held.cast::<Held<F>>()) }, || {}, ());
}

/// # Safety
///
/// The pointers must be those of a hook that Envoy calls.
pub(crate) unsafe fn request_headers<F: HttpFilter>(
    envoy: *mut c_void,
    held: *const c_void,
) -> u32 {
    // SAFETY: the caller says so.
    let outcome = unsafe { with_stream(envoy, held, F::request_headers) };
    match outcome {
        Outcome::Continue => CONTINUE,
        Outcome::Wait => headers_status::STOP_ALL_ITERATION_AND_WATERMARK,
        Outcome::Answered => headers_status::STOP_ITERATION,
    }
}

/// # Safety
///
/// The pointers must be those of a hook that Envoy calls.
pub(crate) unsafe fn scheduled<F: HttpFilter>(envoy: *mut c_void, held: *const c_void) {
    let hook = |filter: &F, config: &F::Config, stream: &mut Stream<'_>| {
        let outcome = filter.scheduled(config, stream);
        if outcome == Outcome::Continue {
            stream.resume();
        }
        outcome
    };
    // SAFETY: the caller says so.
    unsafe { with_stream(envoy, held, hook) };
}

/// The client is answered, perhaps by another filter while a check waits.
///
/// # Safety
///
/// `held` must be that of a hook that Envoy calls.
pub(crate) unsafe fn local_reply<F: HttpFilter>(held: *const c_void) -> u32 {
    // SAFETY: the caller says so.
    guarded(|| unsafe { Held::<F>::of(held) }.state.answered.set(true), || {}, ());
    CONTINUE
}

/// Calls `hook` for a stream; a panic is answered with 500.
///
/// # Safety
///
/// The pointers must be those of a hook that Envoy calls.
unsafe fn with_stream<F: HttpFilter>(
    envoy: *mut c_void,
    held: *const c_void,
    hook: impl FnOnce(&F, &F::Config, &mut Stream<'_>) -> Outcome,
) -> Outcome {
    let Some(callbacks) = CALLBACKS.get() else { return Outcome::Answered };
    // SAFETY: the caller says so.
    let held = unsafe { Held::<F>::of(held) };
    let stream = || Stream { envoy, callbacks, state: &held.state, not_send: PhantomData };
    let recover = || {
        held.filter.panicked(held.config(), &mut stream());
        Outcome::Answered
    };
    guarded(|| hook(&held.filter, held.config(), &mut stream()), recover, Outcome::Answered)
}

/// Exports the hooks that Envoy looks up, for one type of filter.
///
/// Those that do nothing are there because Envoy refuses a module without
/// them.
macro_rules! export_hooks {
    ($filter:ty) => {
        #[allow(unsafe_code)]
        mod exported {
            use std::ffi::{c_char, c_void};

            use $crate::abi::{self, Buffer};

            type Pointer = *mut c_void;
            type Module = *const c_void;

            $crate::abi::export_hooks! { @each
                envoy_dynamic_module_on_program_init() -> *const c_char
                    => abi::program_init::<$filter>();
                envoy_dynamic_module_on_http_filter_config_new(envoy: Pointer, _name: Buffer, text: Buffer) -> Module
                    => abi::config_new::<$filter>(envoy, text);
                envoy_dynamic_module_on_http_filter_config_scheduled(
                    envoy: Pointer, config: Module, _event: u64
                ) => abi::config_scheduled::<$filter>(envoy, config);
                envoy_dynamic_module_on_http_filter_config_destroy(config: Module)
                    => abi::config_destroy::<$filter>(config);
                envoy_dynamic_module_on_http_filter_per_route_config_new(_name: Buffer, text: Buffer) -> Module
                    => abi::route_config_new::<$filter>(text);
                envoy_dynamic_module_on_http_filter_per_route_config_destroy(config: Module)
                    => abi::route_config_destroy(config);
                envoy_dynamic_module_on_http_filter_new(config: Module, _envoy: Pointer) -> Module
                    => abi::filter_new::<$filter>(config);
                envoy_dynamic_module_on_http_filter_destroy(held: Module)
                    => abi::filter_destroy::<$filter>(held);
                envoy_dynamic_module_on_http_filter_request_headers(envoy: Pointer, held: Module, _end: bool) -> u32
                    => abi::request_headers::<$filter>(envoy, held);
                envoy_dynamic_module_on_http_filter_scheduled(envoy: Pointer, held: Module, _event: u64)
                    => abi::scheduled::<$filter>(envoy, held);
                envoy_dynamic_module_on_http_filter_local_reply(
                    _envoy: Pointer, held: Module, _status: u32, _details: Buffer, _reset: bool
                ) -> u32
                    => abi::local_reply::<$filter>(held);

                envoy_dynamic_module_on_http_filter_request_body(_e: Pointer, _h: Module, _end: bool) -> u32 => 0;
                envoy_dynamic_module_on_http_filter_request_trailers(_e: Pointer, _h: Module) -> u32 => 0;
                envoy_dynamic_module_on_http_filter_response_headers(_e: Pointer, _h: Module, _end: bool) -> u32 => 0;
                envoy_dynamic_module_on_http_filter_response_body(_e: Pointer, _h: Module, _end: bool) -> u32 => 0;
                envoy_dynamic_module_on_http_filter_response_trailers(_e: Pointer, _h: Module) -> u32 => 0;
                envoy_dynamic_module_on_http_filter_stream_complete(_e: Pointer, _h: Module) => ();
                envoy_dynamic_module_on_http_filter_http_callout_done(
                    _e: Pointer, _h: Module, _id: u64, _result: u32,
                    _headers: Pointer, _count: usize, _chunks: Pointer, _chunk_count: usize
                ) => ();
                envoy_dynamic_module_on_http_filter_http_stream_headers(
                    _e: Pointer, _h: Module, _id: u64, _headers: Pointer, _count: usize, _end: bool
                ) => ();
                envoy_dynamic_module_on_http_filter_http_stream_data(
                    _e: Pointer, _h: Module, _id: u64, _data: Module, _count: usize, _end: bool
                ) => ();
                envoy_dynamic_module_on_http_filter_http_stream_trailers(
                    _e: Pointer, _h: Module, _id: u64, _trailers: Pointer, _count: usize
                ) => ();
                envoy_dynamic_module_on_http_filter_http_stream_complete(_e: Pointer, _h: Module, _id: u64) => ();
                envoy_dynamic_module_on_http_filter_http_stream_reset(_e: Pointer, _h: Module, _id: u64, _why: u32) => ();
                envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(
                    _e: Pointer, _h: Module
                ) => ();
                envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(
                    _e: Pointer, _h: Module
                ) => ();
            }
        }
    };
    (@each $($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? => $body:expr;)*) => {$(
        // SAFETY: Envoy calls this as its header declares it.
        #[unsafe(no_mangle)]
        #[allow(unused_unsafe)]
        unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            unsafe { $body }
        }
    )*};
}
pub(crate) use export_hooks;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Gives back what [`filter_new`] made.
    pub(crate) fn destroy<F: HttpFilter>(held: *const c_void) {
        // SAFETY: it comes from there.
        unsafe { filter_destroy::<F>(held) };
    }

    #[test]
    fn a_program_without_envoys_functions_refuses_the_module_and_names_them() {
        let error = load().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("envoy_dynamic_module_callback_http_set_header"), "{error}");
    }

    #[test]
    fn ascii_is_told_from_other_text() {
        for length in 0..40 {
            let name = vec![b'x'; length];
            assert!(is_ascii(&name), "{length}");
            for at in 0..length {
                let mut other = name.clone();
                other[at] = 0x80;
                assert!(!is_ascii(&other), "{length} {at}");
            }
        }
        assert_eq!(text("caf\u{e9}".as_bytes()), Some("caf\u{e9}"));
        assert_eq!(text(b"\xff"), None);
    }

    #[test]
    fn every_name_is_a_c_string() {
        assert!(REQUIRED.iter().all(|name| !name.is_empty()));
    }
}
