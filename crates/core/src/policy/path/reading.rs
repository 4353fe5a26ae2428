//! The readings of a path that servers are known for.

use std::fmt;

use super::decoded::{Class, Depth, Meaning, escaped, is_unreserved};

/// One way to read a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Reading {
    decoding: Decoding,
    parameters: Parameters,
    /// Whether `\` is read as `/`.
    backslash_is_slash: bool,
    /// Whether `//` is read as `/`.
    merges_slashes: bool,
}

/// How often percent-encoding is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoding {
    /// Where it never changes the meaning (RFC 3986, section 6.2.2.2).
    Unreserved,
    /// Once, as most servers do.
    Once,
    /// Until nothing changes, as several servers one behind another do.
    Fully,
}

/// What becomes of `;…` in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameters {
    /// It is part of the name.
    Kept,
    /// It is cut off before anything is decoded, as servlet containers do.
    CutBefore,
    /// The same, after `\` has become `/` on the way to them.
    CutBeforeWithBackslash,
    /// It is cut off after decoding.
    CutAfter,
    /// It is cut off after decoding once, and decoding goes on.
    CutBetween,
    /// It is cut off before anything is decoded, and all segments behind it.
    CutToEnd,
}

/// Every reading. A set of them is the bits of a `u64`, by position.
pub(in crate::policy) const READINGS: [Reading; 58] = readings();

/// What a byte does in which readings.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy) struct Rule {
    /// Ends a segment.
    pub(in crate::policy) separates: u64,
    /// Begins parameters that are cut off.
    pub(in crate::policy) begins_parameters: u64,
    /// Ends these, and the segment.
    pub(in crate::policy) ends_parameters: u64,
    /// Is a character of the segment, the same in all of these.
    pub(in crate::policy) names: u64,
}

/// The rules for each [`Class`].
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Rules {
    of: [Rule; Class::COUNT],
    /// The readings that merge slashes.
    pub(in crate::policy) merged: u64,
    /// All readings.
    pub(in crate::policy) all: u64,
}

fn set(is_in: impl Fn(&Reading) -> bool) -> u64 {
    let bit = |(at, reading)| u64::from(is_in(reading)) << at;
    READINGS.iter().enumerate().map(bit).sum()
}

const fn readings() -> [Reading; 58] {
    use Decoding::{Fully, Once, Unreserved};
    use Parameters::{CutAfter, CutBefore, CutBeforeWithBackslash, CutBetween, CutToEnd, Kept};
    // Each with both ways to read `\`, but for those that say it already.
    const KINDS: [(Decoding, Parameters); 16] = [
        (Unreserved, Kept),
        (Once, Kept),
        (Fully, Kept),
        (Unreserved, CutBefore),
        (Once, CutBefore),
        (Fully, CutBefore),
        (Unreserved, CutAfter),
        (Once, CutAfter),
        (Fully, CutAfter),
        (Fully, CutBetween),
        (Unreserved, CutBeforeWithBackslash),
        (Once, CutBeforeWithBackslash),
        (Fully, CutBeforeWithBackslash),
        (Unreserved, CutToEnd),
        (Once, CutToEnd),
        (Fully, CutToEnd),
    ];
    let (decoding, parameters) = KINDS[0];
    let first = Reading { decoding, parameters, backslash_is_slash: false, merges_slashes: false };
    let mut readings = [first; 58];
    let (mut at, mut kind) = (0, 0);
    while kind < KINDS.len() {
        let (decoding, parameters) = KINDS[kind];
        let mut way = 0;
        while way < 4 {
            let backslash_is_slash = way & 2 != 0;
            if backslash_is_slash || !matches!(parameters, CutBeforeWithBackslash) {
                let merges_slashes = way & 1 != 0;
                readings[at] = Reading { decoding, parameters, backslash_is_slash, merges_slashes };
                at += 1;
            }
            way += 1;
        }
        kind += 1;
    }
    readings
}

impl Rules {
    /// The rules of all readings.
    pub(in crate::policy) fn new() -> Self {
        use Depth::{Literal, Nested, Once, Unreserved};
        use Meaning::{Backslash, Plain, Semicolon, Slash};
        let mut rules = Self {
            of: [Rule::default(); Class::COUNT],
            merged: set(|it| it.merges_slashes),
            all: set(|_| true),
        };
        for depth in [Literal, Unreserved, Once, Nested] {
            for meaning in [Plain, Slash, Backslash, Semicolon] {
                rules.of[Class::new(depth, meaning).index()] = Rule {
                    separates: set(|it| it.decodes(depth) && it.separates(meaning)),
                    begins_parameters: set(|it| it.begins_parameters(depth, meaning)),
                    ends_parameters: set(|it| it.ends_parameters(depth, meaning)),
                    names: set(|it| it.decodes(depth) && it.names(depth, meaning)),
                };
            }
        }
        rules
    }

    /// The rule for a class of bytes.
    pub(in crate::policy) fn of(&self, class: Class) -> &Rule {
        &self.of[class.index() % Class::COUNT]
    }
}

impl Reading {
    /// Whether this reading sees a byte that took so much decoding; it sees
    /// (part of) an escape otherwise.
    fn decodes(self, depth: Depth) -> bool {
        match depth {
            Depth::Literal | Depth::Unreserved => true,
            Depth::Once => self.decoding != Decoding::Unreserved,
            Depth::Nested => self.decoding == Decoding::Fully,
        }
    }

    fn separates(self, meaning: Meaning) -> bool {
        meaning == Meaning::Slash || meaning == Meaning::Backslash && self.backslash_is_slash
    }

    fn names(self, depth: Depth, meaning: Meaning) -> bool {
        !self.separates(meaning) && !self.begins_parameters(depth, meaning)
    }

    fn begins_parameters(self, depth: Depth, meaning: Meaning) -> bool {
        meaning == Meaning::Semicolon && self.cuts_at(depth)
    }

    fn ends_parameters(self, depth: Depth, meaning: Meaning) -> bool {
        let separates = match self.parameters {
            Parameters::CutBefore => meaning == Meaning::Slash,
            Parameters::CutToEnd => false,
            _ => self.separates(meaning),
        };
        separates && self.cuts_at(depth)
    }

    /// Whether a byte that took so much decoding is there when parameters are
    /// cut off.
    fn cuts_at(self, depth: Depth) -> bool {
        match self.parameters {
            Parameters::Kept => false,
            Parameters::CutBefore | Parameters::CutBeforeWithBackslash | Parameters::CutToEnd => {
                depth == Depth::Literal
            }
            Parameters::CutAfter => self.decodes(depth),
            Parameters::CutBetween => depth != Depth::Nested,
        }
    }

    /// The path in this reading, made step by step. The decision never comes
    /// here; it goes by [`Rules`].
    pub(in crate::policy) fn text(self, path: &[u8]) -> Vec<u8> {
        let mut text = match self.parameters {
            Parameters::CutBefore => cut(path.to_vec()),
            Parameters::CutBeforeWithBackslash => cut(self.slashes(path.to_vec())),
            Parameters::CutToEnd => path.iter().copied().take_while(|byte| *byte != b';').collect(),
            _ => path.to_vec(),
        };
        text = match (self.parameters, self.decoding) {
            (Parameters::CutBetween, _) => fully(cut(self.slashes(once(&text, |_| true)))),
            (_, Decoding::Unreserved) => once(&text, is_unreserved),
            (_, Decoding::Once) => once(&text, |_| true),
            (_, Decoding::Fully) => fully(text),
        };
        text = self.slashes(text);
        if self.parameters == Parameters::CutAfter {
            text = cut(text);
        }
        if self.merges_slashes {
            text.dedup_by(|byte, before| (*byte, *before) == (b'/', b'/'));
        }
        text
    }

    fn slashes(self, mut text: Vec<u8>) -> Vec<u8> {
        if self.backslash_is_slash {
            text.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        text
    }
}

/// Decodes the escapes of these bytes once.
fn once(mut text: &[u8], is_decoded: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        let (byte, rest) = match escaped(text) {
            Some(decoded) if is_decoded(decoded) => (decoded, &text[3..]),
            _ => (byte, rest),
        };
        out.push(byte);
        text = rest;
    }
    out
}

/// Decodes until nothing changes.
fn fully(mut text: Vec<u8>) -> Vec<u8> {
    loop {
        let decoded = once(&text, |_| true);
        if decoded == text {
            return text;
        }
        text = decoded;
    }
}

/// Cuts `;…` off every segment.
fn cut(mut text: Vec<u8>) -> Vec<u8> {
    let mut in_parameters = false;
    text.retain(|byte| {
        in_parameters = *byte != b'/' && (in_parameters || *byte == b';');
        !in_parameters
    });
    text
}

/// What the reading does, and which servers read so.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        match self.parameters {
            Parameters::Kept => {}
            Parameters::CutBefore | Parameters::CutBeforeWithBackslash => {
                steps.push("parameters cut off before decoding (Tomcat, Jetty, Undertow)");
            }
            Parameters::CutAfter => {
                steps
                    .push("parameters cut off after decoding (a decoding proxy in front of these)");
            }
            Parameters::CutToEnd => {
                steps.push("cut off at the first `;` (Undertow before 2.0)");
            }
            Parameters::CutBetween => {
                steps.push("parameters cut off between decoding twice (two of these in a row)");
            }
        }
        steps.push(match self.decoding {
            Decoding::Unreserved => "",
            Decoding::Once => "decoded once (most servers)",
            Decoding::Fully => "decoded until nothing changes (several servers in a row)",
        });
        steps.push(if self.backslash_is_slash { "`\\` as `/` (Node's URL, IIS)" } else { "" });
        steps.push(if self.merges_slashes { "`//` as `/` (nginx)" } else { "" });
        steps.retain(|step| !step.is_empty());
        match steps.is_empty() {
            true => f.write_str("as it stands"),
            false => f.write_str(&steps.join(", ")),
        }
    }
}
