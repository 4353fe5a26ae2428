//! Says on stderr for whom a command waits.

use std::io::{self, IsTerminal, Write};

/// A line that is there as long as the command waits. On a terminal it is wiped
/// afterwards, so that the result stands alone.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    is_shown: bool,
}

impl Waiting {
    /// Shows this line, in place of an earlier one.
    pub(super) fn show(&mut self, line: &str) {
        self.wipe();
        let end = if can_wipe() { "" } else { "\n" };
        let mut stderr = io::stderr().lock();
        // There is no other place to say it.
        let _ = write!(stderr, "{line}{end}").and_then(|()| stderr.flush());
        self.is_shown = true;
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.is_shown) && can_wipe() {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K").and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.wipe();
    }
}

fn can_wipe() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    io::stderr().is_terminal() && !is_dumb
}
