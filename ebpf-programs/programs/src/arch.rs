//! What differs between processor architectures: registers at a system call, and call numbers.

#[cfg(bpf_target_arch = "x86_64")]
mod x86_64;
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) use x86_64::{Registers, number};

#[cfg(not(bpf_target_arch = "x86_64"))]
compile_error!("the programs know the system calls of x86_64 only");
