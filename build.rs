//! Has the linker put our way of making rings in the place of liburing's: what for, `sys::cooperative` of
//! the node says.

fn main() {
    println!("cargo:rustc-link-arg-bins=-Wl,--wrap=__sys_io_uring_setup");
    println!("cargo:rerun-if-changed=build.rs");
}
