//! Finds files below a directory and reads them.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use heist::Priority;
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::body::Source;

/// The most bytes that one task reads and works on. A power of two, for the hash.
pub const PIECE: usize = 1 << 20;

/// The most bytes of a file that are sent as one piece. Smaller than [`PIECE`], because nothing is to be done in parallel.
const SENT_PIECE: usize = 1 << 18;

/// The directory whose files are served.
pub struct Root(OwnedFd);

impl Root {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Opens the regular file with this path, as it is written in a URL.
    ///
    /// Each name is looked up in the directory before it, and neither `..` nor a symbolic link is followed. So the file is
    /// below the root, whoever renames directories in the meantime.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind `InvalidInput` if the path has a zero byte or an escaped slash, `NotFound` if it names
    /// no regular file, and else that of the system.
    pub fn file(&self, path: &str) -> io::Result<Content> {
        let common = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut directory: Option<OwnedFd> = None;
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            let name: Vec<u8> = percent_decode_str(name).collect();
            if name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return Err(ErrorKind::InvalidInput.into());
            }
            if matches!(name.as_slice(), b"" | b"." | b"..") {
                return Err(ErrorKind::NotFound.into());
            }
            let parent = directory.as_ref().unwrap_or(&self.0).as_fd();
            let flags = match names.peek() {
                Some(_) => common | OFlags::DIRECTORY,
                // A pipe that nobody writes to does not block.
                None => common | OFlags::NONBLOCK,
            };
            let found = rustix::fs::openat(parent, name, flags, Mode::empty());
            directory = Some(found.map_err(|error| match error {
                Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::NXIO => {
                    ErrorKind::NotFound.into()
                }
                error => io::Error::from(error),
            })?);
        }
        let file = directory.ok_or(ErrorKind::NotFound)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(Content {
            file: file.into(),
            left: stat.st_size.try_into().unwrap_or(0),
        })
    }
}

/// A file that is read from its beginning to the end that it had when it was opened.
pub struct Content {
    file: File,
    left: u64,
}

impl Content {
    /// The number of bytes that were not read yet.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Reads the next bytes: `most`, or all that are left.
    ///
    /// # Errors
    ///
    /// Returns the system's error, or an error if the file has become shorter.
    pub fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, most)?;
        Ok(bytes)
    }

    /// Reads as [`read`](Self::read) does, in place of what is in `bytes`. Meanwhile another thread takes the place of this one in
    /// the pool.
    pub fn read_into(&mut self, bytes: &mut Vec<u8>, most: usize) -> io::Result<()> {
        let length = usize::try_from(self.left).map_or(most, |left| left.min(most));
        bytes.clear();
        bytes.reserve_exact(length);
        heist::blocking(|| (&self.file).take(length as u64).read_to_end(bytes))?;
        if bytes.len() < length {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.left -= length as u64;
        Ok(())
    }
}

/// The file as it is.
impl Source for Content {
    fn next(&mut self) -> io::Result<Bytes> {
        Ok(self.read(SENT_PIECE)?.into())
    }

    fn is_at_end(&self) -> bool {
        self.left == 0
    }

    fn priority(&self) -> Priority {
        Priority::Normal
    }

    fn length(&self) -> Option<u64> {
        Some(self.left)
    }
}
