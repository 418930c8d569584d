//! x86-64: `struct pt_regs` of `arch/x86/include/asm/ptrace.h`, numbers of `syscall_64.tbl`.

/// The registers of user space as they were saved on entry (`struct pt_regs`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    bp: u64,
    bx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    ax: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
    ip: u64,
    cs: u64,
    flags: u64,
    sp: u64,
}

impl Registers {
    /// Returns the saved registers of a BTF tracepoint's argument.
    #[inline(always)]
    pub(crate) fn of(argument: *const Registers) -> &'static Self {
        // SAFETY: the verifier knows the argument as a `struct pt_regs` of the running thread, and turns loads from it
        // into such that cannot fault.
        unsafe { &*argument }
    }

    /// Returns whether the program runs in 32-bit mode (`__USER32_CS`), whose system calls have other numbers.
    #[inline(always)]
    pub(crate) fn is_32_bit(&self) -> bool {
        const USER32_CODE_SEGMENT: u64 = 0x23;
        self.cs == USER32_CODE_SEGMENT
    }

    /// Returns the system call's number.
    #[inline(always)]
    pub(crate) fn number(&self) -> i64 {
        self.orig_ax as i64
    }

    /// Returns the first argument.
    #[inline(always)]
    pub(crate) fn first(&self) -> u64 {
        self.di
    }

    /// Returns the second argument.
    #[inline(always)]
    pub(crate) fn second(&self) -> u64 {
        self.si
    }

    /// Returns the third argument.
    #[inline(always)]
    pub(crate) fn third(&self) -> u64 {
        self.dx
    }

    /// Returns the fourth argument.
    #[inline(always)]
    pub(crate) fn fourth(&self) -> u64 {
        self.r10
    }

    /// Returns the fifth argument.
    #[inline(always)]
    pub(crate) fn fifth(&self) -> u64 {
        self.r8
    }

    /// Returns the fourth argument of a function, which is elsewhere than that of a system call.
    #[inline(always)]
    pub(crate) fn fourth_of_function(&self) -> u64 {
        self.cx
    }

    /// Returns the register in which Go keeps `g` (the internal ABI, from Go 1.17).
    #[inline(always)]
    pub(crate) fn goroutine(&self) -> u64 {
        self.r14
    }

    /// Returns the first argument of a Go function (the internal ABI).
    #[inline(always)]
    pub(crate) fn go_first(&self) -> u64 {
        self.ax
    }

    /// Returns the second argument of a Go function.
    #[inline(always)]
    pub(crate) fn go_second(&self) -> u64 {
        self.bx
    }

    /// Returns the third argument of a Go function.
    #[inline(always)]
    pub(crate) fn go_third(&self) -> u64 {
        self.cx
    }

    /// Returns the fourth argument of a Go function.
    #[inline(always)]
    pub(crate) fn go_fourth(&self) -> u64 {
        self.di
    }

    /// Returns what a function returned.
    #[inline(always)]
    pub(crate) fn returned(&self) -> u64 {
        self.ax
    }

    /// Returns the second half of what a function returned (System V ABI: two integers).
    #[inline(always)]
    pub(crate) fn returned_second(&self) -> u64 {
        self.dx
    }

    /// Returns the stack pointer.
    #[inline(always)]
    pub(crate) fn stack(&self) -> u64 {
        self.sp
    }
}

/// System call numbers.
pub(crate) mod number {
    pub(crate) const READ: i64 = 0;
    pub(crate) const WRITE: i64 = 1;
    pub(crate) const CLOSE: i64 = 3;
    pub(crate) const POLL: i64 = 7;
    pub(crate) const MMAP: i64 = 9;
    pub(crate) const READV: i64 = 19;
    pub(crate) const WRITEV: i64 = 20;
    pub(crate) const SELECT: i64 = 23;
    pub(crate) const SENDFILE: i64 = 40;
    pub(crate) const CONNECT: i64 = 42;
    pub(crate) const ACCEPT: i64 = 43;
    pub(crate) const SENDTO: i64 = 44;
    pub(crate) const RECVFROM: i64 = 45;
    pub(crate) const SENDMSG: i64 = 46;
    pub(crate) const RECVMSG: i64 = 47;
    pub(crate) const KILL: i64 = 62;
    pub(crate) const EPOLL_WAIT: i64 = 232;
    pub(crate) const PSELECT6: i64 = 270;
    pub(crate) const PPOLL: i64 = 271;
    pub(crate) const SPLICE: i64 = 275;
    pub(crate) const EPOLL_PWAIT: i64 = 281;
    pub(crate) const ACCEPT4: i64 = 288;
    pub(crate) const RECVMMSG: i64 = 299;
    pub(crate) const SENDMMSG: i64 = 307;
    pub(crate) const IO_URING_ENTER: i64 = 426;
    pub(crate) const EPOLL_PWAIT2: i64 = 441;
}
