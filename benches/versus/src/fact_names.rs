//! The names of the facts, by which targets and `--only` find them.

/// Heap allocations per join.
pub const ALLOCATIONS_PER_JOIN: &str = "allocations-join";
/// Heap allocations per spawn on a scope.
pub const ALLOCATIONS_PER_SPAWN: &str = "allocations-spawn";
/// Heap allocations per task with a handle, submitted from outside.
pub const ALLOCATIONS_PER_SUBMIT: &str = "allocations-submit";
/// All heap bytes per task with a handle, submitted from outside.
pub const BYTES_PER_SUBMIT: &str = "bytes-submit";
/// Bytes of the block of a task whose closure has 8 bytes.
pub const TASK_BLOCK_8: &str = "task-block-8";
/// Bytes of the block of a task whose closure has 32 bytes.
pub const TASK_BLOCK_32: &str = "task-block-32";
/// Bytes of the block of a task whose closure has 64 bytes.
pub const TASK_BLOCK_64: &str = "task-block-64";
/// Heap allocations per future with a handle, submitted from outside.
pub const ASYNC_ALLOCATIONS: &str = "async-allocations";
/// Heap allocations per future with a handle that waits once.
pub const ASYNC_WAIT_ALLOCATIONS: &str = "async-wait-allocations";
/// Bytes of the block of a future that holds 8 bytes.
pub const ASYNC_BLOCK_8: &str = "async-block-8";
/// Bytes of the block of a future that holds 64 bytes.
pub const ASYNC_BLOCK_64: &str = "async-block-64";
/// Bytes per sleep among many that are pending.
pub const ASYNC_SLEEP_BYTES: &str = "async-sleep-bytes";
/// The most items of a stream that exist at a time.
pub const STREAM_ALIVE: &str = "imap-alive";
/// Threads that an unused pool of eight has started.
pub const UNUSED_POOL_THREADS: &str = "unused-pool-threads";
/// CPU time of a pool at rest.
pub const IDLE_CPU: &str = "idle-cpu";
/// Prefix of the facts about events of the scheduler.
pub const EVENTS: &str = "events";
