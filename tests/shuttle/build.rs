//! Builds heist for shuttle. A compiler flag would reach every dependency too.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(heist_shuttle)");
    println!("cargo::rustc-cfg=heist_shuttle");
    println!("cargo::rustc-check-cfg=cfg(heist_lines)");
    if std::env::var_os("CARGO_FEATURE_LINES").is_some() {
        println!("cargo::rustc-cfg=heist_lines");
    }
}
