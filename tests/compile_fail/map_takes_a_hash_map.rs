// A hash map cannot be cut in two.
//@ E0277: a map cannot run over `&HashMap<

use std::collections::HashMap;

fn main() {
    let ages = HashMap::from([("ada", 36)]);
    heist::map(&ages, |(_, age)| age + 1);
}
