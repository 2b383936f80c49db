// Where the next line begins is known only when the one before has been read.
//@ E0277: a map cannot run over `std::str::Lines<

fn main() {
    heist::global().for_each("to be\nor not".lines(), |line| println!("{line}"));
}
