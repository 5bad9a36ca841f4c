#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kiln::fuzz::read("etcd-snapshot", bytes));
