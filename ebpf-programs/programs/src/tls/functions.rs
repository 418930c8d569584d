//! The functions of OpenSSL, BoringSSL, GnuTLS and Go that move plaintext, each of which has arguments of its own.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{DIRECTION_EGRESS, DIRECTION_INGRESS};

use super::{
    Buffer, DIRECTION_NONE, begins, end, enter, enter_as_goroutine, leave, leave_as_goroutine, set_socket,
};
use crate::arch::Registers;

#[inline(always)]
fn registers(context: &ProbeContext) -> &'static Registers {
    Registers::of(context.regs.cast())
}

/// Returns the buffer of a function whose second and third argument say where it is and how long.
#[inline(always)]
fn buffer(registers: &Registers, moved: u64) -> Buffer {
    // Some have an `int` there, the others no more bytes than fit into one.
    Buffer { address: registers.second(), length: u64::from(registers.third() as u32), moved }
}

/// `int SSL_write(SSL *ssl, const void *buf, int num)`,
/// `ssize_t gnutls_record_send(gnutls_session_t session, const void *data, size_t data_size)`
#[uprobe(multi)]
pub(crate) fn tls_write(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter(registers, buffer(registers, 0), DIRECTION_EGRESS);
    0
}

/// `int SSL_write_ex(SSL *s, const void *buf, size_t num, size_t *written)`, `SSL_write_early_data` likewise
#[uprobe(multi)]
pub(crate) fn tls_write_ex(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter(registers, buffer(registers, registers.fourth_of_function()), DIRECTION_EGRESS);
    0
}

/// `int SSL_write_ex2(SSL *s, const void *buf, size_t num, uint64_t flags, size_t *written)`
#[uprobe(multi)]
pub(crate) fn tls_write_ex2(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter(registers, buffer(registers, registers.fifth()), DIRECTION_EGRESS);
    0
}

/// `ossl_ssize_t SSL_sendfile(SSL *s, int fd, off_t offset, size_t size, int flags)`: the kernel encrypts (kTLS), and no
/// memory has the bytes. They are counted, so that what follows has its place.
#[uprobe(multi)]
pub(crate) fn tls_sendfile(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    let buffer = Buffer { address: 0, length: registers.fourth_of_function(), moved: 0 };
    enter(registers, buffer, DIRECTION_EGRESS);
    0
}

/// `int SSL_read(SSL *ssl, void *buf, int num)`,
/// `ssize_t gnutls_record_recv(gnutls_session_t session, void *data, size_t data_size)`
#[uprobe(multi)]
pub(crate) fn tls_read(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter(registers, buffer(registers, 0), DIRECTION_INGRESS);
    0
}

/// `int SSL_read_ex(SSL *ssl, void *buf, size_t num, size_t *readbytes)`, `SSL_read_early_data` likewise
#[uprobe(multi)]
pub(crate) fn tls_read_ex(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter(registers, buffer(registers, registers.fourth_of_function()), DIRECTION_INGRESS);
    0
}

/// `int SSL_set_fd(SSL *ssl, int fd)`: says the object's socket. OpenSSL 3 leaves `SSL_do_handshake` by a jump, behind which
/// nothing tells of its return; and what comes with the handshake's last record is read without a system call.
#[uprobe(multi)]
pub(crate) fn tls_set_fd(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    set_socket(registers.first(), registers.second());
    0
}

/// `void SSL_set_bio(SSL *ssl, BIO *rbio, BIO *wbio)`, `SSL_set_accept_state`, `SSL_set_connect_state`: what begins.
#[uprobe(multi)]
pub(crate) fn tls_begin(context: ProbeContext) -> u32 {
    begins(registers(&context).first());
    0
}

/// `int SSL_do_handshake(SSL *ssl)`, `int gnutls_handshake(gnutls_session_t session)`: shows the object's socket before the
/// first bytes.
#[uprobe(multi)]
pub(crate) fn tls_handshake(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    begins(registers.first());
    enter(registers, Buffer::NONE, DIRECTION_NONE);
    0
}

/// Where any of these returns.
#[uprobe(multi)]
pub(crate) fn tls_returned(context: ProbeContext) -> u32 {
    leave(registers(&context));
    0
}

/// `void SSL_free(SSL *ssl)`, `void gnutls_deinit(gnutls_session_t session)`
#[uprobe(multi)]
pub(crate) fn tls_free(context: ProbeContext) -> u32 {
    end(registers(&context).first());
    0
}

/// Returns the buffer of a Go function whose second argument is a slice.
#[inline(always)]
fn slice(registers: &Registers) -> Buffer {
    Buffer { address: registers.go_second(), length: registers.go_third(), moved: 0 }
}

/// `func (c *Conn) Write(b []byte) (int, error)` of `crypto/tls`
#[uprobe(multi)]
pub(crate) fn tls_go_write(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter_as_goroutine(registers, slice(registers), DIRECTION_EGRESS);
    0
}

/// `func (c *Conn) Read(b []byte) (int, error)` of `crypto/tls`
#[uprobe(multi)]
pub(crate) fn tls_go_read(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    enter_as_goroutine(registers, slice(registers), DIRECTION_INGRESS);
    0
}

/// `func (c *Conn) clientHandshake(ctx context.Context) (err error)` of `crypto/tls`, `serverHandshake`, also within the others
#[uprobe(multi)]
pub(crate) fn tls_go_handshake(context: ProbeContext) -> u32 {
    let registers = registers(&context);
    begins(registers.go_first());
    enter_as_goroutine(registers, Buffer::NONE, DIRECTION_NONE);
    0
}

/// Where `Read` and `Write` return.
#[uprobe(multi)]
pub(crate) fn tls_go_returned(context: ProbeContext) -> u32 {
    leave_as_goroutine(registers(&context), false);
    0
}

/// Where a handshake returns.
#[uprobe(multi)]
pub(crate) fn tls_go_handshaken(context: ProbeContext) -> u32 {
    leave_as_goroutine(registers(&context), true);
    0
}
