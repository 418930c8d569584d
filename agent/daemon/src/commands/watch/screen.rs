//! Where the view is drawn: a terminal that is refreshed in place, or anything else, line after line.

use std::io::{self, Write as _};

use rustix::termios::tcgetwinsize;

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Where there is no terminal: wide enough for names, and few recent requests.
const WITHOUT_TERMINAL: Size = Size { columns: 120, rows: 30 };

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The screen. What was on the terminal before is back when it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    pub(super) fn new(is_terminal: bool) -> Self {
        if is_terminal {
            let _gone = write(ENTER);
        }
        Self { is_terminal }
    }

    /// Draws what `render` returns for the present size. Returns whether anybody still looks.
    pub(super) fn draw(&mut self, render: impl FnOnce(Size) -> Vec<String>) -> bool {
        if !self.is_terminal {
            let text: String = render(WITHOUT_TERMINAL).into_iter().map(|line| line + "\n").collect();
            return write(&format!("{text}\n")).is_ok();
        }
        let size = tcgetwinsize(io::stdout()).map_or(WITHOUT_TERMINAL, |size| Size {
            columns: usize::from(size.ws_col).max(20),
            rows: usize::from(size.ws_row).max(5),
        });
        let lines: Vec<String> =
            render(size).into_iter().take(size.rows).map(|line| line + CLEAR_LINE).collect();
        write(&format!("{HOME}{}{CLEAR_BELOW}", lines.join("\r\n"))).is_ok()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let _gone = write(LEAVE);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
