//! What hyper needs from a socket and from a clock: async-io's sockets, and sleeps of heist.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::Async;
use hyper::rt::ReadBufCursor;

/// More than the head of most requests.
const READ_BYTES: usize = 4096;

/// A connection to a client. It fails if the client takes nothing of what is written for too long.
pub struct Socket {
    stream: Async<TcpStream>,
    patience: Duration,
    /// The end of the patience, while the client takes nothing.
    stalled: Option<heist::Sleep>,
}

impl Socket {
    pub fn new(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        // An answer is written at once, so there is nothing to wait for.
        stream.set_nodelay(true)?;
        Ok(Socket {
            stream: Async::new(stream)?,
            patience,
            stalled: None,
        })
    }

    /// Calls `write` until it does not block.
    fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        mut write: impl FnMut(&mut &TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(&mut self.stream.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                written => {
                    self.stalled = None;
                    return Poll::Ready(written);
                }
            }
            if self.stream.poll_writable(context)?.is_ready() {
                continue;
            }
            let patience = self.patience;
            let stalled = self.stalled.get_or_insert_with(|| heist::sleep(patience));
            ready!(Pin::new(stalled).poll(context));
            let message = "the client took nothing of its answer for too long";
            return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, message)));
        }
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_BYTES];
        let room = buffer.remaining().min(READ_BYTES);
        loop {
            match self.stream.get_ref().read(&mut bytes[..room]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Poll::Ready(Err(error)),
                Ok(read) => {
                    buffer.put_slice(&bytes[..read]);
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.stream.poll_readable(context))?;
        }
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.write(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream| stream.write_vectored(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

/// A clock for hyper.
pub struct Clock;

impl hyper::rt::Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(heist::sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Sleep(heist::sleep_until(deadline)))
    }
}

struct Sleep(heist::Sleep);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl hyper::rt::Sleep for Sleep {}
