//! A place in a text.

use std::fmt;

use serde_saphyr::Location;

/// A place in a text; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Position {
    /// Where every text begins.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The position behind the start of a text.
    pub(super) fn behind(start: &[u8]) -> Self {
        let line = start.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = start.iter().filter(|byte| **byte == b'\n').count();
        let characters = String::from_utf8_lossy(&start[line..]).chars().count();
        Self { line: lines as u64 + 1, column: characters as u64 + 1 }
    }

    /// `None` if the parser does not know the location.
    pub(super) fn of(location: Location) -> Option<Self> {
        let (line, column) = (location.line(), location.column());
        (line > 0 && column > 0).then_some(Self { line, column })
    }
}

/// `12:5`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
