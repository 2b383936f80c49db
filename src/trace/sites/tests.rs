//! Names of sites.

use super::*;

#[test]
fn a_map_is_named_after_the_closure_that_it_calls() {
    let name = "heist::fork::map::drive::Plan<heist::fork::map::source::SliceSource<app::Item>, \
                heist::fork::map::map<&[app::Item], app::parse<u8>::{{closure}}>::{{closure}}, ()>::halve::{{closure}}";
    assert_eq!(users_part(name), Some("app::parse<u8>::{{closure}}"));
    assert_eq!(users_part("heist::future::Sleep"), None);
}

#[test]
fn parameters_are_found_at_each_level() {
    let all: Vec<_> = parameters("a<b<c, d>, fn(e) -> f>::g<h>").collect();
    assert_eq!(all, ["b<c, d>", "fn(e) -> f", "h"]);
}
