#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (corelog_storage::fuzz::target("files").run)(input));
