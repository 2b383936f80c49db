//! Names of files.

use super::*;

#[test]
fn files_of_further_pools_are_numbered() {
    assert_eq!(
        numbered(Path::new("a/run.html"), 1),
        Path::new("a/run.html")
    );
    assert_eq!(
        numbered(Path::new("a/run.html"), 2),
        Path::new("a/run-2.html")
    );
    assert_eq!(numbered(Path::new("run"), 10), Path::new("run-10"));
}
