//! A scope whose tasks spawn on a worker, which counts them by credits.

use super::*;

both_flavours! {
    /// A worker has run a task and what that has spawned. It gives back credits while the owner of the scope parks.
    credits_given_back_against_the_owner: model, || {
        loom::stop_exploring();
        let pool = pool(2, 0);
        let (begun, gate) = (Gate::default(), Gate::default());
        let places = [Place::default(), Place::default()];
        // The assertion comes before the guest leaves, because the fences of leaving would order the writes too.
        as_owner(|| pool.install(|| {
            scope(|s| {
                let (begin, go) = (begun.clone(), gate.clone());
                let places = &places;
                s.spawn(move |s| {
                    s.spawn(move |_| {
                        begin.open();
                        go.pass();
                        places[1].set(1);
                    });
                    places[0].set(1);
                });
                begun.pass();
                loom::explore();
                gate.open();
            });
            assert_eq!((places[0].get(), places[1].get()), (1, 1));
        }));
        end(pool);
    };
}
