// A handle of borrowed data does not live as long as a detached thread may.
//@ E0597: `text` does not live long enough

fn main() {
    let text = String::from("gone at the end of main");
    heist::scope(|s| {
        let handle = s.submit(|_| text.as_str());
        std::thread::spawn(move || handle.join());
    });
}
