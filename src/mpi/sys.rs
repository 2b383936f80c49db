//! Open MPI's library, loaded when the program asks for it.
//!
//! A program that links MPI can be built only where MPI is installed, with its compiler wrapper and libclang, and starts only there. Loading it makes the feature one that builds
//! everywhere and needs MPI where it is used. What is declared here are the calls that [`channel`](super::channel) makes, and the types of Open MPI's binary interface, which
//! has been the same in its versions 4 and 5 (`libmpi.so.40`).
//!
//! **Invariant.** Callers make one call of the library at a time.

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

type Handle = *mut c_void;
/// A communication under way.
pub(super) type Request = *mut c_void;

const LIBRARY: &CStr = c"libmpi.so.40";
const SUCCESS: c_int = 0;
/// Calls come from several threads, one at a time.
const SERIALIZED: c_int = 2;
/// The tag of all messages.
const TAG: c_int = 7411;

#[repr(C)]
#[derive(Default)]
struct Status {
    source: c_int,
    tag: c_int,
    error: c_int,
    cancelled: c_int,
    count: usize,
}

type Init = unsafe extern "C" fn(*mut c_int, *mut c_void, c_int, *mut c_int) -> c_int;
type Initialized = unsafe extern "C" fn(*mut c_int) -> c_int;
type Finalize = unsafe extern "C" fn() -> c_int;
type Number = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
type SetErrhandler = unsafe extern "C" fn(Handle, Handle) -> c_int;
type Send =
    unsafe extern "C" fn(*const c_void, c_int, Handle, c_int, c_int, Handle, *mut Request) -> c_int;
type Receive =
    unsafe extern "C" fn(*mut c_void, c_int, Handle, c_int, c_int, Handle, *mut Request) -> c_int;
type Test = unsafe extern "C" fn(*mut Request, *mut c_int, *mut Status) -> c_int;

/// The library.
pub(super) struct Library {
    init: Init,
    initialized: Initialized,
    finalize: Finalize,
    rank: Number,
    size: Number,
    set_errhandler: SetErrhandler,
    send: Send,
    receive: Receive,
    test: Test,
    world: Handle,
    byte: Handle,
    errors_return: Handle,
    /// Open MPI's parameter `async_mpi_finalize`: whether `MPI_Finalize` waits for no other rank. It can only be set by `mpirun`'s user, by the environment
    /// before MPI begins, or here: for MPI's own interface to parameters it is read-only. Missing if a version has no such flag.
    ends_alone: Option<*mut bool>,
}

// SAFETY: the pointers are addresses of objects of the library, which live as long as the process. Only its functions use them, except for the flag `ends_alone`, which the
// one caller of `finalize` writes.
unsafe impl std::marker::Send for Library {}
// SAFETY: the methods change nothing of this type, and callers make one call of the library at a time.
unsafe impl Sync for Library {}

/// A peer has ended, or the communication with it has failed for another reason.
#[derive(Debug)]
pub(super) struct Dead;

/// Whom this process is among the processes of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) rank: u32,
    pub(super) size: u32,
    /// Calls may come from several threads, one at a time.
    pub(super) is_threaded: bool,
}

/// The address of a function or an object of the library.
fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: (1) the library is open. (2) The name ends with a zero.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    if address.is_null() {
        return Err(format!(
            "{LIBRARY:?} has no {name:?}: it is not that of Open MPI"
        ));
    }
    Ok(address)
}

/// The address of a variable of the library that is as long as a C `bool`, if there is one.
#[cfg(all(target_env = "gnu", target_pointer_width = "64"))]
fn flag(library: *mut c_void, name: &CStr) -> Option<*mut bool> {
    /// Asks [`libc::dladdr1`] for the entry of the symbol table.
    const SYMBOL: c_int = 1;
    let address = symbol(library, name).ok()?;
    let (mut place, mut entry) = (MaybeUninit::<libc::Dl_info>::uninit(), ptr::null_mut());
    // SAFETY: the call takes any address, and writes to the two places.
    let is_found = unsafe { libc::dladdr1(address, place.as_mut_ptr(), &mut entry, SYMBOL) };
    let entry: *const libc::Elf64_Sym = entry.cast();
    if is_found == 0 || entry.is_null() {
        return None;
    }
    // SAFETY: what was asked for is an entry of the library's symbol table, which stays as long as the library, and that is never closed.
    let length = unsafe { (*entry).st_size };
    (length == size_of::<bool>() as u64).then(|| address.cast())
}

/// The length of a symbol cannot be asked for here, so none is written to.
#[cfg(not(all(target_env = "gnu", target_pointer_width = "64")))]
fn flag(_: *mut c_void, _: &CStr) -> Option<*mut bool> {
    None
}

/// Takes a function from the library.
macro_rules! function {
    ($library:expr, $name:literal, $type:ty) => {{
        let address = symbol($library, $name)?;
        // SAFETY: the function of this name has this type in Open MPI's `mpi.h`; pointers to functions and to data have the same size.
        unsafe { std::mem::transmute::<*mut c_void, $type>(address) }
    }};
}

impl Library {
    pub(super) fn load() -> Result<Self, String> {
        // SAFETY: (1) the name ends with a zero. (2) The library's initialisers are those of MPI, which the user has asked for.
        let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if library.is_null() {
            return Err(format!(
                "{} cannot be loaded: install Open MPI 4 or 5, and start the program with its mpirun, which tells where the library is",
                LIBRARY.to_string_lossy()
            ));
        }
        Ok(Library {
            init: function!(library, c"MPI_Init_thread", Init),
            initialized: function!(library, c"MPI_Initialized", Initialized),
            finalize: function!(library, c"MPI_Finalize", Finalize),
            rank: function!(library, c"MPI_Comm_rank", Number),
            size: function!(library, c"MPI_Comm_size", Number),
            set_errhandler: function!(library, c"MPI_Comm_set_errhandler", SetErrhandler),
            send: function!(library, c"MPI_Isend", Send),
            receive: function!(library, c"MPI_Irecv", Receive),
            test: function!(library, c"MPI_Test", Test),
            world: symbol(library, c"ompi_mpi_comm_world")?,
            byte: symbol(library, c"ompi_mpi_byte")?,
            errors_return: symbol(library, c"ompi_mpi_errors_return")?,
            ends_alone: flag(library, c"ompi_async_mpi_finalize"),
        })
    }

    /// Initialises MPI on this thread.
    pub(super) fn init(&self) -> Result<Place, String> {
        let (mut was, mut provided, mut rank, mut size) = (0, 0, 0, 0);
        // SAFETY: the call may be made at any time, and writes a number.
        unsafe { (self.initialized)(&mut was) };
        if was != 0 {
            return Err(
                "MPI is initialised already, and a program can do that only once".to_owned(),
            );
        }
        // SAFETY: (1) MPI is not initialised. (2) It may be given no arguments. (3) The call writes a number.
        let code =
            unsafe { (self.init)(ptr::null_mut(), ptr::null_mut(), SERIALIZED, &mut provided) };
        if code != SUCCESS {
            return Err(format!("MPI cannot be initialised: code {code}"));
        }
        // SAFETY: MPI is initialised, and the handles are its own. From now on errors are returned, and do not end the program.
        unsafe { (self.set_errhandler)(self.world, self.errors_return) };
        // SAFETY: MPI is initialised, and the call writes a number.
        unsafe { (self.rank)(self.world, &mut rank) };
        // SAFETY: MPI is initialised, and the call writes a number.
        unsafe { (self.size)(self.world, &mut size) };
        Ok(Place {
            rank: u32::try_from(rank).unwrap_or(0),
            size: u32::try_from(size).unwrap_or(1),
            is_threaded: provided >= SERIALIZED,
        })
    }

    /// Ends MPI. Nothing of it can be used afterwards. The ranks have said goodbye, so none waits for the others: with two that have died, that wait may have no end.
    pub(super) fn finalize(&self) {
        if let Some(ends_alone) = self.ends_alone {
            // SAFETY: (1) the parameter is a C `bool` in Open MPI 4 and 5, and `flag` has checked its length. (2) It is in the library's writable data, since Open MPI
            // itself stores there what the environment says. (3) The library reads it in calls of MPI, and this thread makes the only one.
            unsafe { ends_alone.write(true) };
        }
        // SAFETY: MPI is initialised, and this is called once.
        unsafe { (self.finalize)() };
    }

    /// Begins to send bytes.
    ///
    /// # Safety
    ///
    /// The bytes stay as they are until the request has ended.
    pub(super) unsafe fn send(&self, bytes: &[u8], to: c_int) -> Result<Request, Dead> {
        let (mut request, count) = (ptr::null_mut(), length(bytes.len()));
        let start = bytes.as_ptr().cast();
        // SAFETY: (1) so many bytes are there, and the caller promises that they stay. (2) The handles are the library's.
        let code =
            unsafe { (self.send)(start, count, self.byte, to, TAG, self.world, &mut request) };
        if code == SUCCESS {
            Ok(request)
        } else {
            Err(Dead)
        }
    }

    /// Begins to receive at most as many bytes as there is room for.
    ///
    /// # Safety
    ///
    /// Until the request has ended, nothing else uses the bytes, and they stay where they are.
    pub(super) unsafe fn receive(&self, bytes: &mut [u8], from: c_int) -> Result<Request, Dead> {
        let (mut request, count) = (ptr::null_mut(), length(bytes.len()));
        let start = bytes.as_mut_ptr().cast();
        // SAFETY: (1) there is room for so many bytes, and the caller promises that nobody else uses it. (2) The handles are the library's.
        let code =
            unsafe { (self.receive)(start, count, self.byte, from, TAG, self.world, &mut request) };
        if code == SUCCESS {
            Ok(request)
        } else {
            Err(Dead)
        }
    }

    /// Whether a request has ended. One that has is gone.
    pub(super) fn test(&self, request: &mut Request) -> Result<bool, Dead> {
        let (mut flag, mut status) = (0, Status::default());
        // SAFETY: (1) the request is one of `send` or `receive` that has not ended, or none. (2) The call writes the request, a number and a status.
        let code = unsafe { (self.test)(request, &mut flag, &mut status) };
        if code == SUCCESS {
            Ok(flag != 0)
        } else {
            Err(Dead)
        }
    }
}

/// A length as MPI counts.
fn length(bytes: usize) -> c_int {
    c_int::try_from(bytes).expect("heist: messages are divided")
}

/// Whether ranks that end do not end the others, as far as `mpirun` has said so.
pub(super) fn survives() -> bool {
    let is_on = |value: std::ffi::OsString| value == "1" || value == "true";
    std::env::var_os("OMPI_MCA_mpi_ft_enable").is_some_and(is_on)
}
