//! The worker's loop: which tasks it has, and what it asks the server for.
//!
//! A task that the server has delivered is *in hand* until there is a place for it, then it is *served* ([`serve`](super::serve)), which begins with a claim. What is in hand
//! belongs to nobody yet, so it can be given back at any time. A worker asks each lane for as many tasks as it has room for, the most urgent lane first, and asks a lane below only if
//! those above are empty. A request waits at the server until a task comes. So a worker can get more than it has room for, and gives that back when it had to wait.

use super::names::{Key, LANES};
use super::record;
use super::serve;
use super::station::{Asked, Delivery, Place, State, Station, delivery_of};
use crate::Executor;
use async_nats::{Message, StatusCode, Subscriber};
use futures_util::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long a request waits at the server.
const EXPIRES: Duration = Duration::from_secs(20);

/// A task that has waited so long for a place is given back.
const LATE: Duration = Duration::from_millis(20);

/// How many tasks a worker has in hand for each place: as many as it runs in this time, at most [`AHEAD_MAX`]. Requests are then fewer and answers faster than tasks end.
const AHEAD: Duration = Duration::from_millis(4);
const AHEAD_MAX: usize = 64;

/// Of tasks shorter than this, some are claimed while others run, because a claim takes longer than they do.
const SHORT: Duration = Duration::from_micros(200);

/// The most messages that are taken in before tasks begin.
const TOGETHER: usize = 16;

/// How long the key of a cancelled task is remembered, whose message can come later.
const MEMORY: Duration = Duration::from_secs(60);

/// What the loop listens to.
struct Sources {
    inbox: String,
    tasks: Subscriber,
    cancels: Subscriber,
    questions: Subscriber,
    pings: Subscriber,
}

impl Station {
    /// Runs tasks until a signal comes.
    pub(super) async fn run(self: &Arc<Self>) -> Result<(), String> {
        let mut sources = self.listen().await.map_err(|error| error.to_string())?;
        let signals = || {
            Ok::<_, std::io::Error>((
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            ))
        };
        let (mut terminate, mut interrupt) =
            signals().map_err(|error| format!("no signals: {error}"))?;
        let mut beat = tokio::time::interval(self.link.ack_wait / 3);
        let mut late = tokio::time::interval(LATE / 2);
        late.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut connections = self.link.connections();
        let mut end_at = None;
        self.announce(false).await;
        loop {
            self.begin_tasks();
            self.ask(&sources.inbox).await;
            if end_at.is_some() && self.lock().is_idle() {
                break;
            }
            let is_leaving = end_at.is_some();
            let in_hand = !is_leaving && self.lock().hand.iter().any(|lane| !lane.is_empty());
            tokio::select! {
                message = sources.tasks.next(), if !is_leaving => match message {
                    Some(message) => {
                        self.receive(message).await;
                        for _ in 0..TOGETHER {
                            let Some(Some(message)) = sources.tasks.next().now_or_never() else {
                                break;
                            };
                            self.receive(message).await;
                        }
                    }
                    None => return Err("the connection has ended".to_owned()),
                },
                Some(message) = sources.cancels.next() => self.cancel(&message).await,
                Some(message) = sources.questions.next() => self.answer(&message).await,
                Some(message) = sources.pings.next() => self.pong(&message).await,
                () = self.wake.notified() => {}
                _ = late.tick(), if in_hand => self.give_back_late().await,
                _ = beat.tick() => self.heartbeat().await,
                _ = connections.changed() => {
                    connections.borrow_and_update();
                    // After a reconnect the server no longer knows the requests for tasks of the connection before.
                    self.lock().asked = Default::default();
                    self.announce(false).await;
                }
                _ = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
                    if is_leaving {
                        self.force();
                    } else {
                        end_at = tokio::time::Instant::now().checked_add(self.settings.drain_timeout);
                        end_at.get_or_insert_with(|| tokio::time::Instant::now() + EXPIRES * 1000);
                        self.leave(&mut sources.tasks).await;
                    }
                }
                () = sleep_until(end_at), if is_leaving => {
                    if !self.force() {
                        break;
                    }
                    end_at = Some(tokio::time::Instant::now() + self.settings.grace + Duration::from_secs(5));
                }
            }
        }
        self.announce(true).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.link.client.flush()).await;
        Ok(())
    }

    async fn listen(&self) -> Result<Sources, async_nats::SubscribeError> {
        let client = &self.link.client;
        let subject = |rest: &str| self.link.names.subject(rest);
        let inbox = client.new_inbox();
        Ok(Sources {
            tasks: client.subscribe(format!("{inbox}.*")).await?,
            cancels: client.subscribe(subject("cancel.>")).await?,
            questions: client
                .subscribe(subject(&format!("worker.{}", self.name)))
                .await?,
            pings: client.subscribe(subject("ping")).await?,
            inbox,
        })
    }

    /// How many tasks may be served, and how many may be in hand beside them.
    fn room(&self, state: &State) -> (usize, usize) {
        let places = self.settings.places;
        let Some(mean) = state.mean else {
            return (places, 0);
        };
        let per = |time: Duration| (time.as_nanos() / mean.as_nanos().max(1)).min(1 << 20) as usize;
        (
            places + per(SHORT).min(self.settings.claims_ahead),
            (per(AHEAD).saturating_mul(places)).min(AHEAD_MAX),
        )
    }

    /// Serves what is in hand, as far as there are places.
    fn begin_tasks(self: &Arc<Self>) {
        let mut state = self.lock();
        let (places, _) = self.room(&state);
        while state.busy < places {
            let Some(delivery) = state.hand.iter_mut().find_map(VecDeque::pop_front) else {
                return;
            };
            state.busy += 1;
            let place = Place(Arc::clone(self));
            tokio::spawn(serve::serve(place, delivery));
        }
    }

    /// Asks the server for tasks.
    async fn ask(&self, inbox: &str) {
        let mut requests = [0; 3];
        {
            let mut state = self.lock();
            if state.is_leaving {
                return;
            }
            let (places, ahead) = self.room(&state);
            let in_hand: usize = state.hand.iter().map(VecDeque::len).sum();
            let free = (places + ahead).saturating_sub(state.busy + in_hand);
            for (lane, request) in requests.iter_mut().enumerate() {
                // A worker without a free place still asks for one task of high priority, which it runs as soon as a place is free.
                let wanted = match lane {
                    0 if state.hand[0].is_empty() => free.max(1),
                    _ => free,
                };
                let asked = &mut state.asked[lane];
                if asked.until.is_some_and(|until| until < Instant::now()) {
                    *asked = Asked::default();
                }
                if asked.count < wanted.div_ceil(2) {
                    *request = wanted - asked.count;
                    asked.count = wanted;
                    asked.until = Some(Instant::now() + EXPIRES + Duration::from_secs(2));
                }
                if state.has_more[lane] {
                    break;
                }
            }
        }
        for (lane, count) in requests.into_iter().enumerate() {
            if count == 0 {
                continue;
            }
            let body = format!(r#"{{"batch":{count},"expires":{}}}"#, EXPIRES.as_nanos());
            let stream = self.link.names.todo_stream();
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{}", LANES[lane]);
            let client = &self.link.client;
            let _ = client
                .publish_with_reply(subject, format!("{inbox}.{lane}"), body.into())
                .await;
        }
    }

    /// Takes a task in hand, or a word of the server about a request.
    async fn receive(&self, message: Message) {
        let Some((lane, key)) = self.link.names.read_todo(&message.subject) else {
            return self.note_status(&message);
        };
        let key: Key = key.into();
        let (times, pending) = message.reply.as_deref().map_or((1, 0), delivery_of);
        let unwanted = {
            let mut state = self.lock();
            let asked = &mut state.asked[lane].count;
            *asked = asked.saturating_sub(1);
            state.has_more[lane] = pending > 0;
            if let Some(running) = state.running.get_mut(&key) {
                // It was delivered again, perhaps after a crash of the server: from now on this delivery is acknowledged.
                running.reply = message.reply;
                return;
            }
            state.hand[lane].retain(|delivery| delivery.key != key);
            let is_cancelled = state.cancelled.contains_key(&key);
            if is_cancelled {
                Some(&b"+ACK"[..])
            } else if state.is_leaving {
                Some(&b"-NAK"[..])
            } else {
                let headers = message.headers.as_ref();
                let tries = headers.and_then(|headers| record::number(headers, record::TRIES));
                state.hand[lane].push_back(Delivery {
                    key,
                    message: message.clone(),
                    times,
                    came: Instant::now(),
                    tries: tries.unwrap_or(1),
                });
                None
            }
        };
        if let (Some(word), Some(reply)) = (unwanted, message.reply) {
            self.reply(reply, word).await;
        }
    }

    /// Notes that a request has ended.
    fn note_status(&self, message: &Message) {
        let lane = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|lane| lane.parse::<usize>().ok());
        let Some(lane) = lane.filter(|lane| *lane < 3) else {
            return;
        };
        if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
            return;
        }
        let pending = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"));
        let pending = pending.and_then(|pending| pending.as_str().parse::<usize>().ok());
        let mut state = self.lock();
        let asked = &mut state.asked[lane];
        asked.count = pending.map_or(0, |pending| asked.count.saturating_sub(pending));
        state.has_more[lane] = false;
    }

    /// Gives back what waits for a place for too long: another worker may have one.
    async fn give_back_late(&self) {
        let late = {
            let mut state = self.lock();
            if state.busy < self.room(&state).0 {
                return;
            }
            let mut late = Vec::new();
            for lane in &mut state.hand {
                while lane
                    .front()
                    .is_some_and(|delivery| delivery.came.elapsed() > LATE)
                {
                    late.extend(lane.pop_front());
                }
            }
            if !late.is_empty() {
                // A task has waited too long for a place, so tasks take longer than the mean says. A larger mean keeps this worker from asking ahead.
                state.mean = state.mean.map(|mean| mean.max(AHEAD * 2));
            }
            late
        };
        for delivery in late {
            if let Some(reply) = delivery.message.reply {
                self.reply(reply, b"-NAK").await;
            }
        }
    }

    /// Tells the server that this worker lives and has its tasks.
    async fn heartbeat(&self) {
        let replies: Vec<_> = {
            let mut state = self.lock();
            state.cancelled.retain(|_, at| at.elapsed() < MEMORY);
            // By now another worker has run a task that this worker does not know, or has refused it.
            let unknown_for = self.settings.unknown_for * 2;
            state
                .unknown
                .retain(|_, since| since.elapsed() < unknown_for);
            let in_hand = state
                .hand
                .iter()
                .flatten()
                .filter_map(|delivery| delivery.message.reply.clone());
            let running = state
                .running
                .values()
                .filter_map(|running| running.reply.clone());
            in_hand.chain(running).collect()
        };
        for reply in replies {
            self.reply(reply, b"+WPI").await;
        }
    }

    /// A client does not want a task any more.
    async fn cancel(&self, message: &Message) {
        let Some(key) = self.link.names.read("cancel", &message.subject) else {
            return;
        };
        let mut dropped = Vec::new();
        let token = {
            let mut state = self.lock();
            state.cancelled.insert(key.into(), Instant::now());
            for lane in &mut state.hand {
                if let Some(place) = lane.iter().position(|delivery| &*delivery.key == key) {
                    dropped.extend(lane.remove(place));
                }
            }
            state.running.get(key).map(|running| running.token.clone())
        };
        if let Some(token) = token {
            token.cancel();
        }
        for delivery in dropped {
            if let Some(reply) = delivery.message.reply {
                self.reply(reply, b"+ACK").await;
            }
        }
    }

    /// Another worker asks whether this one runs a task.
    async fn answer(&self, question: &Message) {
        let key = String::from_utf8_lossy(&question.payload);
        let runs = self.lock().running.contains_key(&*key);
        if let Some(reply) = &question.reply {
            self.reply(reply.clone(), if runs { b"yes" } else { b"no" })
                .await;
        }
    }

    async fn pong(&self, ping: &Message) {
        if let Some(reply) = &ping.reply {
            let notice = self.notice(false, &*ping.payload == b"running");
            let notice = serde_json::to_vec(&notice).unwrap_or_default();
            let _ = self.link.client.publish(reply.clone(), notice.into()).await;
        }
    }

    async fn announce(&self, is_leaving: bool) {
        let notice = serde_json::to_vec(&self.notice(is_leaving, false)).unwrap_or_default();
        self.link.say(self.link.names.subject("here"), notice).await;
    }

    /// Takes no more tasks, and gives back those that have not begun.
    async fn leave(&self, tasks: &mut Subscriber) {
        let in_hand: Vec<Delivery> = {
            let mut state = self.lock();
            state.is_leaving = true;
            state.hand.iter_mut().flat_map(std::mem::take).collect()
        };
        for delivery in in_hand {
            if let Some(reply) = delivery.message.reply {
                self.reply(reply, b"-NAK").await;
            }
        }
        // The server sends tasks until it learns that this worker takes no more. They are given back too.
        let _ = tasks.drain().await;
        let rest = async {
            while let Some(message) = tasks.next().await {
                self.receive(message).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
    }

    /// Ends what runs. Returns whether that has an effect: threads cannot be stopped.
    fn force(self: &Arc<Self>) -> bool {
        let was_forced = std::mem::replace(&mut self.lock().is_forced, true);
        if !self.settings.isolate || was_forced {
            return false;
        }
        let station = Arc::clone(self);
        // The shutdown waits for the processes to end, so it runs on a thread of its own.
        let thread = std::thread::Builder::new().name("heist-force".to_owned());
        thread.spawn(move || station.backend.shutdown_now()).is_ok()
    }
}

async fn sleep_until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
