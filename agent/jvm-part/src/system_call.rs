//! System calls that do nothing, by which the programs in the kernel are told: `kill` with a signal that does not exist.

use crate::thread::Kernel;

/// Signals that do not exist: the kernel answers `EINVAL` or `ESRCH`, whichever process is named.
const TAKE: usize = 0x52e0;
const GIVE: usize = 0x52e1;
const TAKE_NOTHING: usize = 0x52e2;
const CLAIM: usize = 0x52e3;
const CLAIM_FOR_NOBODY: usize = 0x52e4;
const TLS: usize = 0x52e6;
/// Process that is named where a unit has no place.
const ANY: usize = 1;
/// A process that cannot be (the smallest `int`): the kernel answers `ESRCH` without looking for one.
const NONE: usize = 0x8000_0000;

/// The kernel of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linux;

impl Kernel for Linux {
    fn take(&self, unit: Option<i32>) {
        match unit {
            Some(unit) => kill(number(unit), TAKE, 0, 0),
            None => kill(ANY, TAKE_NOTHING, 0, 0),
        }
    }

    fn give(&self, unit: i32) {
        kill(number(unit), GIVE, 0, 0);
    }
}

/// Tells that what is written to a socket from `ahead` bytes on is written for a unit, whoever writes it.
pub(crate) fn claim(unit: Option<i32>, descriptor: i32, ahead: u32) {
    let Ok(descriptor) = usize::try_from(descriptor) else { return };
    let (unit, signal) = unit.map_or((ANY, CLAIM_FOR_NOBODY), |unit| (number(unit), CLAIM));
    kill(unit, signal, descriptor, ahead as usize);
}

/// What TLS has moved (`TlsMark` of the kernel's side).
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct TlsMark {
    /// The engine; 0 where the socket says more.
    pub(crate) object: u64,
    /// Address of the plaintext.
    pub(crate) plaintext: u64,
    /// Address of its last bytes where it is not whole; 0 for nowhere.
    pub(crate) end: u64,
    /// Address of the ciphertext; 0 for nowhere.
    pub(crate) ciphertext: u64,
    /// The first bytes there; 0 where the address has to be looked at.
    pub(crate) header: u64,
    /// Bytes of plaintext.
    pub(crate) length: u32,
    /// Bytes of it that are at its address.
    pub(crate) together: u32,
    /// Bytes of ciphertext.
    pub(crate) ciphertext_length: u32,
    /// The socket; -1 where it is not known.
    pub(crate) descriptor: i32,
    /// 1 where bytes come in.
    pub(crate) is_ingress: u32,
    /// 1 where the plaintext ends with that of a record.
    pub(crate) ends_record: u32,
}

/// Tells what TLS has moved, or is about to.
pub(crate) fn tell(mark: &TlsMark) {
    kill(NONE, TLS, core::ptr::from_ref(mark).expose_provenance(), 0);
}

/// Identities are positive.
fn number(unit: i32) -> usize {
    usize::try_from(unit).unwrap_or(ANY)
}

/// `kill` takes two arguments; the others are only seen by who looks at the registers.
#[cfg(target_arch = "x86_64")]
fn kill(process: usize, signal: usize, third: usize, fourth: usize) {
    const KILL: usize = 62;
    // SAFETY: with a signal that does not exist the call changes nothing but the registers that are named.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") KILL => _,
            in("rdi") process,
            in("rsi") signal,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

/// `kill` takes two arguments; the others are only seen by who looks at the registers.
#[cfg(target_arch = "aarch64")]
fn kill(process: usize, signal: usize, third: usize, fourth: usize) {
    const KILL: usize = 129;
    // SAFETY: with a signal that does not exist the call changes nothing but the register of its result.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") KILL,
            inlateout("x0") process => _,
            in("x1") signal,
            in("x2") third,
            in("x3") fourth,
            options(nostack),
        );
    }
}
