//! The thread of a pool of processes: it starts workers, reads what they send, notices their ends, and keeps the time.
//!
//! Workers are started from this thread only. The kernel kills a worker when the thread that started it ends, and this one lives as long as the pool.

use super::member::Member;
use super::os::{self, Watched};
use super::shared::Shared;
use super::state::{Depth, Effects, Gate, OWN_FAILURE};
use super::wire::{Inbox, Rubbish};
use crate::unwind;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the thread knows of a worker beside the shared state.
struct Peer {
    id: u64,
    data: Arc<UnixStream>,
    inbox: Inbox,
    /// Becomes readable when the process ends.
    process: Option<Arc<OwnedFd>>,
    /// The socket has ended.
    is_at_end: bool,
}

/// Bytes that are read from one worker before the others get their turn.
const TURN_BYTES: usize = 1 << 20;

/// How long the thread waits between two looks at a process that should end, if there is no descriptor for it.
const LOOK: Duration = Duration::from_millis(1);

/// How long it waits if nothing says that the process should end. A child of the process can keep the socket open.
const LOOK_ALIVE: Duration = Duration::from_millis(50);

/// Workers that are started before the thread serves the others.
const START_AT_ONCE: usize = 4;

/// Runs the thread until the pool has ended.
pub(super) fn run(shared: &Arc<Shared>, wake: UnixStream) {
    let mut thread = Thread {
        shared: Arc::clone(shared),
        wake,
        peers: Vec::new(),
        next_id: 1,
    };
    let result = unwind::catch(|| while thread.turn() {});
    let mut effects = Effects::default();
    let mut state = shared.lock();
    state.gate = Gate::Closed;
    state.is_over = true;
    state.drop_queued(&mut effects);
    // Nothing is left here, unless this thread has panicked. Then the promises of what was under way are broken, and the workers end with this thread.
    let mut left = std::mem::take(&mut state.members);
    left.iter_mut().for_each(|member| member.kill(None));
    drop(state);
    shared.settle(effects, None);
    drop(left);
    shared.notify();
    if let Err(payload) = result {
        unwind::drop_quietly(payload);
    }
}

struct Thread {
    shared: Arc<Shared>,
    wake: UnixStream,
    peers: Vec<Peer>,
    next_id: u64,
}

impl Thread {
    /// Does what there is to do, and waits for more. Returns whether the pool goes on.
    fn turn(&mut self) -> bool {
        self.start_missing();
        let (is_over, timeout) = self.keep_house();
        if is_over {
            return false;
        }
        let mut watched = self.watched();
        os::poll(&mut watched, timeout);
        let mut watched = watched.iter();
        if watched.next().is_some_and(Watched::is_readable) {
            // The socket does not block, and bytes that stay wake the thread again.
            let _ = self.wake.read(&mut [0; 64]);
        }
        // After the bytes were read: a wake-up that writes another one from now on finds it in the socket.
        self.shared.was_woken();
        let mut ready = Vec::new();
        for peer in &self.peers {
            let data = watched.next().is_some_and(Watched::is_ready);
            let ended = peer.process.is_some() && watched.next().is_some_and(Watched::is_readable);
            if data || ended || peer.process.is_none() {
                ready.push((peer.id, ended));
            }
        }
        for (id, ended) in ready {
            self.serve(id, ended);
        }
        true
    }

    /// What the thread waits for: a wake-up, then for each worker its socket, and the end of its process if there is a descriptor.
    fn watched(&self) -> Vec<Watched> {
        let mut watched = vec![Watched::new(self.wake.as_fd(), false)];
        let state = self.shared.lock();
        for peer in &self.peers {
            let member = state.members.iter().find(|member| member.id == peer.id);
            let writes = member.is_some_and(Member::wants_to_write);
            watched.push(if peer.is_at_end {
                // A socket that has ended is always readable.
                Watched::new(self.wake.as_fd(), false)
            } else {
                Watched::new(peer.data.as_fd(), writes)
            });
            if let Some(process) = &peer.process {
                watched.push(Watched::new(process.as_fd(), false));
            }
        }
        watched
    }

    /// Starts the workers that are missing.
    fn start_missing(&mut self) {
        let missing = {
            let state = self.shared.lock();
            let waits = state.start_after.is_some_and(|time| time > Instant::now());
            if waits { 0 } else { state.missing() }
        };
        for _ in 0..missing.min(START_AT_ONCE) {
            let id = self.next_id;
            self.next_id += 1;
            let started = Member::start(id, &self.shared.launch, self.shared.start_timeout);
            let mut state = self.shared.lock();
            match started {
                Ok(member) => {
                    self.peers.push(Peer {
                        id,
                        data: Arc::clone(&member.data),
                        inbox: Inbox::default(),
                        process: member.process(),
                        is_at_end: false,
                    });
                    state.started(member);
                }
                Err(error) => {
                    state.start_failed(format!("the system refused: {error}"), OWN_FAILURE);
                    return;
                }
            }
        }
    }

    /// Brings the state up to date. Returns whether the pool has ended, and how long the thread may wait.
    fn keep_house(&mut self) -> (bool, Option<Duration>) {
        let cancelled = self.shared.take_cancelled();
        let mut effects = Effects::default();
        let mut state = self.shared.lock();
        for id in cancelled {
            state.cancel(id);
        }
        state.close_if_drained();
        state.let_go();
        state.rebalance();
        self.shared.dispatch(&mut state, Depth::Full, &mut effects);
        state.refuse_if_stuck(&mut effects);
        let now = Instant::now();
        let mut next = state.tick(now);
        for look in self.peers.iter().filter_map(Peer::look_after) {
            let look = now + look;
            next = Some(next.map_or(look, |next| next.min(look)));
        }
        let is_over = state.gate == Gate::Closed && state.members.is_empty();
        drop(state);
        self.shared.notify();
        self.shared.settle(effects, None);
        (
            is_over,
            next.map(|next| next.saturating_duration_since(now)),
        )
    }

    /// Reads what a worker has sent, and notices its end.
    fn serve(&mut self, id: u64, has_ended: bool) {
        let Some(index) = self.peers.iter().position(|peer| peer.id == id) else {
            return;
        };
        // The end of the process is looked up before the socket is read: what is read afterwards includes the last bytes of a process that has ended.
        let has_ended = has_ended || self.has_ended_unseen(index);
        let mut total = 0;
        loop {
            let peer = &mut self.peers[index];
            if peer.is_at_end || (total >= TURN_BYTES && !has_ended) {
                break;
            }
            match peer.inbox.fill(&*peer.data) {
                Ok(0) => peer.is_at_end = true,
                Ok(count) => {
                    total += count;
                    self.understand(index);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => peer.is_at_end = true,
            }
        }
        self.peers[index].inbox.shrink();
        self.bury(index, has_ended);
    }

    /// Whether a process has ended for which there is no descriptor.
    fn has_ended_unseen(&self, index: usize) -> bool {
        let peer = &self.peers[index];
        if peer.process.is_some() {
            return false;
        }
        let mut state = self.shared.lock();
        let mut members = state.members.iter_mut();
        let member = members.find(|member| member.id == peer.id);
        member.is_none_or(|member| member.ended().is_some())
    }

    /// Obeys the complete messages in a worker's inbox.
    fn understand(&mut self, index: usize) {
        let shared = Arc::clone(&self.shared);
        let peer = &mut self.peers[index];
        let mut effects = Effects::default();
        let mut state = shared.lock();
        loop {
            // A message can be longer than a result, by its own fields.
            let place = peer
                .inbox
                .next(shared.defaults.max_message.saturating_add(1 << 16));
            let understood = match place {
                Ok(None) => break,
                Ok(Some(place)) => {
                    let message = peer.inbox.get(place.clone());
                    state.message(peer.id, place.start, message, &mut effects)
                }
                Err(rubbish) => Err(rubbish),
            };
            if let Err(Rubbish) = understood {
                state.kill_for_rubbish(peer.id);
                peer.is_at_end = true;
                break;
            }
        }
        shared.dispatch(&mut state, Depth::Full, &mut effects);
        drop(state);
        shared.settle(effects, Some(&self.peers[index].inbox));
    }

    /// Takes the end of a worker into account, if it has ended.
    fn bury(&mut self, index: usize, has_ended: bool) {
        let peer = &self.peers[index];
        let mut effects = Effects::default();
        let mut state = self.shared.lock();
        if has_ended || peer.is_at_end {
            let id = peer.id;
            let status = state
                .members
                .iter_mut()
                .find(|member| member.id == id)
                .map(|member| {
                    member.ends_soon();
                    member.ended()
                });
            match status {
                Some(None) => {}
                Some(Some(status)) => {
                    state.buried(id, status, &mut effects);
                    self.peers.swap_remove(index);
                }
                None => drop(self.peers.swap_remove(index)),
            }
        } else if let Some(member) = state.members.iter_mut().find(|member| member.id == peer.id) {
            member.write();
        }
        drop(state);
        self.shared.settle(effects, None);
    }
}

impl Peer {
    /// How soon to look at the process, if only looking shows whether it has ended.
    fn look_after(&self) -> Option<Duration> {
        let look = if self.is_at_end { LOOK } else { LOOK_ALIVE };
        self.process.is_none().then_some(look)
    }
}
