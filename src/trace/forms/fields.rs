//! The numbers of fields, as in Perfetto's `.proto` files: for each the message and the name.

pub(super) const TRACE_PACKET: u32 = 1;

pub(super) const PACKET_CLOCK_SNAPSHOT: u32 = 6;
pub(super) const PACKET_TIMESTAMP: u32 = 8;
pub(super) const PACKET_SEQUENCE: u32 = 10;
pub(super) const PACKET_TRACK_EVENT: u32 = 11;
pub(super) const PACKET_INTERNED: u32 = 12;
pub(super) const PACKET_FLAGS: u32 = 13;
pub(super) const PACKET_DEFAULTS: u32 = 59;
pub(super) const PACKET_TRACK: u32 = 60;

pub(super) const DEFAULTS_CLOCK: u32 = 58;

pub(super) const SNAPSHOT_CLOCKS: u32 = 1;
pub(super) const SNAPSHOT_PRIMARY: u32 = 2;
pub(super) const CLOCK_ID: u32 = 1;
pub(super) const CLOCK_TIME: u32 = 2;

pub(super) const TRACK_UUID: u32 = 1;
pub(super) const TRACK_NAME: u32 = 2;
pub(super) const TRACK_PROCESS: u32 = 3;
pub(super) const TRACK_THREAD: u32 = 4;
pub(super) const TRACK_PARENT: u32 = 5;
pub(super) const TRACK_COUNTER: u32 = 8;
pub(super) const PROCESS_PID: u32 = 1;
pub(super) const PROCESS_NAME: u32 = 6;
pub(super) const THREAD_PID: u32 = 1;
pub(super) const THREAD_TID: u32 = 2;
pub(super) const THREAD_NAME: u32 = 5;
pub(super) const COUNTER_UNIT: u32 = 3;

pub(super) const INTERNED_CATEGORIES: u32 = 1;
pub(super) const INTERNED_NAMES: u32 = 2;
pub(super) const INTERNED_ANNOTATIONS: u32 = 3;
pub(super) const INTERNED_LOCATIONS: u32 = 4;
pub(super) const IID: u32 = 1;
pub(super) const NAME: u32 = 2;
pub(super) const LOCATION_FILE: u32 = 2;
pub(super) const LOCATION_FUNCTION: u32 = 3;
pub(super) const LOCATION_LINE: u32 = 4;

pub(super) const EVENT_CATEGORIES: u32 = 3;
pub(super) const EVENT_ANNOTATIONS: u32 = 4;
pub(super) const EVENT_TYPE: u32 = 9;
pub(super) const EVENT_NAME: u32 = 10;
pub(super) const EVENT_TRACK: u32 = 11;
pub(super) const EVENT_COUNTER: u32 = 30;
pub(super) const EVENT_LOCATION: u32 = 34;
pub(super) const EVENT_FLOWS: u32 = 47;
pub(super) const ANNOTATION_NAME: u32 = 1;
pub(super) const ANNOTATION_BOOL: u32 = 2;
pub(super) const ANNOTATION_UINT: u32 = 3;
pub(super) const ANNOTATION_STRING: u32 = 6;
