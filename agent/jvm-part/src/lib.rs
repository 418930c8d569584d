//! The part that is attached inside a JVM: it tells the programs in the kernel which thread works for which unit of work
//! (tasks, futures, virtual threads, what a channel reads), because a JVM alone knows; and what JSSE encrypts.
//!
//! It changes some methods of the JDK and of Netty while they run, so that they call this library, and changes them back
//! when it is detached. It needs nothing of Rust's standard library, nor a version of a libc, and cannot panic: that the
//! code for panics is not linked is tested where it is embedded.

#![cfg_attr(not(test), no_std)]

mod attach;
mod claims;
mod fields;
mod jni;
mod jsse;
mod natives;
mod system_call;
mod thread;
mod threads;

pub mod class_file;
pub mod helper;
pub mod hooks;

pub use attach::Agent_OnAttach;

unsafe extern "C" {
    /// Is nowhere: a library that could panic could not be loaded.
    #[cfg(all(not(test), panic = "abort"))]
    fn remora_part_can_panic() -> !;
}

#[cfg(all(not(test), panic = "abort"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it is never called, see above.
    unsafe { remora_part_can_panic() }
}
