//! The BPF programs: what sockets, system calls and processes do, told to user space through one ring.
//!
//! They know no protocol. A socket is found by walking from the file descriptor to its `struct sock`, so that
//! nothing needs to be tracked and connections older than the agent look like all others. Hooks call the safe
//! wrappers in [`read`] and [`emit`], which hold the raw pointers, and every failure becomes a counter.
#![no_std]
#![no_main]

mod arch;
mod emit;
mod maps;
mod process;
#[cfg(feature = "propagation")]
mod propagation;
mod read;
mod runtime;
mod socket;
mod syscalls;
mod thread;
mod tls;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects a program in which this can be reached, so that it never runs.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
