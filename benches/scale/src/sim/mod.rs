//! A discrete-event simulation of heist's fork-join scheduling.
//!
//! Each simulated thread has a state and at most one event to come. [`simulate`] takes the earliest event, has its thread act on the shared
//! state of the machine, and schedules the thread's next event. A thread goes on without an event while nobody else's comes first.

mod costs;
mod jobs;
mod kernel;
mod lines;
mod policy;
mod ring;
mod run;
mod scope;
mod search;
mod sleepers;
mod steal;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod wait;
mod wake;
mod world;

pub use costs::{Costs, Measured, Preset};
pub use policy::Policy;
pub use tally::Tally;
pub use world::Setup;

use crate::workload::Ns;
use run::Returned;
use scope::Next;
use steal::Looked;
use thread::{GUEST, Purpose, Resume, Scan, State, Step, Then, Wait};
use world::World;

/// Runs the simulation. Returns what each run of the program came to.
pub fn simulate(setup: Setup) -> Vec<Tally> {
    let bursts = setup.bursts;
    let mut world = World::new(setup);
    let mut tallies = Vec::new();
    world.threads[GUEST].state = State::Begin;
    world.schedule(0, GUEST);
    while tallies.len() < bursts
        && let Some((now, thread)) = world.next_event()
    {
        go_on(&mut world, thread, now, &mut tallies);
    }
    tallies
}

/// Lets a thread act until somebody else comes first.
fn go_on(world: &mut World, thread: usize, now: Ns, tallies: &mut Vec<Tally>) {
    let mut now = now;
    loop {
        let delay = std::mem::take(&mut world.threads[thread].delay);
        if delay > 0 {
            world.schedule(now + delay, thread);
            return;
        }
        let Some(next) = step(world, thread, now, tallies) else {
            return;
        };
        if tallies.len() == world.setup.bursts {
            return;
        }
        if world.is_overtaken(next) {
            world.schedule(next, thread);
            return;
        }
        now = next;
    }
}

fn step(world: &mut World, thread: usize, now: Ns, tallies: &mut Vec<Tally>) -> Step {
    match world.threads[thread].state {
        State::Asleep => None,
        State::Woken => woken(world, thread, now),
        State::Begin => world.begin_program(thread, now, tallies.len()),
        State::Ended => {
            // What threads did in the gap counts for the run before it.
            tallies.push(world.tally);
            world.begin_program(thread, now, tallies.len())
        }
        State::Run(node) => world.run_subtree(thread, now, node),
        State::Return => match world.return_from(thread, now) {
            Returned::Next(step) => step,
            Returned::Free(now) => world.next_work(thread, now),
            Returned::Ended(now) => ended(world, thread, now, tallies),
        },
        State::Wait(wait) => world.wait_round(thread, now, wait),
        State::Pause(wait) => world.pause_wait(thread, now, wait),
        State::TaskEnd => match world.end_task(thread, now) {
            Next::Step(step) => step,
            Next::Free(now) => world.next_work(thread, now),
        },
        State::ScopeWait(wait) => match world.wait_for_scope(thread, now, wait) {
            Some(step) => step,
            None => ended(world, thread, now, tallies),
        },
        State::Scan(scan) => look(world, thread, now, scan),
        State::Idle(search, round) => world.end_round(thread, now, search, round),
        State::Announced(then) => world.enter_barrier(thread, now, then),
        State::Barrier(then) => fenced(world, thread, now, then),
    }
}

/// The program has ended.
fn ended(world: &mut World, thread: usize, now: Ns, tallies: &mut Vec<Tally>) -> Step {
    if tallies.len() + 1 == world.setup.bursts {
        tallies.push(world.tally);
    }
    world.threads[thread].state = State::Ended;
    Some(now + world.setup.gap)
}

fn woken(world: &mut World, thread: usize, now: Ns) -> Step {
    world.running += 1;
    if world.setup.in_scope && thread == GUEST {
        world.resume_scope(now)
    } else if world.threads[thread].runs.is_empty() {
        world.threads[thread].claimed = false;
        world.wake_free(thread, now)
    } else {
        world.resume_wait(thread, now)
    }
}

fn fenced(world: &mut World, thread: usize, now: Ns, then: Then) -> Step {
    match then {
        Then::ParkFree(seen) => world.end_free_barrier(thread, now, seen),
        Then::ParkBound { freed } => world.look_before_parking(thread, now, true, freed),
        Then::Force {
            victim,
            epoch,
            resume,
        } => match (world.end_force(thread, victim, now, epoch), resume) {
            (Some(now), Resume::Scan(scan)) => began(world, thread, now, scan, victim),
            (Some(now), Resume::Wait(_)) => Some(now),
            (None, Resume::Scan(scan)) => {
                world.threads[thread].state = State::Scan(scan);
                Some(now)
            }
            (None, Resume::Wait(wait)) => {
                world.threads[thread].state = State::Pause(wait);
                Some(now)
            }
        },
    }
}

fn look(world: &mut World, thread: usize, now: Ns, mut scan: Scan) -> Step {
    if let Purpose::Wait(wait) = scan.purpose
        && world.setup.policy.peeks
        && world.jobs.get(scan.below).done
    {
        world.threads[thread].state = State::Wait(wait);
        return Some(now);
    }
    match world.look_on(thread, now, &mut scan) {
        Looked::Later(later) => {
            world.threads[thread].state = State::Scan(scan);
            Some(later)
        }
        Looked::Began(now, victim) => began(world, thread, now, scan, victim),
        Looked::Force(now, victim) => world.force(thread, victim, now, Resume::Scan(scan)),
        Looked::Nothing(now) => nothing(world, thread, now, scan),
    }
}

/// The look has ended with a fork that the thread has begun to run.
fn began(world: &mut World, thread: usize, now: Ns, scan: Scan, victim: usize) -> Step {
    let public = world.rings[victim].public();
    match scan.purpose {
        Purpose::Free(_) => {
            let searched = world.threads[thread].searching;
            let now = world.stop_searching(thread, now, public);
            Some(if searched {
                world.spread(thread, now)
            } else {
                now
            })
        }
        Purpose::Wait(_) => Some(now),
        Purpose::Park { .. } | Purpose::Help => Some(world.end_parking(thread, now, public)),
    }
}

/// The look has found nothing.
fn nothing(world: &mut World, thread: usize, now: Ns, scan: Scan) -> Step {
    match scan.purpose {
        Purpose::Free(search) => {
            world.threads[thread].state = State::Idle(search, scan.round);
            Some(now)
        }
        Purpose::Wait(wait) => {
            world.threads[thread].state = State::Pause(wait);
            let deques = if world.setup.policy.skips_parked {
                world.slots as Ns * world.setup.costs.clean_line
            } else {
                0
            };
            Some(now + deques)
        }
        Purpose::Park { fenced, freed } => world.end_parking_look(thread, now, fenced, freed),
        Purpose::Help => {
            world.threads[thread].state = State::Wait(Wait::default());
            Some(world.end_parking(thread, now, 0))
        }
    }
}
