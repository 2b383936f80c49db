//! Accepts connections, serves them, and ends them without losing a request.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use heist::Semaphore;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::io::{Clock, Socket};
use super::service::Service;

/// The time in which connections may end and give descriptors back when there are none left.
const RETRY: Duration = Duration::from_millis(20);

/// An event that happens once and that many futures wait for: the service is asked to end.
#[derive(Clone)]
pub struct Closing(Semaphore);

impl Closing {
    pub fn new() -> Self {
        Closing(Semaphore::new(0))
    }

    pub fn begin(&self) {
        self.0.add_permits(1);
    }

    /// Returns a future that is ready when the event has happened. Each one gives the only permit back at once, so all get it.
    fn wait(&self) -> impl Future<Output = ()> + Unpin + use<> {
        let permit = self.0.acquire();
        Box::pin(async move { drop(permit.await) })
    }
}

/// Accepts connections until the service is to end, and those that have waited until then.
///
/// # Errors
///
/// Returns an error of the listening socket after which no connection can come.
pub async fn accept(
    listener: TcpListener,
    service: Arc<Service>,
    closing: Closing,
) -> io::Result<()> {
    let listener = Async::new(listener)?;
    let mut end = closing.wait();
    loop {
        let next = poll_fn(|context| match Pin::new(&mut end).poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => poll_accept(&listener, context).map(Some),
        });
        match next.await {
            None => break,
            Some(Ok(stream)) => {
                spawn(stream, &service, &closing);
                // A burst of connections must not keep those that are open waiting.
                heist::yield_async().await;
            }
            Some(Err(error)) if is_of_one_connection(&error) => {}
            Some(Err(error)) if is_lack_of_descriptors(&error) => heist::sleep(RETRY).await,
            Some(Err(error)) => return Err(error),
        }
    }
    // These clients were connected before the end began. The system resets those that connect from now on, when the
    // listening socket is closed.
    while let Ok((stream, _)) = listener.get_ref().accept() {
        spawn(stream, &service, &closing);
    }
    Ok(())
}

fn poll_accept(
    listener: &Async<TcpListener>,
    context: &mut Context<'_>,
) -> Poll<io::Result<TcpStream>> {
    loop {
        match listener.get_ref().accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            accepted => return Poll::Ready(accepted.map(|(stream, _)| stream)),
        }
        ready!(listener.poll_readable(context))?;
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

fn is_lack_of_descriptors(error: &io::Error) -> bool {
    let number = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        number,
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOBUFS)
    )
}

/// Begins to serve a connection, by a task of its own.
fn spawn(stream: TcpStream, service: &Arc<Service>, closing: &Closing) {
    let (service, closing) = (service.clone(), closing.clone());
    let open = service.counters().open_connection();
    service.pool().clone().spawn_async(async move {
        let _open = open;
        if let Err(error) = connection(stream, &service, closing).await
            && is_timeout(&*error)
        {
            service.counters().expired.add();
        }
    });
}

/// Serves one connection until it is closed, by the client, by its slowness, or after the service was asked to end.
///
/// If the client closes the connection while a request is under way, hyper's future is an error and drops the future or the
/// body of the answer, which cancels its work. hyper notices it because it reads while it waits for the answer. It does not
/// read further if the client has sent the beginning of another request: then the work goes on until its deadline, or
/// until hyper fails to write.
async fn connection(
    stream: TcpStream,
    service: &Arc<Service>,
    closing: Closing,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let socket = Socket::new(stream, service.patience())?;
    let answer = service_fn(|request| Service::answer(service.clone(), request));
    let connection = http1::Builder::new()
        .timer(Clock)
        .header_read_timeout(service.patience())
        .serve_connection(socket, answer);
    let mut connection = pin!(connection);
    let mut end = Some(closing.wait());
    poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        if let Some(closing) = &mut end {
            ready!(Pin::new(closing).poll(context));
            end = None;
            // A request that has arrived before the end began is found by this poll. Without a request, the connection is
            // closed; else it is closed after the answer.
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            connection.as_mut().graceful_shutdown();
            return connection.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await?;
    Ok(())
}

fn is_timeout(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = error {
        let of_hyper = cause.downcast_ref::<hyper::Error>();
        let of_system = cause.downcast_ref::<io::Error>();
        if of_hyper.is_some_and(hyper::Error::is_timeout)
            || of_system.is_some_and(|error| error.kind() == ErrorKind::TimedOut)
        {
            return true;
        }
        error = cause.source();
    }
    false
}
