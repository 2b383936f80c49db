// `heist::init` comes before any runtime.
//@ none: #[heist::main] needs a plain `fn main`

#[heist::main]
async fn main() {}
