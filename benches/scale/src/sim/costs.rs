//! What the operations of the model cost, with the origin of each figure.

use crate::workload::Ns;
use clap::ValueEnum;

/// From where the costs come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A machine of its own: a cheap interrupt, fast wake-ups.
    Bare,
    /// A virtual machine: an interrupt leaves the guest.
    Vm,
    /// Measured on this machine where one machine can tell; the rest is that of `vm`.
    Measured,
}

/// Durations in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// From the call that wakes a thread until the thread runs.
    pub wake_latency: Ns,
    /// The waker's own time.
    pub wake_call: Ns,
    /// From the call that starts a thread until the thread runs.
    pub start_latency: Ns,
    /// A membarrier on a machine where nothing else runs.
    pub barrier_base: Ns,
    /// What each further running thread adds to a membarrier.
    pub barrier_per_thread: Ns,
    /// What a membarrier takes from each thread that it interrupts.
    pub interrupt: Ns,
    /// A look at a line that has not changed since the last look.
    pub clean_line: Ns,
    /// A look at a line that another core of the same socket has written.
    pub dirty_line: Ns,
    /// A look at a line that a core of another socket has written.
    pub remote_line: Ns,
    /// A read-modify-write of a line that this core owns.
    pub own_cas: Ns,
    /// A read-modify-write of a line that another core has written.
    pub dirty_cas: Ns,
    /// The answer to a share request, besides the wake-ups that follow.
    pub answer: Ns,
    /// The slow path of a pop, and the reset of a stolen place.
    pub slow_pop: Ns,
    /// A push.
    pub push: Ns,
    /// A pop that takes a private fork back.
    pub pop: Ns,
    /// How long the idle list is locked for one change.
    pub lock: Ns,
    /// One spin hint.
    pub spin_hint: Ns,
    /// The epoch pin for the probe of an empty deque.
    pub pin: Ns,
    /// What each participating thread adds to an attempt to advance the epoch.
    pub advance_per_thread: Ns,
}

/// Figures that one machine can tell, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// See [`Costs::barrier_base`].
    pub barrier_base: Ns,
    /// See [`Costs::barrier_per_thread`].
    pub barrier_per_thread: Ns,
    /// See [`Costs::wake_latency`].
    pub wake_latency: Ns,
    /// See [`Costs::wake_call`].
    pub wake_call: Ns,
    /// See [`Costs::pin`].
    pub pin: Ns,
    /// See [`Costs::clean_line`].
    pub clean_line: Ns,
    /// See [`Costs::own_cas`].
    pub own_cas: Ns,
    /// See [`Costs::spin_hint`].
    pub spin_hint: Ns,
}

impl Costs {
    /// The costs of a machine without a hypervisor.
    pub fn bare() -> Self {
        Costs {
            wake_latency: 12_000,
            wake_call: 2_500,
            start_latency: 60_000,
            barrier_base: 1_000,
            barrier_per_thread: 200,
            interrupt: 1_000,
            clean_line: 5,
            dirty_line: 90,
            remote_line: 220,
            own_cas: 20,
            dirty_cas: 100,
            answer: 150,
            slow_pop: 40,
            push: 3,
            pop: 2,
            lock: 250,
            spin_hint: 15,
            pin: 7,
            advance_per_thread: 13,
        }
    }

    /// The costs of a virtual machine.
    pub fn vm() -> Self {
        Costs {
            wake_latency: 35_000,
            wake_call: 8_000,
            start_latency: 120_000,
            barrier_base: 2_000,
            barrier_per_thread: 950,
            interrupt: 3_000,
            ..Self::bare()
        }
    }

    /// The measured figures, and those of a virtual machine for the rest.
    pub fn measured(measured: Measured) -> Self {
        Costs {
            wake_latency: measured.wake_latency,
            wake_call: measured.wake_call,
            barrier_base: measured.barrier_base,
            barrier_per_thread: measured.barrier_per_thread,
            pin: measured.pin,
            clean_line: measured.clean_line,
            own_cas: measured.own_cas,
            spin_hint: measured.spin_hint,
            ..Self::vm()
        }
    }

    /// Name, figure and origin of each cost. `preset` says which figures were measured just now.
    pub fn table(&self, preset: Preset) -> Vec<[String; 3]> {
        const NOROV: &str = "literature: broadcast to 112 CPUs, 23 us on a host, 107 us in a guest \
                             (Y. Norov's IPI benchmark, linux-arm-kernel, December 2017)";
        const GUESS: &str = "assumption";
        const EARLIER: &str = "measured on a 2-core EPYC, 2026-11-29";
        let now = |origin: &str| match preset {
            Preset::Measured => "measured just now".to_owned(),
            Preset::Bare | Preset::Vm => origin.to_owned(),
        };
        let row =
            |name: &str, figure: Ns, origin: String| [name.into(), figure.to_string(), origin];
        vec![
            row("membarrier alone", self.barrier_base, now(NOROV)),
            row(
                "membarrier, each running thread",
                self.barrier_per_thread,
                now(NOROV),
            ),
            row("interrupt, for its target", self.interrupt, GUESS.into()),
            row(
                "wake-up, until the thread runs",
                self.wake_latency,
                now(GUESS),
            ),
            row("wake-up, the waker's time", self.wake_call, now(GUESS)),
            row(
                "thread start, until it runs",
                self.start_latency,
                GUESS.into(),
            ),
            row("look at a clean line", self.clean_line, now(EARLIER)),
            row(
                "look at a line of the same socket",
                self.dirty_line,
                GUESS.into(),
            ),
            row(
                "look at a line of another socket",
                self.remote_line,
                GUESS.into(),
            ),
            row(
                "read-modify-write of an own line",
                self.own_cas,
                now(EARLIER),
            ),
            row(
                "read-modify-write of another's line",
                self.dirty_cas,
                "assumption: 5-10 M a second over two sockets".into(),
            ),
            row("epoch pin of an empty deque", self.pin, now(EARLIER)),
            row(
                "epoch advance, each thread",
                self.advance_per_thread,
                EARLIER.into(),
            ),
            row(
                "spin hint",
                self.spin_hint,
                now("assumption: Zen; Skylake has 140 cycles"),
            ),
            row("lock of the idle list", self.lock, GUESS.into()),
            row("answer to a share request", self.answer, GUESS.into()),
            row("slow pop", self.slow_pop, GUESS.into()),
            row("push", self.push, EARLIER.into()),
            row("pop", self.pop, EARLIER.into()),
        ]
    }
}
