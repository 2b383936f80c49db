#![doc = include_str!("../../examples/REACTORS.md")]
