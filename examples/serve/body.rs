//! Answers that are made while they are sent.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use heist::{AbortOnDrop, Priority, Sleep};
use hyper::body::{Bytes, Frame, SizeHint};

use super::service::Ticket;

/// What the pieces of an answer are made of. Its methods run in tasks of the pool.
pub trait Source: Send + 'static {
    /// Makes the next piece. Called at least once, and not after the end.
    fn next(&mut self) -> io::Result<Bytes>;

    fn is_at_end(&self) -> bool;

    /// The priority of the task that makes the next piece: low if it takes long.
    fn priority(&self) -> Priority;

    /// The number of bytes that are left, if it is known.
    fn length(&self) -> Option<u64>;
}

/// Returns an error if the current task has been cancelled, because its client has gone or its time is over.
pub fn check_cancelled() -> io::Result<()> {
    if heist::current_token().is_cancelled() {
        return Err(io::Error::other("the request was cancelled"));
    }
    Ok(())
}

/// The body of an answer. If it is dropped before its end, the client has gone, and its work is cancelled.
pub struct Body(Kind);

enum Kind {
    Whole {
        bytes: Option<Bytes>,
        ticket: Option<Ticket>,
    },
    Pieces(Pieces),
}

struct Pieces {
    ticket: Ticket,
    deadline: Sleep,
    ready: Option<Bytes>,
    /// The task that makes the piece after that.
    next: Option<Step>,
    /// The number of bytes that are left, if it is known.
    left: Option<u64>,
}

type Step = AbortOnDrop<(Box<dyn Source>, io::Result<Bytes>)>;

impl Body {
    /// A body for a request that has no ticket, or whose end was counted.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Body(Kind::Whole {
            bytes: Some(text.into()),
            ticket: None,
        })
    }

    pub fn whole(bytes: Bytes, mut ticket: Ticket) -> Self {
        if bytes.is_empty() {
            // hyper does not ask for it.
            ticket.end(|counters| &counters.answered);
        }
        Body(Kind::Whole {
            bytes: Some(bytes),
            ticket: Some(ticket),
        })
    }

    /// A body that begins with the piece `first`, after which `source` makes more.
    pub fn pieces(first: Bytes, source: Box<dyn Source>, ticket: Ticket) -> Self {
        let left = source.length().map(|length| length + first.len() as u64);
        Body(Kind::Pieces(Pieces {
            deadline: heist::sleep_until(ticket.deadline),
            ready: Some(first),
            next: Some(step(source, &ticket)),
            left,
            ticket,
        }))
    }
}

fn step(mut source: Box<dyn Source>, ticket: &Ticket) -> Step {
    ticket.submit(source.priority(), move || {
        let piece = source.next();
        (source, piece)
    })
}

impl Pieces {
    /// Waits for the next piece, and has the one after it made. Returns `None` after the last one.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let polled = match self.deadline.is_elapsed() {
            true => Poll::Pending,
            false => Pin::new(next).poll(context),
        };
        let result = match polled {
            Poll::Pending if Pin::new(&mut self.deadline).poll(context).is_pending() => {
                return Poll::Pending;
            }
            Poll::Pending => {
                self.ticket.end(|counters| &counters.late);
                let message = "the deadline has passed";
                Err(io::Error::new(ErrorKind::TimedOut, message))
            }
            Poll::Ready(Ok((source, piece))) => piece.inspect(|_| {
                self.next = (!source.is_at_end()).then(|| step(source, &self.ticket));
            }),
            Poll::Ready(Err(error)) => Err(error.into()),
        };
        if result.is_err() {
            self.next = None;
            self.ticket.end(|counters| &counters.failed);
        } else if self.next.is_none() {
            self.ticket.end(|counters| &counters.answered);
        }
        Poll::Ready(Some(result))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = match &mut self.0 {
            Kind::Whole { bytes, ticket } => {
                if let Some(ticket) = ticket {
                    ticket.end(|counters| &counters.answered);
                }
                Poll::Ready(bytes.take().map(Ok))
            }
            Kind::Pieces(pieces) => {
                let polled = pieces.poll_piece(context);
                if let (Poll::Ready(Some(Ok(bytes))), Some(left)) = (&polled, &mut pieces.left) {
                    *left -= bytes.len() as u64;
                }
                polled
            }
        };
        polled.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole { bytes, .. } => bytes.is_none(),
            Kind::Pieces(pieces) => pieces.ready.is_none() && pieces.next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Pieces(pieces) => pieces.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}
