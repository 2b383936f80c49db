use super::{Costs, Policy, Setup, Tally, simulate};
use crate::workload::{Node, Ns, Parts, Shape, Workload};

fn setup(threads: usize, policy: &str) -> Setup {
    Setup {
        threads,
        spares: threads,
        workload: Workload::of(Shape::Random, threads, 500_000, 1_000),
        bursts: 2,
        gap: 100_000,
        costs: Costs::bare(),
        in_scope: false,
        policy: Policy::parse(policy).expect("a policy"),
        seed: 7,
    }
}

fn serial_time(workload: &Workload, node: Node) -> Ns {
    match workload.expand(node) {
        Parts::Leaf(time) => time,
        Parts::Fork(first, second) => serial_time(workload, first) + serial_time(workload, second),
    }
}

const POLICIES: [&str; 6] = [
    "before",
    "heist",
    "before+narrow",
    "heist+jump+cap",
    "before+look+near",
    "before+calm+crowd+pair",
];

/// Checks that the threads do the work of the serial program, with forks or with the tasks of a scope, and that none sleeps for ever.
fn assert_all_work_is_done(policies: &[&str], in_scope: bool) {
    for policy in policies {
        for threads in [1, 2, 7, 64] {
            let setup = Setup {
                in_scope,
                ..setup(threads, policy)
            };
            let (workload, seed, bursts) = (setup.workload, setup.seed, setup.bursts);
            let tallies = simulate(setup);
            assert_eq!(
                tallies.len(),
                bursts,
                "{policy}, {threads}: a thread sleeps for ever"
            );
            for (burst, tally) in (0..).zip(tallies) {
                let work = serial_time(&workload, workload.root(seed + 77 * burst));
                assert_eq!(tally.work, work, "{policy}, {threads}");
            }
        }
    }
}

#[test]
fn each_leaf_runs_once() {
    assert_all_work_is_done(&POLICIES, false);
}

#[test]
fn each_task_of_a_scope_runs_once() {
    assert_all_work_is_done(&["heist", "heist+leaves", "before"], true);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let counts = |tally: &Tally| (tally.span, tally.steals, tally.probes, tally.membarriers);
    let run = || {
        simulate(setup(16, "heist"))
            .iter()
            .map(counts)
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn no_run_is_faster_than_its_threads() {
    for policy in POLICIES {
        for tally in simulate(setup(8, policy)) {
            assert!(tally.efficiency(8) <= 1.0, "{policy}: {tally:?}");
        }
    }
}

#[test]
fn an_unknown_policy_or_option_is_an_error() {
    assert!(Policy::parse("later").is_err());
    assert!(Policy::parse("heist+magic").is_err());
    assert!(Policy::parse("before+check+spread").is_ok());
}
