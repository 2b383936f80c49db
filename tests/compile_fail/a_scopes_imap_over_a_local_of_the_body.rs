// The items of a scope's stream may run after the body has ended.
//@ E0597: `names` does not live long enough

fn main() {
    heist::scope(|s| {
        let names = vec![String::from("ada")];
        s.imap(&names, |name| name.len()).next();
    });
}
