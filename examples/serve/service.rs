//! Requests: routes, the limit, the deadline, and what ends the work for a request that nobody waits for.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heist::{AbortOnDrop, CancelToken, JoinError, Permit, Priority, Semaphore, ThreadPool};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use super::body::{Body, Source};
use super::counters::{Count, Counters};
use super::files::{Content, Root};
use super::gzip::Gzip;
use super::hash::Digest;
use super::options::Options;

const TEXT: &str = "text/plain; charset=utf-8";

/// What all connections share.
pub struct Service {
    pool: ThreadPool,
    root: Arc<Root>,
    limit: Semaphore,
    deadline: Duration,
    patience: Duration,
    counters: Arc<Counters>,
}

/// An answer before it has a ticket.
struct Answer {
    content_type: &'static str,
    first: Bytes,
    /// What is left after the first piece.
    rest: Option<Box<dyn Source>>,
}

impl Service {
    pub fn new(pool: &ThreadPool, root: Root, options: &Options) -> Arc<Self> {
        Arc::new(Service {
            pool: pool.clone(),
            root: Arc::new(root),
            limit: Semaphore::new(options.limit),
            deadline: options.deadline,
            patience: options.patience,
            counters: Arc::default(),
        })
    }

    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Answers a request. Dropped before it is ready, it cancels the work for the request.
    pub async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        if path == "/stats" {
            let stats = self.counters.to_json(&self.pool.stats());
            let body = Body::text(format!("{stats:#}\n"));
            return Ok(response(StatusCode::OK, "application/json", body));
        }
        self.counters.requests.add();
        let Some(permit) = self.limit.try_acquire() else {
            self.counters.refused.add();
            let body = Body::text("too many requests are under way; try again later\n");
            let mut response = response(StatusCode::SERVICE_UNAVAILABLE, TEXT, body);
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Ok(response);
        };
        let mut ticket = Ticket::new(&self, permit);
        let answer = self.route(request.method(), path, &ticket);
        Ok(match heist::timeout(self.deadline, answer).await {
            Ok(Ok(answer)) if answer.rest.is_none() || Instant::now() < ticket.deadline => {
                let body = match answer.rest {
                    None => Body::whole(answer.first, ticket),
                    Some(rest) => Body::pieces(answer.first, rest, ticket),
                };
                response(StatusCode::OK, answer.content_type, body)
            }
            Ok(Err(refusal)) => refusal.response(ticket),
            // The first piece alone took all the time, or more.
            Ok(Ok(_)) | Err(_) => {
                ticket.end(|counters| &counters.late);
                let body = Body::text(format!(
                    "the answer was not ready within {:?}\n",
                    self.deadline
                ));
                response(StatusCode::GATEWAY_TIMEOUT, TEXT, body)
            }
        })
    }

    async fn route(&self, method: &Method, path: &str, ticket: &Ticket) -> Result<Answer, Refusal> {
        if method != Method::GET {
            return Err(Refusal::METHOD);
        }
        if let Some(path) = path.strip_prefix("/files/") {
            let first = self.begin(path, ticket, Priority::Normal, |content| content);
            return answer("application/octet-stream", first.await?);
        }
        if let Some(path) = path.strip_prefix("/gzip/") {
            let pool = self.pool.clone();
            let gzip = move |content| Gzip::new(&pool, content);
            let first = self.begin(path, ticket, Priority::Low, gzip);
            return answer("application/gzip", first.await?);
        }
        if let Some(path) = path.strip_prefix("/hash/") {
            return self.hash(path, ticket).await;
        }
        Err(Refusal::NOT_FOUND)
    }

    /// Opens a file and makes the first piece of an answer.
    async fn begin<S: Source>(
        &self,
        path: &str,
        ticket: &Ticket,
        priority: Priority,
        make: impl FnOnce(Content) -> S + Send + 'static,
    ) -> Result<io::Result<(Bytes, S)>, JoinError> {
        let (root, path) = (self.root.clone(), path.to_owned());
        let begun = ticket.submit(priority, move || {
            let mut source = make(heist::blocking(|| root.file(&path))?);
            let first = source.next()?;
            Ok((first, source))
        });
        begun.await
    }

    /// Hashes a file, piece by piece, so that other tasks get their turn.
    async fn hash(&self, path: &str, ticket: &Ticket) -> Result<Answer, Refusal> {
        let (root, path) = (self.root.clone(), path.to_owned());
        let open = move || heist::blocking(|| root.file(&path));
        let mut digest = Digest::new(ticket.submit(Priority::Normal, open).await??);
        loop {
            let step = move || digest.step().map(|hash| (digest, hash));
            let (next, hash) = ticket.submit(Priority::Low, step).await??;
            digest = next;
            if let Some(hash) = hash {
                return Ok(Answer {
                    content_type: TEXT,
                    first: format!("{}\n", hash.to_hex()).into(),
                    rest: None,
                });
            }
        }
    }
}

fn answer<S: Source>(
    content_type: &'static str,
    begun: io::Result<(Bytes, S)>,
) -> Result<Answer, Refusal> {
    let (first, source) = begun?;
    let rest = (!source.is_at_end()).then(|| Box::new(source) as Box<dyn Source>);
    Ok(Answer {
        content_type,
        first,
        rest,
    })
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Why a request has no answer.
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    const METHOD: Self = Self::new(StatusCode::METHOD_NOT_ALLOWED);
    const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND);

    const fn new(status: StatusCode) -> Self {
        Refusal {
            status,
            text: String::new(),
        }
    }

    fn response(self, ticket: Ticket) -> Response<Body> {
        let text = match self.text.as_str() {
            "" => format!("{}\n", self.status),
            text => format!("{}: {text}\n", self.status),
        };
        let mut response = response(self.status, TEXT, Body::whole(text.into(), ticket));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Refusal::NOT_FOUND,
            ErrorKind::InvalidInput => Refusal::new(StatusCode::BAD_REQUEST),
            ErrorKind::PermissionDenied => Refusal::new(StatusCode::FORBIDDEN),
            _ => Refusal {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                text: error.to_string(),
            },
        }
    }
}

/// A panic, or a pool that was closed.
impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        io::Error::from(error).into()
    }
}

/// A request that is under way: its permit, its deadline, and the token of its tasks. Dropped, it cancels them.
pub struct Ticket {
    pub deadline: Instant,
    pool: ThreadPool,
    counters: Arc<Counters>,
    token: CancelToken,
    has_ended: bool,
    _permit: Permit,
}

impl Ticket {
    fn new(service: &Service, permit: Permit) -> Self {
        Ticket {
            deadline: Instant::now() + service.deadline,
            pool: service.pool.clone(),
            counters: service.counters.clone(),
            token: CancelToken::new(),
            has_ended: false,
            _permit: permit,
        }
    }

    /// Submits a task of this request.
    pub fn submit<T: Send + 'static>(
        &self,
        priority: Priority,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> AbortOnDrop<T> {
        let task = self.pool.task().token(&self.token).priority(priority);
        task.submit(f).abort_on_drop()
    }

    /// Counts how the request has ended. Only the first call counts.
    pub fn end(&mut self, count: impl FnOnce(&Counters) -> &Count) {
        if !std::mem::replace(&mut self.has_ended, true) {
            count(&self.counters).add();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(|counters| &counters.abandoned);
        self.token.cancel();
    }
}
