#![doc = include_str!("PYTHON.md")]
