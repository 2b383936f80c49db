//! Models of the parker.

use super::*;

/// A token that comes before the sleeper is kept.
#[test]
fn token_before_park() {
    small_model(|| {
        let parker = Parker::default();
        parker.unpark();
        parker.park();
    });
}

/// The sleeper is woken whether the token comes before or after it sleeps.
#[test]
fn unpark_against_park() {
    small_model(|| {
        let parker = Arc::new(Parker::default());
        let waker = Arc::clone(&parker);
        let thread = thread::spawn(move || waker.unpark());
        parker.park();
        thread.join().unwrap();
    });
}

/// Two wake-ups count as one or as two. A waiter that checks its condition after each of them sees both causes.
#[test]
fn two_unparks() {
    small_model(|| {
        let parker = Arc::new(Parker::default());
        let causes = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (parker, causes) = (Arc::clone(&parker), Arc::clone(&causes));
                thread::spawn(move || {
                    causes.fetch_add(1, Ordering::Relaxed);
                    parker.unpark();
                })
            })
            .collect();
        while causes.load(Ordering::Relaxed) < 2 {
            parker.park();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
